package gateway

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// drain drains the house's gateway beside the test.
func (ho *house) drain() (took <-chan time.Duration) {
	ho.t.Helper()
	done := make(chan time.Duration, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		begin := time.Now()
		ho.g.Drain(ho.t.Context())
		done <- time.Since(begin)
	})
	ho.t.Cleanup(wg.Wait)
	return done
}

// nextButHeartbeats is next without heartbeats.
func (c *client) nextButHeartbeats() string {
	c.t.Helper()
	for {
		if got := c.next(); !strings.Contains(got, `"T":"hb"`) {
			return got
		}
	}
}

// TestDrain refuses who comes at once, tells clients after the grace, and goes on
// streaming to them until their deadline.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ho := newHouse(t, Config{DrainGrace: 5 * time.Second, DrainWindow: 30 * time.Second, AuthTimeout: time.Hour})
		if err := ho.hub.Feed(t.Context(), market.Feed{State: market.FeedLive, Since: time.Now(), Epoch: 7}); err != nil {
			t.Fatal(err)
		}
		c, s := ho.dial("/v1/stream?trades=AAPL"), ho.dial("/v2/iex")
		c.expect(`connected`, `"T":"feed"`, `"T":"subscription"`)
		s.expect(`connected`)
		synctest.Wait()
		begin := time.Now()
		took := ho.drain()
		synctest.Wait()
		for _, tc := range []struct{ method, path string }{{"GET", "/v1/stream"}, {"GET", "/v2/iex"}, {"POST", sessionsPath}} {
			h, body := http.Header{}, "{}"
			if tc.method == "GET" {
				body = ""
				h = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}}
			}
			resp, text := ho.ask(tc.method, tc.path, h, body)
			if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || !resp.Close || !strings.Contains(text, "problem:draining") {
				t.Errorf("%s %s: %d %v %s", tc.method, tc.path, resp.StatusCode, resp.Header, text)
			}
		}
		ho.publish(tradeOf("AAPL", 1), tradeOf("MSFT", 1))
		c.expect(`"q":1`)
		got := c.nextButHeartbeats()
		if after := time.Since(begin); after < 5*time.Second || after > 16*time.Second || !strings.Contains(got, `[{"T":"reconnect","reason":"drain","delay_ms":`) || !strings.Contains(got, `"deadline_ms":10000,"since":"7-2"}]`) {
			t.Errorf("after %s: %s", time.Since(begin), got)
		}
		told := time.Now()
		time.Sleep(9 * time.Second)
		ho.publish(tradeOf("AAPL", 2))
		if got := c.nextButHeartbeats(); !strings.Contains(got, `"q":3,"pq":1`) {
			t.Errorf("behind the notice: %s", got)
		}
		if got := c.nextButHeartbeats(); got != "close 4200" || time.Since(told) != 10*time.Second {
			t.Errorf("%s, %s after the notice", got, time.Since(told))
		}
		if got := s.next(); got != "close 1001" {
			t.Errorf("the strict client got %s", got)
		}
		if d := <-took; d > 35*time.Second || ho.g.Left() != 0 {
			t.Errorf("the drain took %s, %d are left", d, ho.g.Left())
		}
		synctest.Wait() // the last one's end is logged behind its farewell
		for want, least := range map[string]int{
			"draining sockets=2 grace=5s window=30s": 1, "msg=draining sockets=": 3, "drained sockets=0 notices=1": 1,
		} {
			if strings.Count(ho.logs.String(), want) < least {
				t.Errorf("not logged %d times: %s", least, want)
			}
		}
		if err := testutil.CollectAndCompare(ho.g.metrics, strings.NewReader(`
# HELP lzstock_gateway_draining 1 once the gateway is taken out of service: its sockets are told to move.
# TYPE lzstock_gateway_draining gauge
lzstock_gateway_draining 1
# HELP lzstock_gateway_ended_total Sockets that have ended.
# TYPE lzstock_gateway_ended_total counter
lzstock_gateway_ended_total{reason="drain"} 1
lzstock_gateway_ended_total{reason="going_away"} 1
# HELP lzstock_gateway_reconnect_notices_total Clients that were told to move to another connection.
# TYPE lzstock_gateway_reconnect_notices_total counter
lzstock_gateway_reconnect_notices_total{reason="drain"} 1
lzstock_gateway_reconnect_notices_total{reason="max_age"} 0
`), "lzstock_gateway_draining", "lzstock_gateway_ended_total", "lzstock_gateway_reconnect_notices_total"); err != nil {
			t.Error(err)
		}
	})
}

// TestDrainEndsEarly where nobody is left, but not within the grace.
func TestDrainEndsEarly(t *testing.T) {
	for _, tc := range []struct {
		name          string
		grace, window time.Duration
		stay          bool
		took          time.Duration
	}{
		{"nobody", 5 * time.Second, 30 * time.Second, false, 5 * time.Second},
		{"nobody, no grace", 0, 30 * time.Second, false, 0},
		{"no window", 2 * time.Second, 0, true, 2 * time.Second},
		{"nothing", 0, 0, true, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ho := newHouse(t, Config{DrainGrace: tc.grace, DrainWindow: tc.window})
				c := ho.dial("/v1/stream")
				c.expect(`connected`)
				if !tc.stay {
					_ = c.conn.Close()
				}
				synctest.Wait()
				if d := <-ho.drain(); d.Round(100*time.Millisecond) != tc.took {
					t.Errorf("the drain took %s", d)
				}
				ho.stop()
				if tc.stay {
					c.expect(`close 1001`)
				}
			})
		})
	}
}

// TestStopDuringADrain ends it, and all sockets, at once.
func TestStopDuringADrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ho := newHouse(t, Config{DrainWindow: time.Hour})
		c := ho.dial("/v1/stream")
		c.expect(`connected`)
		synctest.Wait() // it is in the hub
		took := ho.drain()
		c.expect(`"T":"reconnect"`)
		begin := time.Now()
		ho.stop()
		c.expect(`close 1001`)
		if err := <-ho.done; err != nil || time.Since(begin) > time.Second {
			t.Errorf("stopped after %s: %v", time.Since(begin), err)
		}
		<-took
	})
}

// TestHandover lets in who still comes to a gateway whose port another process
// has, and moves them, too.
func TestHandover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		there := true
		ho := newHouse(t, Config{DrainWindow: 9 * time.Second, Handover: func(context.Context) bool { return there }})
		c := ho.dial("/v1/stream")
		c.expect(`connected`)
		took := ho.drain()
		c.expect(`"T":"reconnect"`)
		_ = c.conn.Close()
		time.Sleep(500 * time.Millisecond) // nobody is left, but who was on the way is let in
		late := ho.dial("/v1/stream?trades=AAPL")
		late.expect(`connected`, `"T":"subscription"`, `"T":"reconnect"`)
		ho.publish(tradeOf("AAPL", 1))
		late.expect(`"S":"AAPL"`, `close 4200`)
		if d := <-took; d < time.Second || d > 10*time.Second {
			t.Errorf("the drain took %s", d)
		}
		if resp, _ := ho.ask("POST", sessionsPath, nil, `{}`); resp.StatusCode != 503 {
			t.Errorf("behind the drain: %d", resp.StatusCode)
		}
	})
}

// TestSocketsDrawTheirAge and are told which it is.
func TestSocketsDrawTheirAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ho := newHouse(t, Config{Bridge: bridge.Config{MaxAge: 100 * time.Second}})
		ages := map[time.Duration]bool{}
		for range 20 {
			begin := time.Now()
			c := ho.dial("/v1/stream")
			list, err := wire.DecodeFrame(wire.JSON, []byte(c.next()))
			if err != nil {
				t.Fatal(err)
			}
			age := list[0].(*wire.Connected).MaxAge
			if age < 80*time.Second || age > 120*time.Second {
				t.Errorf("age %s", age)
			}
			ages[age] = true
			c.nextButHeartbeats() // the notice
			got := c.nextButHeartbeats()
			if lived := time.Since(begin).Truncate(time.Millisecond); got != "close 4201" || lived != age {
				t.Errorf("%s after %s, want %s", got, lived, age)
			}
		}
		if len(ages) < 15 {
			t.Errorf("20 sockets have %d ages", len(ages))
		}
		if c := ho.dial("/v2/iex"); !strings.Contains(c.next(), "connected") {
			t.Error("the strict client was not greeted")
		}
	})
}
