package bridge_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/leak"
	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/internal/memnet"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

func TestMain(m *testing.M) { leak.Main(m) }

// pipe is a Conn over one end of a connection in memory.
type pipe struct {
	*memnet.Conn
	readers   *sync.WaitGroup
	reluctant bool // takes nothing at once
	events    bool // nothing is to come
}

func (p *pipe) Offer(b []byte) ([]byte, error) {
	if p.reluctant {
		return b, nil
	}
	n, err := p.TryWrite(b)
	return b[n:], err
}

func (p *pipe) Start(in bridge.Inbox) {
	p.readers.Go(func() {
		r := bufio.NewReader(p.Conn)
		for p.events {
			if _, err := r.ReadByte(); err != nil {
				in.End(err)
				return
			}
		}
		for {
			f, err := ws.ReadFrame(r)
			if err != nil {
				in.End(err)
				return
			}
			f = ws.UnmaskFrameInPlace(f)
			in.Message(bridge.Message{Op: wire.Opcode(f.Header.OpCode), Payload: f.Payload})
		}
	})
}

func (p *pipe) Push(b []byte, limit time.Duration) ([]byte, error) {
	_ = p.SetWriteDeadline(time.Now().Add(limit))
	defer func() { _ = p.SetWriteDeadline(time.Time{}) }()
	n, err := p.Write(b)
	return b[n:], err
}

// talk is a Handler that subscribes to a trade channel and does what it is told.
type talk struct {
	symbols []market.Symbol
	opened  chan<- struct{} // may be nil
	catchUp *hub.CatchUp    // in place of snapshots
	member  chan *hub.Member
	onText  func(ctx context.Context, b *bridge.Bridge, text string) error
}

func (h *talk) Open(ctx context.Context, b *bridge.Bridge) error {
	var topics []market.Topic
	for _, s := range h.symbols {
		topics = append(topics, market.Topic{Channel: market.Trades, Symbol: s})
	}
	if h.member != nil {
		h.member <- b.Member()
	}
	return b.Member().Subscribe(ctx, hub.Subscription{Topics: topics, Snapshot: true, CatchUp: h.catchUp}, func(market.Seq) {
		if h.opened != nil {
			h.opened <- struct{}{}
		}
	})
}

func (h *talk) Message(ctx context.Context, b *bridge.Bridge, m bridge.Message) error {
	if h.onText == nil {
		return nil
	}
	return h.onText(ctx, b, string(m.Payload))
}

func (h *talk) Close(*bridge.End) {}

// told passes a bridge's end on.
type told struct {
	bridge.Handler
	end chan<- *bridge.End
}

func (h *told) Close(end *bridge.End) { h.end <- end }

// stage is a hub with a factory, in a bubble.
type stage struct {
	t         *testing.T
	hub       *hub.Hub
	factory   *bridge.Factory
	seq       market.Seq
	readers   sync.WaitGroup
	reluctant bool         // connections take nothing at once
	sentAt    atomic.Int64 // Unix nanoseconds
}

func newStage(t *testing.T, cfg bridge.Config) *stage {
	t.Helper()
	return newStageOver(t, cfg, true)
}

// newStageOver has a hub whose topics are all live, or those that Replace makes live.
func newStageOver(t *testing.T, cfg bridge.Config, open bool) *stage {
	t.Helper()
	h, err := hub.New(hub.Config{Open: open, Shards: 1, Encode: func(dst []byte, f int, e *market.Event) []byte {
		return wire.AppendEvent(dst, wire.Format(f), e)
	}})
	if err != nil {
		t.Fatal(err)
	}
	st := &stage{t: t, hub: h, factory: bridge.NewFactory(h, cfg)}
	hubCtx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = h.Run(hubCtx) })
	t.Cleanup(func() { st.cancel(); st.factory.Wait(); st.readers.Wait(); stop(); wg.Wait() })
	return st
}

// cancel ends all bridges, as a process that stops does.
func (st *stage) cancel() { st.factory.StopAll(wire.GoingAway, nil) }

func (st *stage) publish(symbols ...market.Symbol) {
	st.t.Helper()
	var events []market.Event
	for _, s := range symbols {
		st.seq++
		events = append(events, market.Event{Seq: st.seq, Channel: market.Trades, Symbol: s, Trade: &market.Trade{
			Price: market.Price(st.seq) * market.Scale, Size: market.Scale, Time: time.Unix(1_700_000_000, 0).UTC(),
		}})
	}
	if err := st.hub.Publish(st.t.Context(), events); err != nil {
		st.t.Fatal(err)
	}
}

// peer is the client's end.
type peer struct {
	t    *testing.T
	conn *memnet.Conn
	in   *bufio.Reader
	end  chan *bridge.End
}

func (st *stage) connect(h bridge.Handler, opts bridge.Options, net ...memnet.Option) *peer {
	client, server := memnet.Pair(net...)
	p := &peer{t: st.t, conn: client, in: bufio.NewReader(client), end: make(chan *bridge.End, 1)}
	st.factory.Start(st.t.Context(), &pipe{Conn: server, readers: &st.readers, reluctant: st.reluctant, events: opts.Framing == wire.EventStream}, &told{h, p.end}, opts)
	st.t.Cleanup(func() { _ = client.Close() })
	return p
}

// frame reads one frame.
func (p *peer) frame() (op ws.OpCode, payload string) {
	p.t.Helper()
	f, err := ws.ReadFrame(p.in)
	if err != nil {
		return 0, "error: " + err.Error()
	}
	return f.Header.OpCode, string(f.Payload)
}

// text reads frames until one is text.
func (p *peer) text() string {
	p.t.Helper()
	for {
		op, payload := p.frame()
		if op != ws.OpPing && op != ws.OpPong {
			return payload
		}
	}
}

func (p *peer) send(f ws.Frame) {
	p.t.Helper()
	if err := ws.WriteFrame(p.conn, ws.MaskFrame(f)); err != nil {
		p.t.Fatal(err)
	}
}

// closed reads until the close frame and answers it.
func (p *peer) closed() (before []string, code ws.StatusCode) {
	p.t.Helper()
	for {
		f, err := ws.ReadFrame(p.in)
		if err != nil {
			return before, 0
		}
		switch f.Header.OpCode { //nolint:exhaustive // others do not matter here
		case ws.OpText:
			before = append(before, string(f.Payload))
		case ws.OpClose:
			code, _ := ws.ParseCloseFrameData(f.Payload)
			_ = ws.WriteFrame(p.conn, ws.MaskFrame(ws.NewCloseFrame(f.Payload)))
			return before, code
		}
	}
}

func TestEventsArriveAndCloseIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, bridge.Config{})
		st.publish("A")
		p := st.connect(&talk{symbols: []market.Symbol{"A"}}, bridge.Options{})
		if got := p.text(); !strings.Contains(got, `"q":1,"pq":0,"snap":true}]`) {
			t.Errorf("snapshot: %s", got)
		}
		st.publish("A", "B", "A")
		if got := p.text(); strings.Count(got, `"T":"t"`) != 2 || !strings.Contains(got, `"q":4,"pq":2}]`) {
			t.Errorf("events: %s", got)
		}
		p.send(ws.NewPingFrame([]byte("hey")))
		if op, got := p.frame(); op != ws.OpPong || got != "hey" {
			t.Errorf("pong: %v %q", op, got)
		}
		p.send(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, "")))
		if _, code := p.closed(); code != 1000 {
			t.Errorf("close is answered with %d", code)
		}
		if end := <-p.end; end.Reason != wire.ClientClosed || st.hub.Stats().Members != 0 {
			t.Errorf("ended: %v, %+v", end, st.hub.Stats())
		}
	})
}

// TestOneFate takes each way to end a bridge: all of it must end, at once, with
// the reason that was first, and the client is told.
func TestOneFate(t *testing.T) {
	boom := &talk{onText: func(context.Context, *bridge.Bridge, string) error { panic("boom") }}
	for _, tc := range []struct {
		name   string
		h      *talk
		cfg    bridge.Config
		do     func(st *stage, p *peer)
		reason wire.Reason
		code   ws.StatusCode
		after  time.Duration
	}{
		{"the client vanishes", &talk{}, bridge.Config{}, func(_ *stage, p *peer) { _ = p.conn.Close() }, wire.ClientGone, 0, 0},
		{"the process stops", &talk{}, bridge.Config{}, func(st *stage, _ *peer) { st.cancel() }, wire.GoingAway, 1001, 0},
		{"maximum age", &talk{}, bridge.Config{MaxAge: 7 * time.Second}, nil, wire.MaxAge, 4201, 7 * time.Second},
		{"silent peer", &talk{}, bridge.Config{}, nil, wire.PeerSilent, 4202, time.Minute},
		{"a panic in the handler", boom, bridge.Config{}, func(_ *stage, p *peer) { p.send(ws.NewTextFrame([]byte("x"))) }, wire.Internal, 1011, 0},
		{"the upstream is down", &talk{}, bridge.Config{DownLimit: 3 * time.Second}, func(st *stage, _ *peer) {
			down := func() { _ = st.hub.Feed(st.t.Context(), market.Feed{State: market.FeedDown, Since: time.Now()}) }
			down()
			time.AfterFunc(2*time.Second, down) // told again, of another source: it is down still
		}, wire.UpstreamDown, 4104, 3 * time.Second},
		{"the handler refuses", &talk{onText: func(context.Context, *bridge.Bridge, string) error {
			return &bridge.End{Reason: wire.RateLimited}
		}}, bridge.Config{}, func(_ *stage, p *peer) { p.send(ws.NewTextFrame([]byte("x"))) }, wire.RateLimited, 4101, 0},
	} {
		fate := func(framing wire.Framing) func(t *testing.T) {
			return func(t *testing.T) {
				t.Helper()
				st := newStage(t, tc.cfg)
				p := st.connect(tc.h, bridge.Options{Framing: framing})
				other := st.connect(&talk{symbols: []market.Symbol{"A"}}, bridge.Options{MaxAge: time.Hour})
				synctest.Wait()
				begin := time.Now()
				if tc.do != nil {
					tc.do(st, p)
				}
				closed := p.closed
				if framing == wire.EventStream {
					closed = p.closedEvents
				}
				before, code := closed()
				if code != tc.code {
					t.Errorf("close code %d, want %d", code, tc.code)
				}
				if c := tc.reason.Code(); c != 0 && (len(before) == 0 || !strings.Contains(before[len(before)-1], fmt.Sprintf(`"code":%d`, c))) {
					t.Errorf("no error %d before the close frame: %q", c, before)
				}
				end := <-p.end
				if end.Reason != tc.reason || time.Since(begin) != tc.after {
					t.Errorf("ended after %s: %v", time.Since(begin), end)
				}
				if _, err := p.conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && tc.reason != wire.ClientGone {
					t.Errorf("the connection is still there: %v", err)
				}
				if tc.reason == wire.Internal { // others live on
					st.publish("A")
					if got := other.text(); !strings.Contains(got, `"S":"A"`) {
						t.Errorf("the other got %s", got)
					}
				}
			}
		}
		t.Run(tc.name, func(t *testing.T) { synctest.Test(t, fate(wire.WebSocket)) })
		if tc.h.onText == nil && tc.reason != wire.PeerSilent { // whose reader says nothing
			t.Run(tc.name+", events", func(t *testing.T) { synctest.Test(t, fate(wire.EventStream)) })
		}
	}
}

func TestPeerThatNeverAnswersTheCloseIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, bridge.Config{MaxAge: time.Second})
		p := st.connect(&talk{}, bridge.Options{})
		begin := time.Now()
		if end := <-p.end; end.Reason != wire.MaxAge || time.Since(begin) != 2*time.Second {
			t.Errorf("ended after %s: %v", time.Since(begin), end)
		}
	})
}

// TestStalledClient has a client that stops reading: it conflates, then ends as
// slow, and its reader, helper and mailbox end with it.
func TestStalledClient(t *testing.T) {
	for _, tc := range []struct {
		mode   mailbox.Mode
		reason wire.Reason
		after  time.Duration
	}{
		{mailbox.Adaptive, wire.WriteStalled, 5 * time.Second},
		{mailbox.Every, wire.SlowConsumer, 0},
	} {
		t.Run(tc.mode.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := newStage(t, bridge.Config{})
				p := st.connect(&talk{symbols: []market.Symbol{"A"}}, bridge.Options{Mailbox: mailbox.Options{Mode: tc.mode, Limit: 100}}, memnet.WithBuffer(1024))
				begin := time.Now()
				for range 500 {
					synctest.Wait()
					st.publish("A")
				}
				end := <-p.end
				if end.Reason != tc.reason || time.Since(begin).Truncate(time.Second) != tc.after+time.Second && time.Since(begin) != tc.after {
					t.Errorf("ended after %s: %v", time.Since(begin), end)
				}
			})
		})
	}
}

// TestDripEndsByAge has a client that reads a little each second: its writes make
// progress, but what waits behind them grows too old.
func TestDripEndsByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, bridge.Config{})
		p := st.connect(&talk{symbols: []market.Symbol{"A"}}, bridge.Options{}, memnet.WithBuffer(256))
		var drip sync.WaitGroup
		defer drip.Wait()
		drip.Go(func() {
			for {
				if _, err := p.conn.Read(make([]byte, 100)); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		synctest.Wait()
		st.publish(slices.Repeat([]market.Symbol{"A"}, 200)...)
		synctest.Wait()
		begin := time.Now()
		st.publish("A")
		if end := <-p.end; end.Reason != wire.SlowConsumer || time.Since(begin) != 11*time.Second {
			t.Errorf("ended after %s: %v", time.Since(begin), end)
		}
	})
}

// TestControlBeforeData has data wait behind a stalled client: what is due then
// is a ping first, and no heartbeat.
func TestControlBeforeData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, bridge.Config{QueueAge: time.Hour, WriteStall: time.Hour})
		p := st.connect(&talk{symbols: []market.Symbol{"A"}}, bridge.Options{}, memnet.WithBuffer(64))
		st.publish("A") // more than the connection holds: a helper finishes it
		synctest.Wait()
		st.publish("A") // waits
		time.Sleep(21 * time.Second)
		synctest.Wait()
		if shed := st.factory.Stats().Shed; shed != 1 {
			t.Errorf("%d heartbeats were shed", shed)
		}
		var ops []ws.OpCode
		for range 3 {
			op, got := p.frame()
			ops = append(ops, op)
			if strings.Contains(got, `"hb"`) {
				t.Errorf("a heartbeat while data waited: %s", got)
			}
		}
		if !slices.Equal(ops, []ws.OpCode{ws.OpText, ws.OpPing, ws.OpText}) {
			t.Errorf("frames came as %v", ops)
		}
	})
}

// TestAnHourOfHeartbeats lets an idle client answer pings for an hour.
func TestAnHourOfHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, bridge.Config{})
		p := st.connect(&talk{}, bridge.Options{})
		pings, beats := 0, 0
		begin := time.Now()
		for time.Since(begin) < time.Hour {
			switch op, got := p.frame(); {
			case op == ws.OpPing:
				pings++
				p.send(ws.NewPongFrame(nil))
			case strings.Contains(got, `"T":"hb"`):
				beats++
			default:
				t.Fatalf("got %v %s", op, got)
			}
		}
		if pings != 180 || beats < 239 || beats > 240 {
			t.Errorf("%d pings, %d heartbeats", pings, beats)
		}
	})
}

func TestLatestWithInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, bridge.Config{})
		p := st.connect(&talk{symbols: []market.Symbol{"A"}}, bridge.Options{Mailbox: mailbox.Options{Mode: mailbox.Latest}, Interval: 500 * time.Millisecond})
		go func() {
			for range 100 {
				time.Sleep(50 * time.Millisecond)
				st.publish("A")
			}
		}()
		frames, events := 0, 0
		for events < 100 {
			got, err := wire.DecodeFrame(wire.JSON, []byte(p.text()))
			if err != nil {
				t.Fatal(err)
			}
			frames++
			for _, m := range got {
				if d, ok := m.(*wire.Data); ok {
					events += int(d.Count())
				}
			}
		}
		if frames != 11 { // the first at once, then two a second for 5 s
			t.Errorf("%d frames for %d events", frames, events)
		}
	})
}

func TestThrottleIsAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, bridge.Config{})
		p := st.connect(&talk{symbols: []market.Symbol{"A", "B"}}, bridge.Options{Mailbox: mailbox.Options{Limit: 4}}, memnet.WithBuffer(64))
		for range 21 {
			st.publish("A", "B")
			synctest.Wait()
		}
		var got []string
		for range 4 {
			got = append(got, p.text())
		}
		if !strings.Contains(got[1], `"state":"on"`) || !strings.Contains(got[2], `"k":20`) || !strings.Contains(got[3], `"state":"off"`) {
			t.Errorf("%q", got)
		}
	})
}

// TestConnectionThatTakesNothingAtOnce has the helper write everything, the
// greeting first, which the shard offers before Start has returned.
func TestConnectionThatTakesNothingAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, bridge.Config{})
		st.reluctant = true
		p := st.connect(&talk{symbols: []market.Symbol{"A"}}, bridge.Options{Greeting: []byte(`["hello"]`)})
		if got := p.text(); got != `["hello"]` {
			t.Errorf("greeting: %s", got)
		}
		synctest.Wait()
		for range 3 {
			st.publish("A")
			if got := p.text(); !strings.Contains(got, `"S":"A"`) {
				t.Errorf("event: %s", got)
			}
		}
	})
}

// drip reads a little at a time.
type drip struct{ io.Reader }

func (d drip) Read(p []byte) (int, error) {
	time.Sleep(50 * time.Millisecond)
	return d.Reader.Read(p[:min(len(p), 40)])
}

// TestFarewellFollowsTheHelper ends a bridge whose helper is in the middle of a
// frame that takes many writes: the client gets the frame whole, then what waited
// in the lane, and the farewell.
func TestFarewellFollowsTheHelper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, bridge.Config{MaxAge: time.Second, WriteStall: 100 * time.Millisecond, CloseWait: time.Minute})
		p := st.connect(&talk{symbols: []market.Symbol{"A"}}, bridge.Options{}, memnet.WithBuffer(64))
		p.in = bufio.NewReader(drip{p.conn})
		synctest.Wait()
		st.publish(slices.Repeat([]market.Symbol{"A"}, 50)...)
		before, code := p.closed()
		if len(before) != 2 || strings.Count(before[0], `"T":"t"`) != 50 || !strings.Contains(before[1], "reconnect") || code != 4201 {
			t.Errorf("got %d frames, closed with %d: %q", len(before), code, before)
		}
		if end := <-p.end; end.Reason != wire.MaxAge {
			t.Errorf("ended: %v", end)
		}
	})
}

// TestStartAfterTheEnd has bridges begin whose parent has ended already.
func TestStartAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, bridge.Config{})
		st.cancel()
		for range 20 {
			p := st.connect(&talk{symbols: []market.Symbol{"A"}}, bridge.Options{})
			if _, code := p.closed(); code != 1001 {
				t.Errorf("closed with %d", code)
			}
			if end := <-p.end; end.Reason != wire.GoingAway {
				t.Errorf("ended: %v", end)
			}
		}
		if st.hub.Stats().Members != 0 {
			t.Errorf("left: %+v", st.hub.Stats())
		}
	})
}

func TestManyVanishAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, bridge.Config{})
		var peers []*peer
		for range 1000 {
			peers = append(peers, st.connect(&talk{symbols: []market.Symbol{"A", "B"}}, bridge.Options{}))
		}
		synctest.Wait()
		st.publish("A")
		begin := time.Now()
		for _, p := range peers {
			_ = p.conn.Close()
		}
		for _, p := range peers {
			if end := <-p.end; end.Reason != wire.ClientGone {
				t.Fatalf("ended: %v", end)
			}
		}
		if took := time.Since(begin); took != 0 || st.hub.Stats().Members != 0 || st.factory.Stats().Open != 0 {
			t.Errorf("after %s: %+v", took, st.hub.Stats())
		}
	})
}

// TestStalledClientCostsItselfOnly has one client of a shard stall while 1,000
// others read: in the bubble's time theirs takes no time at all, as it would not
// if the shard waited for anybody.
func TestStalledClientCostsItselfOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, bridge.Config{})
		stalled := st.connect(&talk{symbols: []market.Symbol{"A"}}, bridge.Options{}, memnet.WithBuffer(128))
		const rounds = 20
		healthy := 1000
		if leak.Race {
			healthy = 100
		}
		var late atomic.Int64
		var readers sync.WaitGroup
		for range healthy {
			p := st.connect(&talk{symbols: []market.Symbol{"A"}}, bridge.Options{})
			readers.Go(func() {
				for range rounds {
					_ = p.text()
					if time.Since(time.Unix(0, st.sentAt.Load())) > 0 {
						late.Add(1)
					}
				}
			})
		}
		synctest.Wait()
		for range rounds {
			st.sentAt.Store(time.Now().UnixNano())
			st.publish("A", "A", "A")
			time.Sleep(100 * time.Millisecond)
		}
		readers.Wait()
		if late.Load() != 0 {
			t.Errorf("%d of %d frames came late", late.Load(), healthy*rounds)
		}
		if end := <-stalled.end; end.Reason != wire.WriteStalled {
			t.Errorf("the stalled client ended: %v", end)
		}
	})
}

// No frame is longer than many clients take, however much comes at once: of current
// values, or after a stall.
func TestFramesAreBounded(t *testing.T) {
	const most = 64 << 10
	symbols := make([]market.Symbol, 5000)
	for i := range symbols {
		symbols[i] = market.Symbol(fmt.Sprintf("S%04d", i))
	}
	for _, mode := range []mailbox.Mode{mailbox.Adaptive, mailbox.Latest, mailbox.Every} {
		synctest.Test(t, func(t *testing.T) {
			st := newStage(t, bridge.Config{})
			st.publish(symbols...)
			p := st.connect(&talk{symbols: symbols}, bridge.Options{Mailbox: mailbox.Options{Mode: mode}}, memnet.WithBuffer(4<<20))
			synctest.Wait()
			st.publish(symbols...) // all at once: more than an adaptive mailbox holds
			synctest.Wait()
			seen := map[bool]int{}
			for seen[true] < len(symbols) || seen[false] < len(symbols) {
				text := p.text()
				if len(text) > most {
					t.Fatalf("%s: a frame of %d bytes", mode, len(text))
				}
				snapshots := strings.Count(text, `"snap":true`)
				seen[true] += snapshots
				seen[false] += strings.Count(text, `"T":"t"`) - snapshots
			}
		})
	}
}
