package client_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lzstock/lzstock/client"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

func TestEventsArrive(t *testing.T) {
	for _, pack := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx := day(t)
			f := newFake(t, func(p *peer) error {
				if err := p.greet(); err != nil {
					return err
				}
				cmd, err := p.command()
				if err != nil {
					return err
				}
				want := client.Trades("AAPL", "MSFT")
				if cmd.Action != wire.Subscribe || !slices.Equal(cmd.Topics, want) || cmd.Delivery != wire.Latest || *cmd.Interval != time.Second || !cmd.Snapshot {
					t.Errorf("the client sent %+v", cmd)
				}
				if err := p.ack(cmd); err != nil {
					return err
				}
				snap := trade("AAPL", 5, 0)
				snap.Snapshot = true
				merged := trade("AAPL", 9, 7)
				merged.Merged = 3
				if err := p.data(snap, trade("AAPL", 7, 5), trade("MSFT", 8, 0)); err != nil {
					return err
				}
				if err := p.data(merged, trade("AAPL", 20, 9)); err != nil {
					return err
				}
				return p.serve()
			})
			cfg := f.config()
			cfg.MsgPack, cfg.Delivery, cfg.Interval = pack, client.Latest, time.Second
			c, err := client.Dial(ctx, cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.Subscribe(ctx, client.Trades("AAPL", "MSFT", "AAPL")...); err != nil {
				t.Fatal(err)
			}
			got := take(t, c, 5)
			want := []client.Event{
				{Event: trade("AAPL", 5, 0).Event, Snapshot: true},
				{Event: trade("AAPL", 7, 5).Event},
				{Event: trade("MSFT", 8, 0).Event},
				{Event: trade("AAPL", 9, 7).Event},
				{Event: trade("AAPL", 20, 9).Event},
			}
			want[3].Merged = 3
			for i := range want {
				if want[i].Trade.Conditions == nil {
					got[i].Trade.Conditions = nil
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if st := c.Stats(); st != (client.Stats{Events: 5, Merged: 2, Connections: 1}) {
				t.Errorf("%+v", st)
			}
			if s := c.State(); s.Phase != client.Connected || s.Conn != "c1" || s.Feed.Epoch != 7 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestReconnectAndSubscribeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := day(t)
		f := newFake(t, func(p *peer) error {
			if err := p.greet(); err != nil {
				return err
			}
			cmd, err := p.command()
			if err != nil {
				return err
			}
			if err := p.ack(cmd); err != nil {
				return err
			}
			if p.number == 1 {
				snap := trade("AAPL", 100, 0)
				snap.Snapshot = true
				if err := p.data(snap); err != nil {
					return err
				}
				time.Sleep(30 * time.Second)
				return p.close(wire.MaxAge)
			}
			if !slices.Equal(cmd.Topics, client.Trades("AAPL")) {
				t.Errorf("subscribed again to %v", cmd.Topics)
			}
			if want := (market.Position{Epoch: 7, Seq: 100}); cmd.Since != want {
				t.Errorf("since %s, want %s", cmd.Since, want)
			}
			if err := p.data(trade("AAPL", 100, 90), trade("AAPL", 200, 100)); err != nil {
				return err
			}
			return p.serve()
		})
		var phases []client.Phase
		cfg := f.config()
		cfg.OnState = func(s client.State) {
			if len(phases) == 0 || phases[len(phases)-1] != s.Phase {
				phases = append(phases, s.Phase)
			}
		}
		c, err := client.Dial(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Subscribe(ctx, client.Trades("AAPL")...); err != nil {
			t.Fatal(err)
		}
		got := take(t, c, 2)
		if got[0].Seq != 100 || got[1].Seq != 200 || got[1].Snapshot || got[1].Broken {
			t.Errorf("%+v", got)
		}
		synctest.Wait()
		at := f.attempts()
		if len(at) != 2 || at[1].Sub(at[0]) != 30*time.Second {
			t.Errorf("dialed at %v: 4201 means at once", at)
		}
		if want := []client.Phase{client.Connecting, client.Connected, client.Waiting, client.Connecting, client.Connected}; !slices.Equal(phases, want) {
			t.Errorf("phases %v, want %v", phases, want)
		}
		var e *client.Error
		if s := c.State(); !errors.As(s.Err, &e) || e.Close != 4201 || e.Retry != client.RetryNow || e.Reason != wire.MaxAge.Text() {
			t.Errorf("the reason was %v", s.Err)
		}
		if !slices.Equal(c.Subscriptions(), client.Trades("AAPL")) {
			t.Errorf("subscriptions %v", c.Subscriptions())
		}
	})
}

// TestEndsAreObeyed plays the zoo of close codes.
func TestEndsAreObeyed(t *testing.T) {
	for code, want := range map[uint16]client.Retry{
		1000: client.RetryBackoff, 1001: client.RetryBackoff, 1003: client.RetryNever, 1007: client.RetryNever, 1009: client.RetryNever,
		1011: client.RetryBackoff, 1012: client.RetryBackoff, 3333: client.RetryBackoff, 4001: client.RetryNever, 4004: client.RetryNever,
		4005: client.RetryNever, 4099: client.RetryNever, 4101: client.RetryBackoff, 4102: client.RetryBackoff, 4199: client.RetryBackoff,
		4200: client.RetryNow, 4202: client.RetryNow, 4999: client.RetryBackoff, 0: client.RetryBackoff,
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx := day(t)
			f := newFake(t, func(p *peer) error {
				if err := p.greet(); err != nil {
					return err
				}
				if p.number > 1 {
					return p.serve()
				}
				return p.closeWith(code, "because")
			})
			c, err := client.New(f.config())
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- c.Run(ctx) }()
			time.Sleep(time.Minute)
			var e *client.Error
			if s := c.State(); !errors.As(s.Err, &e) || e.Retry != want || code > 0 && (e.Close != int(code) || e.Reason != "because") {
				t.Errorf("close code %d: %v, retry %v, want %v", code, s.Err, e.Retry, want)
			}
			n := len(f.attempts())
			if want == client.RetryNever {
				if err := <-done; n != 1 || !errors.Is(err, error(e)) {
					t.Errorf("close code %d: %d attempts, then %v", code, n, err)
				}
				for _, err := range c.Events() {
					if !errors.Is(err, error(e)) {
						t.Errorf("Events yields %v", err)
					}
				}
				return
			}
			if n != 2 {
				t.Errorf("close code %d: %d attempts", code, n)
			}
			_ = c.Close()
			if err := <-done; err != nil {
				t.Errorf("after Close: %v", err)
			}
		})
	}
}

// TestFeedStateBelongsToTheConnection has the state come before the greeting, and
// not at all on the second connection.
func TestFeedStateBelongsToTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := day(t)
		f := newFake(t, func(p *peer) error {
			if p.number == 1 {
				if err := p.send(wire.AppendFeed(nil, p.format, feedDown())); err != nil {
					return err
				}
			}
			if err := p.greet(); err != nil {
				return err
			}
			if p.number == 1 {
				time.Sleep(10 * time.Second)
				return p.close(wire.MaxAge)
			}
			return p.serve()
		})
		c, err := client.Dial(ctx, f.config())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if s := c.State(); s.Feed.State != market.FeedDown || s.Feed.Epoch != 7 {
			t.Errorf("first: %+v", s.Feed)
		}
		time.Sleep(20 * time.Second)
		if s := c.State(); s.Phase != client.Connected || !s.Feed.Same(market.Feed{Epoch: 7}) {
			t.Errorf("second: %+v", s)
		}
	})
}

func TestInBandErrorComesAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := day(t)
		f := newFake(t, func(p *peer) error {
			if err := p.greet(); err != nil {
				return err
			}
			return p.close(wire.SlowConsumer)
		})
		c, err := client.Dial(ctx, f.config())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		time.Sleep(time.Second)
		var e *client.Error
		if err := c.State().Err; !errors.As(err, &e) || e.Code != 407 || e.Close != 4102 || e.Retry != client.RetryBackoff {
			t.Errorf("%v", err)
		}
	})
}

func TestSubscribeAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := day(t)
		f := newFake(t, func(p *peer) error {
			if err := p.greet(); err != nil {
				return err
			}
			for {
				cmd, err := p.command()
				if err != nil {
					return err
				}
				switch cmd.Topics[0].Symbol {
				case "NONE":
					err = p.send(wire.AppendSubscription(nil, p.format, &wire.Subscription{ID: cmd.ID, Rejected: []wire.Rejection{{Topic: cmd.Topics[0], Code: wire.CodeUnknownSymbol}}}))
				case "MANY":
					err = p.send(wire.AppendError(nil, p.format, wire.ErrorMessage{ID: cmd.ID, Code: wire.CodeSymbolLimit, Detail: "2 of 1"}))
				case "LATER":
					err = p.send(wire.AppendError(nil, p.format, wire.ErrorMessage{ID: cmd.ID, Code: wire.CodeUpstreamUnavailable}))
				case "MUTE":
				default:
					err = p.ack(cmd)
				}
				if err != nil {
					return err
				}
			}
		})
		c, err := client.Dial(ctx, f.config())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Subscribe(ctx, client.Quotes("A A")...); err == nil || !strings.Contains(err.Error(), "bad symbol") {
			t.Errorf("a bad symbol: %v", err)
		}
		if err := c.Subscribe(ctx, market.Topic{Symbol: "A"}); err == nil || !strings.Contains(err.Error(), "not a channel") {
			t.Errorf("a bad channel: %v", err)
		}
		err = c.Subscribe(ctx, client.Quotes("NONE", "AAPL")...)
		var rejected *client.RejectedError
		if !errors.As(err, &rejected) || len(rejected.Rejected) != 1 || rejected.Rejected[0].Code != 412 || !strings.Contains(err.Error(), "quotes:NONE (unknown symbol)") {
			t.Errorf("refused in part: %v", err)
		}
		err = c.Subscribe(ctx, client.Quotes("MANY")...)
		var e *client.Error
		if !errors.As(err, &e) || e.Code != 405 || e.Retry != client.RetryNever || err.Error() != "subscribe: symbol limit exceeded: 2 of 1 (code 405)" {
			t.Errorf("refused: %v", err)
		}
		err = c.Subscribe(ctx, client.Quotes("LATER")...)
		if !errors.As(err, &e) || e.Code != 503 || e.Retry != client.RetryBackoff {
			t.Errorf("not yet: %v", err)
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := c.Subscribe(short, client.Quotes("MUTE")...); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no answer: %v", err)
		}
		got := c.Subscriptions()
		slices.SortFunc(got, func(a, b market.Topic) int { return strings.Compare(string(a.Symbol), string(b.Symbol)) })
		if want := client.Quotes("AAPL", "LATER", "MUTE"); !slices.Equal(got, want) {
			t.Errorf("subscriptions %v, want %v", got, want)
		}
		if err := c.Unsubscribe(ctx, client.Quotes("AAPL", "LATER", "MUTE")...); err != nil || len(c.Subscriptions()) != 0 {
			t.Errorf("unsubscribe: %v, left %v", err, c.Subscriptions())
		}
		_ = c.Close()
		if err := c.Subscribe(ctx, client.Quotes("AAPL")...); !errors.Is(err, client.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// TestManySymbols needs several commands, each within the gateway's limit and all
// within its rate.
func TestManySymbols(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := day(t)
		var commands []time.Time
		seen := map[market.Topic]bool{}
		f := newFake(t, func(p *peer) error {
			m := &wire.Connected{Ping: time.Second, Limits: wire.Limits{CommandsPerSecond: 10, MessageBytes: 1000}}
			if err := p.send(wire.AppendConnected(nil, p.format, m)); err != nil {
				return err
			}
			for {
				cmd, err := p.command()
				if err != nil {
					return err
				}
				if n := len(wire.AppendCommand(nil, p.format, &cmd)); n > 1000 {
					t.Errorf("a command of %d bytes", n)
				}
				commands = append(commands, time.Now())
				for _, topic := range cmd.Topics {
					seen[topic] = true
				}
				if err := p.ack(cmd); err != nil {
					return err
				}
			}
		})
		c, err := client.Dial(ctx, f.config())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var all []market.Topic
		for i := range 3000 {
			s := market.Symbol(strings.Repeat("S", 1+i%30) + string(rune('A'+i%26)) + string(rune('A'+i/26%26)))
			all = append(all, client.Trades(s)...)
		}
		if err := c.Subscribe(ctx, all...); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for _, topic := range all {
			if !seen[topic] {
				t.Fatalf("%s is missing", topic)
			}
		}
		const burst = 20 // of the gateway
		for i := burst; i < len(commands); i++ {
			if d := commands[i].Sub(commands[i-burst]); d < time.Second {
				t.Fatalf("commands %d to %d come within %s", i-burst, i, d)
			}
		}
		if len(commands) < 2*burst {
			t.Errorf("only %d commands, too few for the test", len(commands))
		}
	})
}

func TestSubscribeWaitsForTheNextConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := day(t)
		var first, second []market.Topic
		f := newFake(t, func(p *peer) error {
			if err := p.greet(); err != nil {
				return err
			}
			if p.number == 1 {
				cmd, err := p.command() // and no answer
				first = cmd.Topics
				if err != nil {
					return err
				}
				return p.close(wire.GoingAway)
			}
			for {
				cmd, err := p.command()
				if err != nil {
					return err
				}
				second = append(second, cmd.Topics...)
				if err := p.ack(cmd); err != nil {
					return err
				}
			}
		})
		c, err := client.Dial(ctx, f.config())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Subscribe(ctx, client.Bars("SPY")...); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(first, client.Bars("SPY")) || !slices.Equal(second, client.Bars("SPY")) {
			t.Errorf("asked for %v, then for %v", first, second)
		}
	})
}

func TestCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := day(t)
		f := newFake(t, func(p *peer) error {
			if err := p.greet(); err != nil {
				return err
			}
			cmd, err := p.command()
			if err != nil {
				return err
			}
			if cmd.Action != wire.Auth || cmd.Key != "k" {
				t.Errorf("the client sent %+v", cmd)
			}
			if cmd.Secret != "good" {
				return p.close(wire.AuthFailed)
			}
			if err := p.send(wire.AppendAuthenticated(nil, p.format)); err != nil {
				return err
			}
			return p.serve()
		})
		cfg := f.config()
		cfg.Key, cfg.Secret = "k", "good"
		c, err := client.Dial(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Subscribe(ctx, client.Trades("*")...); err != nil {
			t.Error(err)
		}
		_ = c.Close()
		cfg.Secret = "bad"
		_, err = client.Dial(ctx, cfg)
		var e *client.Error
		if !errors.As(err, &e) || e.Code != 402 || e.Retry != client.RetryNever {
			t.Errorf("wrong credentials: %v", err)
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	for part, cfg := range map[string]client.Config{
		"want ws://host":       {URL: "ftp://x"},
		"there is no host":     {URL: "ws://"},
		"bad URL":              {URL: "ws://x:y:z/%"},
		"not known":            {URL: "ws://x", Delivery: 9},
		"Latest only":          {URL: "ws://x", Interval: time.Second},
		"not between":          {URL: "ws://x", Interval: time.Millisecond, Delivery: client.Latest},
		"not both":             {URL: "ws://x", Key: "k", Token: "t"},
		"must not be negative": {URL: "ws://x", Buffer: -1},
	} {
		if _, err := client.New(cfg); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%+v: %v; want …%s…", cfg, err, part)
		}
	}
}

func TestCloseWithoutRun(t *testing.T) {
	c, err := client.New(client.Config{URL: "http://gateway"})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	_ = c.Close()
	if err := c.Run(t.Context()); err == nil {
		t.Error("Run after Close works")
	}
	for e, err := range c.Events() {
		t.Errorf("an event: %+v, %v", e, err)
	}
	if s := c.State(); s.Phase != client.Closed || c.Age() != 0 {
		t.Errorf("%+v", s)
	}
}
