package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/leak"
	"github.com/lzstock/lzstock/internal/memnet"
	"github.com/lzstock/lzstock/internal/poll"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

func TestMain(m *testing.M) { leak.Main(m) }

// ledger is a Demand that counts and answers at once.
type ledger struct {
	mu      sync.Mutex
	want    map[market.Topic]int
	refusal error // of Acquire
	replay  func(ctx context.Context, topics []market.Topic, after market.Position) ([]market.Event, market.Seq, []market.Topic, error)
}

func (l *ledger) Acquire(_ string, topics []market.Topic) error { return l.add(topics, 1) }
func (l *ledger) Release(_ string, topics []market.Topic)       { _ = l.add(topics, -1) }
func (l *ledger) Epoch() market.Epoch                           { return 1_700_000_000_000 }

func (l *ledger) Replay(ctx context.Context, topics []market.Topic, after market.Position) ([]market.Event, market.Seq, []market.Topic, error) {
	if l.replay == nil {
		return nil, 0, topics, nil
	}
	return l.replay(ctx, topics, after)
}

func (l *ledger) add(topics []market.Topic, n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n > 0 && l.refusal != nil {
		return l.refusal
	}
	for _, t := range topics {
		l.want[t] += n
		if l.want[t] == 0 {
			delete(l.want, t)
		}
	}
	return nil
}

func (l *ledger) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.want)
}

// house is a running gateway over a network in memory.
type house struct {
	t      *testing.T
	g      *Gateway
	hub    *hub.Hub
	demand *ledger
	l      *memnet.Listener
	stop   context.CancelFunc
	done   chan error
	logs   *bytes.Buffer
	seq    market.Seq
}

func newHouse(t *testing.T, cfg Config, network ...memnet.Option) *house {
	t.Helper()
	return newHouseBehind(t, cfg, func(l net.Listener) net.Listener { return l }, network...)
}

// newHouseBehind has the gateway accept from what front makes of its listener.
func newHouseBehind(t *testing.T, cfg Config, front func(net.Listener) net.Listener, network ...memnet.Option) *house {
	t.Helper()
	h := newHub(t)
	ho := &house{t: t, hub: h, demand: &ledger{want: map[market.Topic]int{}}, l: memnet.Listen(network...), done: make(chan error, 1), logs: &bytes.Buffer{}}
	if cfg.Poller == nil {
		cfg.Poller = poll.NewGoroutines() // a bubble cannot see into the system's waits
	}
	var err error
	ho.g, err = New(cfg, h, ho.demand, slog.New(slog.NewTextHandler(ho.logs, &slog.HandlerOptions{Level: slog.LevelDebug})), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ho.stop = stop
	var wg sync.WaitGroup
	l := front(ho.l)
	wg.Go(func() { ho.done <- ho.g.Run(ctx, l) })
	t.Cleanup(func() { stop(); wg.Wait() })
	return ho
}

// newHub runs a hub until the test has ended all that needs it.
func newHub(t *testing.T) *hub.Hub {
	t.Helper()
	return newHubBehind(t, 0)
}

// newHubBehind runs a hub that gets events later than others.
func newHubBehind(t *testing.T, delay time.Duration) *hub.Hub {
	t.Helper()
	h, err := hub.New(hub.Config{Open: true, Shards: 2, Window: 8, Delay: delay, Encode: func(dst []byte, f int, e *market.Event) []byte {
		return wire.AppendEvent(dst, wire.Format(f), e)
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() { _ = h.Run(ctx) })
	t.Cleanup(func() { stop(); wg.Wait() })
	return h
}

func (ho *house) publish(events ...market.Event) {
	ho.t.Helper()
	for i := range events {
		ho.seq++
		events[i].Seq = ho.seq
	}
	if err := ho.hub.Publish(ho.t.Context(), events); err != nil {
		ho.t.Fatal(err)
	}
}

func tradeOf(s market.Symbol, price market.Price) market.Event {
	return market.Event{Channel: market.Trades, Symbol: s, Trade: &market.Trade{
		Price: price, Size: market.Scale, Exchange: "D", Time: time.Date(2021, 2, 22, 15, 51, 44, 208e6, time.UTC),
	}}
}

// client is a bare WebSocket client, or one of an event stream.
type client struct {
	t      *testing.T
	conn   net.Conn
	in     *bufio.Reader
	events *eventState // nil: a WebSocket
}

func (ho *house) dial(path string) *client {
	ho.t.Helper()
	return ho.dialAs(path, nil)
}

// dialAs dials with headers.
func (ho *house) dialAs(path string, h http.Header, protocols ...string) *client {
	ho.t.Helper()
	conn, err := ho.l.Dial()
	if err != nil {
		ho.t.Fatal(err)
	}
	ho.t.Cleanup(func() { _ = conn.Close() })
	if strings.HasPrefix(path, eventsPath) {
		return ho.follow(conn, path, h)
	}
	d := ws.Dialer{
		Header: ws.HandshakeHeaderHTTP(h), Protocols: protocols,
		NetDial: func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}
	_, br, _, err := d.Dial(ho.t.Context(), "ws://gateway"+path)
	if err != nil {
		ho.t.Fatalf("dial %s: %v", path, err)
	}
	if br == nil {
		br = bufio.NewReader(conn)
	}
	return &client{t: ho.t, conn: conn, in: br}
}

func (c *client) send(text string) {
	c.t.Helper()
	c.frame(ws.NewTextFrame([]byte(text)))
}

func (c *client) frame(f ws.Frame) {
	c.t.Helper()
	if err := ws.WriteFrame(c.conn, ws.MaskFrame(f)); err != nil {
		c.t.Fatal(err)
	}
}

// next gives the next text message.
func (c *client) next() string {
	c.t.Helper()
	if c.events != nil {
		return c.nextEvent()
	}
	for {
		f, err := ws.ReadFrame(c.in)
		if err != nil {
			return "error: " + err.Error()
		}
		switch f.Header.OpCode { //nolint:exhaustive // others do not matter here
		case ws.OpPing:
			_ = ws.WriteFrame(c.conn, ws.MaskFrame(ws.NewPongFrame(f.Payload)))
		case ws.OpText:
			return string(f.Payload)
		case ws.OpClose:
			code, _ := ws.ParseCloseFrameData(f.Payload)
			_ = ws.WriteFrame(c.conn, ws.MaskFrame(ws.NewCloseFrame(f.Payload)))
			return fmt.Sprintf("close %d", code)
		}
	}
}

// expect reads messages that hold each of the texts, in order.
func (c *client) expect(texts ...string) {
	c.t.Helper()
	for _, want := range texts {
		if got := c.next(); !strings.Contains(got, want) {
			c.t.Fatalf("got  %s\nwant %s", got, want)
		}
	}
}

func TestNativeConversation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ho := newHouse(t, Config{})
		ho.publish(tradeOf("AAPL", 126_550_000_000))
		c := ho.dial("/v1/stream")
		c.expect(`"msg":"connected"`)
		c.send(`{"action":"subscribe","id":1,"trades":["AAPL","MSFT","no good"]}`)
		c.expect(
			`[{"T":"subscription","id":1,"trades":["AAPL","MSFT"],"quotes":[],"bars":[],"updatedBars":[],"dailyBars":[],"statuses":[],"delivery":"adaptive","rejected":[{"ch":"trades","S":"no good","code":412`,
			`[{"T":"t","S":"AAPL","i":0,"x":"D","p":126.55,"s":1,"t":"2021-02-22T15:51:44.208Z","c":[],"z":"","q":1,"pq":0,"snap":true}]`,
		)
		ho.publish(tradeOf("MSFT", 1), tradeOf("IBM", 1), tradeOf("AAPL", 2))
		c.expect(`"S":"AAPL","i":0,"x":"D","p":0.000000002,"s":1,"t":"2021-02-22T15:51:44.208Z","c":[],"z":"","q":4,"pq":1}]`)
		c.send(`{"action":"unsubscribe","id":"x","trades":["AAPL","IBM"]}`)
		c.expect(`"id":"x","trades":["MSFT"]`)
		c.send(`{"action":"list","id":2}`)
		c.expect(`"id":2,"trades":["MSFT"]`)
		c.send(`{"action":"ping","id":7}`)
		c.expect(`[{"T":"pong","id":7,"t":"`)
		if ho.demand.len() != 1 {
			t.Errorf("demand: %v", ho.demand.want)
		}
		_ = c.conn.Close()
		synctest.Wait()
		if n := ho.demand.len(); n != 0 || ho.hub.Stats().Members != 0 {
			t.Errorf("left behind: %v, %+v", ho.demand.want, ho.hub.Stats())
		}
	})
}

// TestGreetingComesFirst has the feed's state known before the client comes.
func TestGreetingComesFirst(t *testing.T) {
	bothWays(t, func(t *testing.T, path string) {
		t.Helper()
		ho := newHouse(t, Config{})
		if err := ho.hub.Feed(t.Context(), market.Feed{State: market.FeedLive, Since: time.Now()}); err != nil {
			t.Fatal(err)
		}
		ho.dial(path+"?trades=AAPL").expect(`"msg":"connected"`, `"T":"feed","state":"live"`, `"T":"subscription"`)
		ho.dial("/v2/iex").expect(`[{"T":"success","msg":"connected"}]`)
	})
}

func TestQuerySubscribes(t *testing.T) {
	bothWays(t, func(t *testing.T, path string) {
		t.Helper()
		ho := newHouse(t, Config{})
		c := ho.dial(path + "?trades=AAPL,MSFT&bars=*&delivery=latest&interval_ms=500")
		c.expect(`connected`, `"trades":["AAPL","MSFT"],"quotes":[],"bars":["*"],"updatedBars":[],"dailyBars":[],"statuses":[],"delivery":"latest","interval_ms":500`)
		ho.publish(tradeOf("AAPL", 1))
		c.expect(`"S":"AAPL"`)
		c = ho.dial(path + "?trades=A%20B,IBM")
		c.expect(`connected`, `"trades":["IBM"],"quotes":[],"bars":[],"updatedBars":[],"dailyBars":[],"statuses":[],"delivery":"adaptive","rejected":[{"ch":"trades","S":"A B","code":412`)
	})
}

func TestStrictConversation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ho := newHouse(t, Config{})
		ho.publish(tradeOf("AAPL", 1))
		c := ho.dial("/v2/iex")
		c.expect(`[{"T":"success","msg":"connected"}]`)
		c.send(`{"action":"subscribe","trades":["AAPL"]}`)
		c.expect(`[{"T":"error","code":401,"msg":"not authenticated"}]`)
		c.send(`{"action":"auth","key":"k","secret":"s"}`)
		c.expect(`[{"T":"success","msg":"authenticated"}]`)
		c.send(`{"action":"auth","key":"k","secret":"s"}`)
		c.expect(`[{"T":"error","code":403,"msg":"already authenticated"}]`)
		c.send(`{"action":"subscribe","trades":["AAPL"]}`)
		c.expect(`"trades":["AAPL"]`)
		ho.publish(tradeOf("AAPL", 126_550_000_000))
		c.expect(`[{"T":"t","S":"AAPL","i":0,"x":"D","p":126.55,"s":1,"t":"2021-02-22T15:51:44.208Z"`)
	})
}

func TestStrictAuthTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ho := newHouse(t, Config{})
		c := ho.dial("/v1beta3/crypto/us")
		begin := time.Now()
		c.expect("connected", `"code":404,"msg":"auth timeout"`, "close 4002")
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("after %s", took)
		}
	})
}

func TestBadCommandsAreAnsweredAndTheSocketLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ho := newHouse(t, Config{Symbols: 3})
		c := ho.dial("/v1/stream")
		c.expect("connected")
		for _, tc := range []struct{ in, code string }{
			{`nonsense`, `"code":400`},
			{`[]`, `"code":400`},
			{`{"action":"dance","id":4}`, `"id":4,"code":400`},
			{`{"action":"subscribe","id":5,"trades":"AAPL"}`, `"id":5,"code":400`},
			{`{"action":"subscribe","id":6,"trades":["A","B","C","D"]}`, `"id":6,"code":405`},
			{`{"action":"subscribe","trades":["A"],"delivery":"sometimes"}`, `"code":415`},
			{`{"action":"subscribe","trades":["A"],"delivery":"latest","interval_ms":1}`, `"code":415`},
			{``, `"code":400`},
		} {
			c.send(tc.in)
			if got := c.next(); !strings.Contains(got, tc.code) {
				t.Errorf("%s: %s", tc.in, got)
			}
			time.Sleep(time.Second)
		}
		c.send(`{"action":"ping","id":1}`)
		c.expect("pong")
		if n := testutil.ToFloat64(ho.g.metrics.errors.WithLabelValues("405")); n != 1 {
			t.Errorf("%v errors 405 are counted", n)
		}
	})
}

func TestCommandFloodIsLimitedThenEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ho := newHouse(t, Config{})
		c := ho.dial("/v1/stream")
		c.expect("connected")
		go func() {
			for range 60 {
				if ws.WriteFrame(c.conn, ws.MaskFrame(ws.NewTextFrame([]byte(`{"action":"ping"}`)))) != nil {
					return
				}
			}
		}()
		pongs, refused := 0, 0
		for {
			got := c.next()
			switch {
			case strings.Contains(got, "pong"):
				pongs++
				continue
			case strings.Contains(got, `"code":429`):
				refused++
				continue
			}
			if got != "close 4101" || pongs != 20 || refused != abuse+1 {
				t.Errorf("%d pongs, %d refusals, then %s", pongs, refused, got)
			}
			return
		}
	})
}

func TestBadFrames(t *testing.T) {
	masked := func(op ws.OpCode, fin bool, rsv byte, payload []byte) ws.Frame {
		f := ws.NewFrame(op, fin, payload)
		f.Header.Rsv = rsv
		return ws.MaskFrame(f)
	}
	big := bytes.Repeat([]byte("x"), 17<<10)
	for name, tc := range map[string]struct {
		frames []ws.Frame
		close  string
	}{
		"unmasked":                {[]ws.Frame{ws.NewTextFrame([]byte("x"))}, "close 1002"},
		"too large":               {[]ws.Frame{masked(ws.OpText, true, 0, big)}, "close 1009"},
		"too large in fragments":  {[]ws.Frame{masked(ws.OpText, false, 0, big[:9<<10]), masked(ws.OpContinuation, true, 0, big[:9<<10])}, "close 1009"},
		"invalid UTF-8":           {[]ws.Frame{masked(ws.OpText, true, 0, []byte{0xff, 0xfe})}, "close 1007"},
		"unknown opcode":          {[]ws.Frame{masked(3, true, 0, nil)}, "close 1002"},
		"unknown control opcode":  {[]ws.Frame{masked(11, true, 0, nil)}, "close 1002"},
		"reserved bit":            {[]ws.Frame{masked(ws.OpText, true, ws.Rsv(true, false, false), nil)}, "close 1002"},
		"binary":                  {[]ws.Frame{masked(ws.OpBinary, true, 0, []byte("x"))}, "close 1003"},
		"fragmented ping":         {[]ws.Frame{masked(ws.OpPing, false, 0, nil)}, "close 1002"},
		"large ping":              {[]ws.Frame{masked(ws.OpPing, true, 0, big[:126])}, "close 1002"},
		"continuation of nothing": {[]ws.Frame{masked(ws.OpContinuation, true, 0, nil)}, "close 1002"},
		"message in a message":    {[]ws.Frame{masked(ws.OpText, false, 0, nil), masked(ws.OpText, true, 0, nil)}, "close 1002"},
		"bad close":               {[]ws.Frame{masked(ws.OpClose, true, 0, []byte{3})}, "close 1002"},
		"bad close code":          {[]ws.Frame{masked(ws.OpClose, true, 0, []byte{0x03, 0xed})}, "close 1002"},
		"fragments without end":   {fragments(maxFragments + 1), "close 1009"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ho := newHouse(t, Config{})
				c := ho.dial("/v1/stream")
				c.expect("connected")
				for _, f := range tc.frames {
					_ = ws.WriteFrame(c.conn, f) // the server may have closed already
				}
				for {
					if got := c.next(); !strings.Contains(got, `"T":"error"`) {
						if got != tc.close {
							t.Errorf("got %s, want %s", got, tc.close)
						}
						return
					}
				}
			})
		})
	}
}

func fragments(n int) (out []ws.Frame) {
	for i := range n {
		op := ws.OpContinuation
		if i == 0 {
			op = ws.OpText
		}
		out = append(out, ws.MaskFrame(ws.NewFrame(op, false, []byte("x"))))
	}
	return out
}

func TestFragmentsAreJoinedAroundAPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ho := newHouse(t, Config{})
		c := ho.dial("/v1/stream")
		c.expect("connected")
		c.frame(ws.NewFrame(ws.OpText, false, []byte(`{"action":"pi`)))
		c.frame(ws.NewPingFrame([]byte("p")))
		c.frame(ws.NewFrame(ws.OpContinuation, true, []byte(`ng","id":3}`)))
		c.expect(`"T":"pong","id":3`)
	})
}

func TestRefusalsComeBeforeTheUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ho := newHouse(t, Config{Connections: 1})
		good := map[string]string{
			"Connection": "keep-alive, Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
			"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
		}
		without := func(header string) map[string]string {
			h := map[string]string{}
			for k, v := range good {
				if k != header {
					h[k] = v
				}
			}
			return h
		}
		hc := &http.Client{Transport: &http.Transport{DialContext: ho.l.DialContext, DisableKeepAlives: true}}
		for _, tc := range []struct {
			name, method, path string
			headers            map[string]string
			status             int
			cause              string
		}{
			{"no such path", "GET", "/stream", good, 404, "unknown-path"},
			{"no such feed", "GET", "/v2/nyse", good, 404, "unknown-feed"},
			{"not GET", "POST", "/v1/stream", good, 405, "bad-method"},
			{"a browser's address bar", "GET", "/v1/stream", nil, 426, "not-an-upgrade"},
			{"no upgrade", "GET", "/v1/stream", without("Upgrade"), 426, "not-an-upgrade"},
			{"no connection", "GET", "/v2/iex", without("Connection"), 426, "not-an-upgrade"},
			{"no version", "GET", "/v1/stream", without("Sec-WebSocket-Version"), 426, "bad-version"},
			{"no key", "GET", "/v1/stream", without("Sec-WebSocket-Key"), 400, "bad-key"},
			{"unknown parameter", "GET", "/v1/stream?trade=AAPL", good, 400, "bad-query"},
			{"credentials in the URL", "GET", "/v1/stream?token=x", good, 400, "credentials-in-url"},
			{"bad delivery", "GET", "/v1/stream?trades=A&delivery=x", good, 400, "bad-query"},
			{"bad interval", "GET", "/v1/stream?trades=A&delivery=latest&interval_ms=x", good, 400, "bad-query"},
			{"full", "GET", "/v1/stream", good, 503, "over-capacity"},
			{"stopping", "GET", "/v1/stream", good, 503, "stopping"},
		} {
			switch tc.name {
			case "full":
				ho.dial("/v1/stream")
			case "stopping":
				ho.g.close()
			}
			req, err := http.NewRequestWithContext(t.Context(), tc.method, "http://gateway"+tc.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range tc.headers {
				req.Header.Set(k, v)
			}
			resp, err := hc.Do(req)
			if err != nil {
				t.Fatalf("%s: %v", tc.name, err)
			}
			var p problem
			body, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err := json.Unmarshal(body, &p); err != nil || resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s: %v in %s", tc.name, err, body)
			}
			if resp.StatusCode != tc.status || p.Status != tc.status || !strings.HasSuffix(p.Type, ":"+tc.cause) || p.Detail == "" {
				t.Errorf("%s: %d %s", tc.name, resp.StatusCode, body)
			}
			if testutil.ToFloat64(ho.g.metrics.refused.WithLabelValues(tc.cause)) == 0 {
				t.Errorf("%s: not counted as %s", tc.name, tc.cause)
			}
			if tc.status == 503 && resp.Header.Get("Retry-After") == "" {
				t.Errorf("%s: no Retry-After", tc.name)
			}
		}
	})
}

func TestStopEndsSocketsWith1001(t *testing.T) {
	bothWays(t, func(t *testing.T, path string) {
		t.Helper()
		ho := newHouse(t, Config{})
		c := ho.dial(path + "?trades=AAPL")
		c.expect("connected", "subscription")
		ho.stop()
		c.expect("close 1001")
		if err := <-ho.done; err != nil {
			t.Error(err)
		}
		if ho.demand.len() != 0 || ho.g.bridges.Stats().Open != 0 {
			t.Errorf("left: %v, %+v", ho.demand.want, ho.g.bridges.Stats())
		}
	})
}

// TestStopWhileClientsConnect stops the gateway in a storm of new clients: Run
// returns, and the bubble ends only if nothing is left.
func TestStopWhileClientsConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ho := newHouse(t, Config{Bridge: bridge.Config{CloseWait: 100 * time.Millisecond}})
		var clients sync.WaitGroup
		for i := range 50 {
			clients.Go(func() {
				for range 20 {
					time.Sleep(time.Duration(1+i%7) * time.Millisecond)
					conn, err := ho.l.Dial()
					if err != nil {
						return // stopped
					}
					d := ws.Dialer{NetDial: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}
					if _, _, _, err := d.Dial(t.Context(), "ws://gateway/v1/stream?trades=A,B"); err == nil {
						_, _ = io.CopyN(io.Discard, conn, 200)
					}
					_ = conn.Close()
				}
			})
		}
		time.Sleep(20 * time.Millisecond)
		ho.stop()
		err := <-ho.done
		clients.Wait()
		synctest.Wait()
		if err != nil || ho.demand.len() != 0 || ho.hub.Stats().Members != 0 {
			t.Errorf("%v; left: %v, %+v", err, ho.demand.want, ho.hub.Stats())
		}
		if _, servers := ho.l.Open(); servers != 0 {
			t.Errorf("%d connections are open", servers)
		}
	})
}

// TestRealSocketsEnd has clients on real sockets, read as this system reads best,
// that vanish or never answer a close: the gateway ends with all of them.
func TestRealSocketsEnd(t *testing.T) {
	h, err := hub.New(hub.Config{Open: true, Shards: 1})
	if err != nil {
		t.Fatal(err)
	}
	demand := &ledger{want: map[market.Topic]int{}}
	g, err := New(Config{Bridge: bridge.Config{CloseWait: 50 * time.Millisecond}}, h, demand, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	hubCtx, stopHub := context.WithCancel(t.Context())
	var hubDone sync.WaitGroup
	hubDone.Go(func() { _ = h.Run(hubCtx) })
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx, l) }()
	var conns []net.Conn
	for range 20 {
		conn, _, _, err := ws.Dial(ctx, "ws://"+l.Addr().String()+"/v1/stream?trades=AAPL")
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	for _, c := range conns[:10] {
		_ = c.Close()
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	stopHub()
	hubDone.Wait()
	if n := demand.len(); n != 0 || g.bridges.Stats().Open != 0 {
		t.Errorf("left: %v, %+v", demand.want, g.bridges.Stats())
	}
	for _, c := range conns[10:] {
		_ = c.Close()
	}
}

// FuzzFrames feeds foreign bytes whole and in pieces: both give the same.
func FuzzFrames(f *testing.F) {
	for _, fr := range []ws.Frame{
		ws.MaskFrame(ws.NewTextFrame([]byte(`{"action":"ping"}`))), ws.MaskFrame(ws.NewPingFrame([]byte("x"))),
		ws.MaskFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, "bye"))), ws.MaskFrame(ws.NewFrame(ws.OpText, false, []byte("a"))),
	} {
		f.Add(ws.MustCompileFrame(fr), uint8(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, piece uint8) {
		read := func(size int) (got []string, err error) {
			fr := frames{limits: newFrameLimits(1024, 1, 1<<20)}
			for p := bytes.Clone(data); len(p) > 0 && err == nil; {
				n := min(size, len(p))
				err = fr.feed(p[:n:n], func(m bridge.Message) {
					if len(m.Payload) > 1024 {
						t.Fatalf("a message of %d bytes passed", len(m.Payload))
					}
					got = append(got, fmt.Sprint(m.Op, string(m.Payload)))
				})
				p = p[n:]
			}
			return got, err
		}
		whole, err := read(len(data) + 1)
		pieces, errPieces := read(int(piece) + 1)
		if !slices.Equal(whole, pieces) || fmt.Sprint(err) != fmt.Sprint(errPieces) {
			t.Fatalf("whole: %v, %v\npieces of %d: %v, %v", whole, err, piece+1, pieces, errPieces)
		}
	})
}

// raw takes over a connection behind a request, and reads the answer's header.
func raw(t *testing.T, conn net.Conn) *client {
	t.Helper()
	c := &client{t: t, conn: conn, in: bufio.NewReader(conn)}
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "\r\n" {
			return c
		}
	}
}
