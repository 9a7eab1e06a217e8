package client_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/lzstock/lzstock/client"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// follow runs a client of a model that is subscribed to some topics.
func follow(t *testing.T, m *model, change func(*client.Config), topics ...market.Topic) (*client.Client, *reader) {
	t.Helper()
	cfg := m.config()
	if change != nil {
		change(&cfg)
	}
	c, err := client.Dial(day(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	r := read(c)
	if err := c.Subscribe(t.Context(), topics...); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return c, r
}

// TestDrainIsNotSeen moves a client to another gateway: the stream has no gap and
// no duplicate, the state never leaves connected, and the old connection is left
// politely.
func TestDrainIsNotSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t)
		topics := client.Trades("A", "B")
		var states []client.State
		var dialed []string
		c, r := follow(t, m, func(cfg *client.Config) {
			cfg.URL, cfg.URLs = "", []string{"ws://one", "ws://two"}
			cfg.OnState = func(s client.State) { states = append(states, s) }
			dial := cfg.NetDial
			cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				dialed = append(dialed, addr)
				return dial(ctx, network, addr)
			}
		}, topics...)
		for i := range 200 {
			m.publish(topics...)
			if i == 150 {
				m.drain(wire.Drain, 2*time.Second, 10*time.Second)
			}
			time.Sleep(100 * time.Millisecond)
		}
		m.mu.Lock()
		if len(m.conns) != 1 {
			t.Errorf("%d connections are left before the deadline", len(m.conns))
		}
		m.mu.Unlock()
		_ = c.Close()
		<-r.done
		if broken := m.compare(r.got(), topics, t.Errorf); broken != 0 || len(r.got()) != 400 {
			t.Errorf("%d events, %d of them marked", len(r.got()), broken)
		}
		if st := c.Stats(); st.Moves != 1 || st.Resumed != 1 || st.Drops != 0 || st.Connections != 2 {
			t.Errorf("%+v", st)
		}
		at := m.attempts()
		if len(at) != 2 || at[1].Sub(at[0]) != 17*time.Second || dialed[0] == dialed[1] {
			t.Errorf("dialed %v at %v, want two gateways 17 s apart", dialed, at)
		}
		moved := false
		for i, s := range states {
			moved = moved || s.Moving
			if s.Phase != client.Connected && i > 0 && s.Phase != client.Closed {
				t.Errorf("state %d is %+v", i, s)
			}
		}
		if !moved {
			t.Error("no state tells of the move")
		}
	})
}

// TestDrainWhileGatewaysAreDown keeps the old connection until its deadline, and
// resumes when there is a gateway again.
func TestDrainWhileGatewaysAreDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t)
		topics := client.Trades("A")
		var down atomic.Bool
		c, r := follow(t, m, func(cfg *client.Config) {
			dial := cfg.NetDial
			cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if down.Load() {
					return nil, errors.New("refused")
				}
				return dial(ctx, network, addr)
			}
		}, topics...)
		time.Sleep(time.Minute)
		down.Store(true)
		m.drain(wire.Drain, 0, 10*time.Second)
		for range 9 {
			m.publish(topics...)
			time.Sleep(time.Second)
			if s := c.State(); s.Phase != client.Connected || !s.Moving {
				t.Fatalf("before the deadline: %+v", s)
			}
		}
		if n := len(r.got()); n != 9 {
			t.Errorf("%d events from the old connection, want 9", n)
		}
		time.Sleep(10 * time.Second)
		if s := c.State(); s.Status() != client.StatusReconnecting {
			t.Errorf("after the deadline: %+v", s)
		}
		m.publish(topics...)
		down.Store(false)
		time.Sleep(time.Minute)
		_ = c.Close()
		<-r.done
		if broken := m.compare(r.got(), topics, t.Errorf); broken != 0 || c.Stats().Moves != 0 {
			t.Errorf("%d marked, %+v", broken, c.Stats())
		}
	})
}

// TestOldEndsDuringAMove loses the connection in use while the next one is being
// made, which is used then; there is no third.
func TestOldEndsDuringAMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t)
		topics := client.Trades("A")
		c, r := follow(t, m, nil, topics...)
		m.publish(topics...)
		time.Sleep(time.Minute)
		hold := make(chan struct{})
		m.mu.Lock()
		m.hold = hold
		m.mu.Unlock()
		m.drain(wire.MaxAge, 0, 10*time.Second)
		synctest.Wait()
		m.mu.Lock()
		_ = m.conns[0].conn.Close()
		m.mu.Unlock()
		synctest.Wait()
		m.publish(topics...)
		close(hold)
		time.Sleep(10 * time.Second)
		_ = c.Close()
		<-r.done
		if broken := m.compare(r.got(), topics, t.Errorf); broken != 0 || len(m.attempts()) != 2 || c.Stats().Drops != 1 {
			t.Errorf("%d marked, %d attempts, %+v", broken, len(m.attempts()), c.Stats())
		}
	})
}

// TestSubscribeDuringAMove changes the subscriptions while there are two
// connections.
func TestSubscribeDuringAMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t)
		c, r := follow(t, m, nil, client.Trades("A", "B")...)
		m.publish(client.Trades("A", "B", "C")...)
		time.Sleep(time.Minute)
		hold := make(chan struct{})
		m.mu.Lock()
		m.hold = hold // the new connection gets no answer
		m.mu.Unlock()
		m.drain(wire.MaxAge, 0, 10*time.Second)
		synctest.Wait()
		if err := c.Subscribe(t.Context(), client.Trades("C")...); err != nil {
			t.Error(err)
		}
		if err := c.Unsubscribe(t.Context(), client.Trades("B")...); err != nil {
			t.Error(err)
		}
		if s := c.State(); !s.Moving || c.Stats().Connections != 2 {
			t.Errorf("the move is over: %+v", s)
		}
		close(hold)
		time.Sleep(time.Second)
		m.each(func(l *link) {
			if !l.topics[client.Trades("A")[0]] || l.topics[client.Trades("B")[0]] || !l.topics[client.Trades("C")[0]] {
				t.Errorf("the new connection has %v", l.topics)
			}
		})
		m.publish(client.Trades("A", "C")...)
		time.Sleep(time.Second)
		_ = c.Close()
		<-r.done
		if broken := m.compare(r.got(), client.Trades("A", "C"), t.Errorf); broken != 0 || c.Stats().Moves != 1 {
			t.Errorf("%d marked, %+v", broken, c.Stats())
		}
	})
}

// TestLossIsMended has a gateway lose an event: the client resumes before it. A
// gateway that goes on lying is believed after that, and its events are marked.
func TestLossIsMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t)
		topics := client.Trades("A", "B")
		var gaps []client.Gap
		c, r := follow(t, m, func(cfg *client.Config) { cfg.OnGap = func(g client.Gap) { gaps = append(gaps, g) } }, topics...)
		m.publish(topics...)
		m.skip[topics[0]] = true
		m.publish(topics...)
		m.publish(topics[1:]...) // the position moves on
		m.publish(topics...)
		time.Sleep(time.Second)
		if st := c.Stats(); st.Missing != 1 || st.Broken != 0 || st.Drops != 1 || len(gaps) != 0 {
			t.Errorf("%+v", st)
		}
		if broken := m.compare(r.got(), topics, t.Errorf); broken != 0 {
			t.Errorf("%d marked", broken)
		}
		for range 10 {
			m.lie[topics[0]] = true
			m.publish(topics...)
			time.Sleep(time.Second)
		}
		st := c.Stats()
		if broken := m.compare(r.got(), topics, t.Errorf); broken != 10 || len(gaps) != 10 || gaps[0].Reason != client.Unexplained || st.Drops != 1 {
			t.Errorf("%d marked, %v, %+v", broken, gaps, st)
		}
	})
}

// TestGapsAreReported resumes too late, in another epoch, and where nobody can
// resume.
func TestGapsAreReported(t *testing.T) {
	for want, play := range map[client.GapReason]func(m *model){
		client.Expired: func(m *model) {
			m.held = 1
			m.publish(client.Trades("A", "B", "A", "A")...)
		},
		client.Renumbered: func(m *model) {
			m.mu.Lock()
			m.epoch, m.q = 8, 10
			m.mu.Unlock()
			m.publish(client.Trades("A", "B")...)
		},
		client.NotResumed: func(m *model) {
			m.refuse = true
			m.publish(client.Trades("A", "B")...)
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := newModel(t)
			topics := client.Trades("A", "B")
			var gaps []client.Gap
			c, r := follow(t, m, func(cfg *client.Config) { cfg.OnGap = func(g client.Gap) { gaps = append(gaps, g) } }, topics...)
			m.publish(topics...)
			synctest.Wait()
			m.drop()
			play(m)
			time.Sleep(time.Minute)
			m.publish(topics...)
			time.Sleep(time.Minute)
			if broken := m.compare(r.got(), topics, t.Errorf); broken != 2 || len(gaps) != 1 || gaps[0].Reason != want || gaps[0].From.Epoch != 7 {
				t.Errorf("%s: %d marked, gaps %+v", want, broken, gaps)
			}
			if st := c.Stats(); st.Gaps != 1 || st.Drops != 1 {
				t.Errorf("%s: %+v", want, st)
			}
		})
	}
}

// TestNothingIsMarkedWhereNothingHappened has a position expire while the values
// stay what they were.
func TestNothingIsMarkedWhereNothingHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t)
		c, r := follow(t, m, nil, client.Trades("A")...)
		m.publish(client.Trades("A")...)
		synctest.Wait()
		m.held = 1
		m.publish(client.Trades("B", "B")...)
		m.drop()
		time.Sleep(time.Minute)
		m.publish(client.Trades("A")...)
		time.Sleep(time.Second)
		if broken := m.compare(r.got(), client.Trades("A"), t.Errorf); broken != 0 || c.Stats().Gaps != 1 {
			t.Errorf("%d marked, %+v", broken, c.Stats())
		}
	})
}

// TestPositionInTheURL resumes where the gateway holds the subscriptions, with the
// old socket's 4005 on the way.
func TestPositionInTheURL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		f := newRawFake(t, func(conn net.Conn, n int) error {
			u := ws.Upgrader{OnRequest: func(uri []byte) error {
				asked = append(asked, string(uri))
				return nil
			}}
			if _, err := u.Upgrade(conn); err != nil {
				return err
			}
			p := &peer{conn: conn, format: wire.JSONNative, number: n}
			if err := p.greet(); err != nil {
				return err
			}
			switch n {
			case 1:
				snap := trade("A", 5, 0)
				snap.Snapshot = true
				if err := p.data(snap, trade("A", 6, 5)); err != nil {
					return err
				}
				time.Sleep(30 * time.Second)
				if err := p.send(wire.AppendReconnect(nil, p.format, wire.Reconnect{Reason: wire.Drain, Deadline: time.Minute})); err != nil {
					return err
				}
				time.Sleep(time.Second)
				return p.close(wire.Superseded)
			default:
				time.Sleep(2 * time.Second)
				if err := p.data(trade("A", 6, 5), trade("A", 7, 6)); err != nil {
					return err
				}
				gap := market.Gap{Reason: market.GapExpired, From: market.Position{Epoch: 7, Seq: 7}, To: market.Position{Epoch: 7, Seq: 9}}
				if err := p.send(wire.AppendGap(nil, p.format, &gap)); err != nil {
					return err
				}
				if err := p.data(trade("A", 10, 0)); err != nil {
					return err
				}
			}
			return p.serve()
		})
		cfg := f.config()
		cfg.URL = "ws://gateway/v1/stream?session_id=abc"
		c, err := client.Dial(day(t), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		got := take(t, c, 4)
		if got[0].Seq != 5 || got[1].Seq != 6 || got[2].Seq != 7 || got[2].Broken || !got[3].Broken || c.Stats().Missing != 0 {
			t.Errorf("%+v", got)
		}
		if want := []string{"/v1/stream?session_id=abc", "/v1/stream?session_id=abc&since=7-6"}; !slices.Equal(asked, want) {
			t.Errorf("asked for %q, want %q", asked, want)
		}
	})
}

// TestHeartbeatsFindADeadGateway notices within seconds what pings would not.
func TestHeartbeatsFindADeadGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t)
		topics := client.Trades("A")
		c, _ := follow(t, m, func(cfg *client.Config) { cfg.Heartbeat = time.Second }, topics...)
		for range 10 {
			time.Sleep(time.Second)
			m.each(func(l *link) {
				_ = l.send(wire.AppendHeartbeat(nil, l.format, wire.Heartbeat{Time: time.Now(), Seq: m.q}))
			})
		}
		if c.Stats().Drops != 0 || c.Age() > time.Second || c.EventAge() != 0 {
			t.Errorf("%+v, %s, %s", c.Stats(), c.Age(), c.EventAge())
		}
		m.each(func(l *link) { l.frozen = true })
		time.Sleep(4 * time.Second)
		if st := c.Stats(); st.Drops == 0 || !strings.Contains(c.State().Err.Error(), "silent") {
			t.Errorf("%+v, %v", st, c.State().Err)
		}
	})
}

// TestTokens fetches a token for each connection, a newer one in time, and another
// one where one is refused.
func TestTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []string
		f := newFake(t, func(p *peer) error {
			if err := p.greet(); err != nil {
				return err
			}
			for n := 0; ; n++ {
				cmd, err := p.command()
				if err != nil {
					return err
				}
				seen = append(seen, cmd.Token)
				if p.number > 1 {
					return p.close(wire.AuthFailed)
				}
				if err := p.send(wire.AppendAuthenticated(nil, p.format)); err != nil {
					return err
				}
				if p.number == 1 && n == 0 {
					if err := p.send(wire.AppendExpiring(nil, p.format, time.Now().Add(time.Minute))); err != nil {
						return err
					}
				} else if p.number == 1 {
					time.Sleep(30 * time.Second)
					return p.close(wire.Revoked)
				}
			}
		})
		asked := 0
		cfg := f.config()
		cfg.TokenSource = func(context.Context) (string, error) {
			asked++
			return "t" + string(rune('0'+asked)), nil
		}
		c, err := client.Dial(day(t), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		time.Sleep(10 * time.Minute)
		_ = c.Close()
		synctest.Wait()
		// t1 connects, t2 renews, and is revoked; t3 is refused, and there is no fourth.
		if want := []string{"t1", "t2", "t3"}; !slices.Equal(seen, want) {
			t.Errorf("the gateway saw %v, want %v", seen, want)
		}
		s := c.State()
		e, ok := errors.AsType[*client.Error](s.Err)
		if !ok || s.Phase != client.Closed || e.Retry != client.RetryNever || e.Remedy() == "" {
			t.Errorf("%v, %v", s.Phase, s.Err)
		}
	})
}

// TestEndpointsAreTriedInTurn has one gateway that is down, one that refuses for
// good, and one that works.
func TestEndpointsAreTriedInTurn(t *testing.T) {
	for range 5 { // it begins anywhere
		synctest.Test(t, func(t *testing.T) {
			m := newModel(t)
			refuses := newRawFake(t, func(conn net.Conn, _ int) error {
				u := ws.Upgrader{OnRequest: func([]byte) error { return ws.RejectConnectionError(ws.RejectionStatus(http.StatusNotFound)) }}
				_, err := u.Upgrade(conn)
				return err
			})
			down := false
			cfg := m.config()
			cfg.URL, cfg.URLs = "ws://works", []string{"ws://refuses", "ws://down"}
			cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				switch {
				case strings.HasPrefix(addr, "works") && !down:
					return m.listener.DialContext(ctx, network, addr)
				case strings.HasPrefix(addr, "refuses"):
					return refuses.listener.DialContext(ctx, network, addr)
				}
				return nil, errors.New("no route to host")
			}
			c, err := client.Dial(day(t), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if s := c.State(); s.URL != "ws://works/v1/stream" {
				t.Errorf("%+v", s)
			}
			_ = c.Close()
			down = true
			begun := time.Now()
			if _, err := client.Dial(day(t), cfg); err == nil || time.Since(begun) > 3*time.Second {
				t.Errorf("none is left: %v after %s", err, time.Since(begun))
			}
		})
	}
}
