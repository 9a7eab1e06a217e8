package watch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/lzstock/lzstock/client"
	"github.com/lzstock/lzstock/internal/leak"
	"github.com/lzstock/lzstock/internal/memnet"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

func TestMain(m *testing.M) { leak.Main(m) }

// output can be read while it is written.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *output) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *output) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.buf.String()
	s.buf.Reset()
	return out
}

// gateway plays connections in memory, one after the other.
func gateway(t *testing.T, play func(conn net.Conn, n int) error) *memnet.Listener {
	t.Helper()
	l := memnet.Listen()
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for n := 1; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if _, err = ws.Upgrade(conn); err == nil {
				err = play(conn, n) // the client may vanish
			}
			if !errors.Is(err, errKept) {
				_ = conn.Close()
			}
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		tasks.Wait()
	})
	return l
}

func send(conn net.Conn, payload []byte) error {
	_, err := conn.Write(wire.AppendFrame(nil, wire.OpText, payload))
	return err
}

// open greets, takes the subscription and answers it.
func open(conn net.Conn, rejected ...wire.Rejection) error {
	if err := send(conn, wire.AppendConnected(nil, wire.JSONNative, &wire.Connected{Conn: fmt.Sprintf("c%p", conn), Epoch: 7, Ping: 20 * time.Second})); err != nil {
		return err
	}
	if err := send(conn, wire.AppendFeed(nil, wire.JSONNative, market.Feed{State: market.FeedLive, Since: time.Now()})); err != nil {
		return err
	}
	text, err := wsutil.ReadClientText(conn)
	if err != nil {
		return err
	}
	cmd, err := wire.ParseCommand(wire.JSONNative, text)
	if err != nil {
		return err
	}
	if err := send(conn, wire.AppendSubscription(nil, wire.JSONNative, &wire.Subscription{ID: cmd.ID, Rejected: rejected})); err != nil {
		return err
	}
	time.Sleep(time.Microsecond) // the client's word of the connection comes from another goroutine than events
	return nil
}

func data(conn net.Conn, events ...market.Event) error {
	b := wire.BeginArray(nil, wire.JSONNative)
	for i := range events {
		b = wire.AppendData(b, wire.JSONNative, wire.AppendEvent(nil, wire.JSONNative, &events[i]), wire.Tail{Prev: events[i].Prev, Merged: events[i].Merged})
	}
	return send(conn, wire.EndArray(b, wire.JSONNative, 0, len(events)))
}

// hold reads until the client goes.
func hold(conn net.Conn) error {
	for {
		if _, err := wsutil.ReadClientText(conn); err != nil {
			return err
		}
	}
}

func price(s string) market.Price {
	p, err := market.ParsePrice(s)
	if err != nil {
		panic(err)
	}
	return p
}

var noon = time.Date(2024, 8, 8, 12, 0, 0, 0, time.UTC)

func trade(s market.Symbol, p, size string) market.Event {
	return market.Event{Seq: 1, Channel: market.Trades, Symbol: s, Trade: &market.Trade{Price: price(p), Size: market.Size(price(size)), Time: noon}}
}

func quote(s market.Symbol, bid, ask string) market.Event {
	return market.Event{Seq: 2, Channel: market.Quotes, Symbol: s, Quote: &market.Quote{
		BidPrice: price(bid), AskPrice: price(ask), BidSize: 3 * market.Scale, AskSize: market.Scale, BidExchange: "SIM", Time: noon,
	}}
}

func day(s market.Symbol, volume string) market.Event {
	return market.Event{Seq: 3, Channel: market.DailyBars, Symbol: s, Bar: &market.Bar{Close: price("1"), Volume: market.Size(price(volume)), Time: noon}}
}

func status(q market.Seq, s market.Symbol, code, text, reason string) market.Event {
	return market.Event{Seq: q, Channel: market.Statuses, Symbol: s, Status: &market.Status{
		Code: code, Message: text, ReasonCode: "LUDP", ReasonMessage: reason, Time: noon,
	}}
}

// start runs a watch; stop ends it and gives its error.
func start(t *testing.T, cfg Config, out io.Writer) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, cfg, out) }()
	return func() error {
		cancel()
		return <-done
	}
}

func TestPlainLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		merged := quote("MSFT", "10.5", "10.75")
		merged.Merged = 4
		l := gateway(t, func(conn net.Conn, n int) error {
			if err := open(conn, wire.Rejection{Topic: market.Topic{Channel: market.Quotes, Symbol: "AAPL"}, Code: wire.CodeUnknownSymbol}); err != nil {
				return err
			}
			if n > 1 {
				return hold(conn)
			}
			time.Sleep(100 * time.Millisecond) // what is said of the connection comes from other goroutines than events
			if err := data(conn, trade("AAPL", "126.55", "1"), merged, day("AAPL", "12"),
				status(4, "AAPL", "H", "Trading Halt", "Volatility\x1b[2J Pause"), status(5, "MSFT", "T", "", ""),
				status(6, "IBM", "5", "Price Indication", "")); err != nil {
				return err
			}
			time.Sleep(900 * time.Millisecond)
			_, err := conn.Write(wire.AppendClose(nil, 4201, "too old"))
			return err
		})
		var out output
		stop := start(t, Config{URL: "ws://gateway", Symbols: []market.Symbol{"AAPL", "MSFT"}, NetDial: l.DialContext}, &out)
		time.Sleep(10 * time.Second)
		if err := stop(); err != nil {
			t.Error(err)
		}
		want := `00:00:00.000 -- connected: to ws://gateway
00:00:00.000 -- feed live: since 00:00:00.000
00:00:00.000 -- refused: quotes:AAPL: unknown symbol
12:00:00.000 AAPL     trade 126.55 × 1
12:00:00.000 MSFT     quote 10.5 × 10.75  3 × 1  stands for 4  simulated
12:00:00.000 AAPL     day 0 0 0 1 volume 12
12:00:00.000 AAPL     halted: Trading Halt, LUDP Volatility[2J Pause
12:00:00.000 MSFT     trading: T, LUDP
12:00:00.000 IBM      status: Price Indication, LUDP
00:00:01.000 -- disconnected: too old; next attempt at once
00:00:01.000 -- reconnected: to ws://gateway
00:00:01.000 -- feed live: since 00:00:01.000
`
		sortable := func(s string) string { // the refusal comes from another goroutine than events
			before, after, ok := strings.Cut(s, "00:00:00.000 -- refused: quotes:AAPL: unknown symbol\n")
			if !ok {
				t.Error("no word of the refusal")
			}
			return before + after
		}
		if got := out.take(); sortable(got) != sortable(want) {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

func TestJSONLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := gateway(t, func(conn net.Conn, _ int) error {
			if err := open(conn); err != nil {
				return err
			}
			if err := data(conn, trade("AAPL", "126.55", "1"), quote("AAPL", "1", "2")); err != nil {
				return err
			}
			return hold(conn)
		})
		var out output
		stop := start(t, Config{
			URL: "ws://gateway", Symbols: []market.Symbol{"AAPL"}, NetDial: l.DialContext, JSON: true,
			Terminal: true, // JSON all the same
		}, &out)
		time.Sleep(time.Second)
		if err := stop(); err != nil {
			t.Error(err)
		}
		var types []string
		for line := range strings.Lines(out.take()) {
			var m map[string]any
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Errorf("%s: %v", line, err)
			}
			types = append(types, m["T"].(string))
		}
		if got := strings.Join(types, " "); got != "watch watch t q" {
			t.Errorf("got %s", got)
		}
	})
}

// TestMoveAndGap moves to another connection, loses that one, and comes back too
// late: lines and JSON tell all of it, and events come once.
func TestMoveAndGap(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			event := func(p string, seq, prev market.Seq) market.Event {
				e := trade("AAPL", p, "1")
				e.Seq, e.Prev = seq, prev
				return e
			}
			old := make(chan struct{})
			var olds sync.WaitGroup
			l := gateway(t, func(conn net.Conn, n int) error {
				if err := open(conn); err != nil {
					return err
				}
				switch n {
				case 1:
					if err := data(conn, event("1", 1, 0)); err != nil {
						return err
					}
					if err := send(conn, wire.AppendReconnect(nil, wire.JSONNative, wire.Reconnect{Reason: wire.Drain, Delay: time.Second, Deadline: time.Minute})); err != nil {
						return err
					}
					olds.Go(func() { // gateway plays one after the other
						_ = hold(conn)
						close(old)
					})
					return errKept
				case 2:
					if err := data(conn, event("1", 1, 0), event("2", 2, 1)); err != nil {
						return err
					}
					time.Sleep(time.Second)
					return nil // lost
				}
				gap := market.Gap{Reason: market.GapExpired, From: market.Position{Epoch: 7, Seq: 2}, To: market.Position{Epoch: 7, Seq: 8}}
				if err := send(conn, wire.AppendGap(nil, wire.JSONNative, &gap)); err != nil {
					return err
				}
				if err := data(conn, event("9", 9, 0)); err != nil {
					return err
				}
				return hold(conn)
			})
			var out output
			stop := start(t, Config{URL: "ws://gateway", Symbols: []market.Symbol{"AAPL"}, Channels: []market.Channel{market.Trades}, NetDial: l.DialContext, JSON: asJSON}, &out)
			time.Sleep(20 * time.Second)
			if err := stop(); err != nil {
				t.Error(err)
			}
			<-old
			olds.Wait()
			got := out.take()
			states := []string{"-- connected", "-- moving", "-- moved", "-- disconnected", "-- reconnected"}
			events := []string{"trade 1 ×", "trade 2 ×", "-- gap: expired, from 7-2 to 7-8", "trade 9 × 1  after a loss"}
			if asJSON {
				states = []string{`"connected"`, `"moving"`, `"moved"`, `"disconnected"`, `"reconnected"`}
				events = []string{`"p":1,`, `"p":2,`, `{"T":"gap","reason":"expired","from":"7-2","to":"7-8"`, `"what":"loss"`, `"p":9,`}
			}
			for _, list := range [][]string{states, events} { // they come by different ways
				at := 0
				for _, part := range list {
					i := strings.Index(got[at:], part)
					if i < 0 {
						t.Fatalf("no %q in its place in\n%s", part, got)
					}
					at += i
				}
			}
			for _, once := range []string{"trade 1 ×", "trade 2 ×", "trade 9 ×"} {
				if !asJSON && strings.Count(got, once) != 1 {
					t.Errorf("%q comes %d times in\n%s", once, strings.Count(got, once), got)
				}
			}
		})
	}
}

// errKept says that a connection goes on beside the next one.
var errKept = errors.New("kept")

// TestSlowOutput has an output that takes nothing for an hour.
func TestSlowOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := gateway(t, func(conn net.Conn, _ int) error {
			if err := open(conn); err != nil {
				return err
			}
			for seq := market.Seq(1); ; seq++ {
				e := trade("AAPL", "126.55", "1")
				e.Seq, e.Prev = seq, seq-1
				if err := data(conn, e); err != nil {
					return err
				}
			}
		})
		r, w := io.Pipe()
		stop := start(t, Config{URL: "ws://gateway", Symbols: []market.Symbol{"*"}, Channels: []market.Channel{market.Trades}, NetDial: l.DialContext}, w)
		time.Sleep(time.Hour)
		_ = r.CloseWithError(errors.New("nobody reads"))
		synctest.Wait() // Run fails by itself, before it is stopped
		if err := stop(); err == nil || !strings.Contains(err.Error(), "nobody reads") {
			t.Errorf("%v", err)
		}
	})
}

func TestTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := gateway(t, func(conn net.Conn, _ int) error {
			if err := open(conn); err != nil {
				return err
			}
			_, err := conn.Write(wire.AppendClose(nil, 4004, "behave"))
			return err
		})
		var out output
		err := Run(t.Context(), Config{URL: "ws://gateway", Symbols: []market.Symbol{"AAPL"}, NetDial: l.DialContext}, &out)
		if e, ok := errors.AsType[*client.Error](err); !ok || e.Close != 4004 {
			t.Errorf("%v", err)
		}
		all := gateway(t, func(conn net.Conn, _ int) error {
			if err := open(conn, wire.Rejection{Topic: market.Topic{Channel: market.Bars, Symbol: "NOPE"}, Code: wire.CodeUnknownSymbol}); err != nil {
				return err
			}
			return hold(conn)
		})
		err = Run(t.Context(), Config{URL: "ws://gateway", Symbols: []market.Symbol{"NOPE"}, Channels: []market.Channel{market.Bars}, NetDial: all.DialContext}, &out)
		if _, ok := errors.AsType[*client.RejectedError](err); !ok {
			t.Errorf("%v", err)
		}
	})
	for part, cfg := range map[string]Config{
		"no symbols": {URL: "ws://x"},
		"bad symbol": {URL: "ws://x", Symbols: []market.Symbol{"A A"}},
		"bad URL":    {URL: "x", Symbols: []market.Symbol{"A"}},
	} {
		if err := Run(t.Context(), cfg, io.Discard); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%+v: %v; want …%s…", cfg, err, part)
		}
	}
}
