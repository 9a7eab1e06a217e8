package app

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/lzstock/lzstock/internal/bus"
	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/memnet"
	"github.com/lzstock/lzstock/internal/monitor"
	"github.com/lzstock/lzstock/internal/upstream"
	"github.com/lzstock/lzstock/market"
)

// TestNothingIsLostBetweenMonitors runs real monitors over one bus, and a gateway's
// client of them, while monitors die, freeze, return, and leave events out. What the
// gateway gets is what was published, each event of a topic once and in order, or a
// gap that says what is missing.
func TestNothingIsLostBetweenMonitors(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		wild := rapid.Bool().Draw(rt, "by the wildcard")
		steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) hopStep {
			return hopStep{
				what:  rapid.SampledFrom([]string{"publish", "publish", "kill", "stop", "freeze", "cure", "hole", "double hole"}).Draw(rt, "what"),
				which: rapid.IntRange(0, 2).Draw(rt, "monitor"),
				count: rapid.IntRange(1, 20).Draw(rt, "events"),
				pause: time.Duration(rapid.IntRange(0, 1500).Draw(rt, "pause")) * time.Millisecond,
			}
		}), 1, 10).Draw(rt, "steps")
		problem := ""
		synctest.Test(t, func(t *testing.T) { problem = newHops(t, wild).play(steps) })
		if problem != "" {
			rt.Fatal(problem)
		}
	})
}

type hopStep struct {
	what         string
	which, count int
	pause        time.Duration
}

// hops is the way from a bus through some monitors to a gateway's client.
type hops struct {
	t         *testing.T
	bus       *bus.Memory
	monitors  []*hopMonitor
	symbols   []market.Symbol
	sent      map[market.Topic][]market.Seq
	published int
	sink      *hopRecord
}

func newHops(t *testing.T, wild bool) *hops {
	t.Helper()
	h := &hops{t: t, bus: bus.NewMemory(bus.MemoryConfig{}), symbols: []market.Symbol{"A", "B", "C", "D", "E", "F", "G", "H"}, sent: map[market.Topic][]market.Seq{}}
	h.sink = &hopRecord{got: map[market.Topic][]market.Seq{}}
	byName := map[string]*hopMonitor{}
	cfg := upstream.Config{Dial: func(ctx context.Context, addr string) (net.Conn, error) { return byName[addr].dial(ctx) }}
	for i := range 3 {
		m := &hopMonitor{bus: h.bus, name: fmt.Sprintf("m%d:1", i)}
		m.start(t)
		h.monitors, byName[m.name] = append(h.monitors, m), m
		cfg.Monitors = append(cfg.Monitors, m.name)
	}
	client, err := upstream.New(cfg, h.sink, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	topics := []market.Topic{{Channel: market.Trades, Symbol: market.AllSymbols}}
	if !wild {
		topics = topics[:0]
		for _, s := range h.symbols {
			topics = append(topics, market.Topic{Channel: market.Trades, Symbol: s})
		}
	}
	if err := client.Acquire("u", topics); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = client.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		for _, m := range h.monitors {
			m.kill()
		}
		_ = h.bus.Close()
	})
	time.Sleep(time.Second)
	return h
}

func (h *hops) publish(n int) {
	for i := range n {
		// All but two symbols are quiet: what they miss shows late, and they appear while
		// the faults go on.
		symbol := h.symbols[h.published%2]
		if i == n-1 && h.published%5 == 0 {
			symbol = h.symbols[2+h.published/5%6]
		}
		h.published++
		e := market.Event{Channel: market.Trades, Symbol: symbol, Trade: &market.Trade{Price: 1, Size: 1, Time: time.Now().UTC()}}
		stored, err := h.bus.Publish(h.t.Context(), bus.Batch{Source: "x", Events: []market.Event{e}})
		if err != nil {
			h.t.Fatal(err)
		}
		h.sent[e.Topic()] = append(h.sent[e.Topic()], stored.First)
	}
}

// play does the steps, sees to it that one monitor is sound, and says what is wrong with what came.
func (h *hops) play(steps []hopStep) string {
	for _, s := range steps {
		m := h.monitors[s.which]
		switch s.what {
		case "publish":
			h.publish(s.count)
		case "kill":
			m.kill()
		case "stop":
			m.stop()
		case "freeze":
			m.freeze(true)
		case "cure":
			m.cure(h.t)
		case "hole":
			m.leaveOut(1)
			h.publish(s.count)
		case "double hole":
			m.leaveOut(2)
			h.publish(s.count)
		}
		time.Sleep(s.pause)
	}
	for _, m := range h.monitors {
		m.leaveOut(0)
	}
	if !slices.ContainsFunc(h.monitors, (*hopMonitor).sound) {
		h.monitors[0].cure(h.t)
	}
	for range 3 {
		for _, symbol := range h.symbols {
			h.published += h.published % 2
			h.symbols[0], symbol = symbol, h.symbols[0]
			h.publish(1)
			h.symbols[0] = symbol
		}
	}
	time.Sleep(5 * time.Second)
	problem := ""
	for range 60 { // attempts may be up to 5 s apart by now, last as long, and several be in vain
		synctest.Wait()
		if problem = h.sink.check(h.sent); problem == "" {
			break
		}
		time.Sleep(time.Second)
	}
	return problem
}

// hopRecord is a sink that writes down what it got.
type hopRecord struct {
	mu   sync.Mutex
	got  map[market.Topic][]market.Seq
	gaps []market.Gap
	odd  string
}

func (r *hopRecord) take(events []market.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range events {
		list := r.got[e.Topic()]
		if n := len(list); n > 0 && list[n-1] >= e.Seq && r.odd == "" {
			r.odd = fmt.Sprintf("%s: %d came after %d", e.Topic(), e.Seq, list[n-1])
		}
		r.got[e.Topic()] = append(list, e.Seq)
	}
}

func (r *hopRecord) Publish(_ context.Context, events []market.Event) error {
	r.take(events)
	return nil
}

func (r *hopRecord) Replace(_ context.Context, _ []market.Topic, events []market.Event) error {
	r.take(events)
	return nil
}

func (r *hopRecord) Gap(_ context.Context, g market.Gap) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gaps = append(r.gaps, g)
	return nil
}

func (r *hopRecord) Forget(context.Context, []market.Topic) error { return nil }

func (r *hopRecord) Feed(context.Context, market.Feed) error { return nil }

// check compares what came with what was sent.
func (r *hopRecord) check(sent map[market.Topic][]market.Seq) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.odd != "" {
		return r.odd
	}
	for topic, list := range sent {
		for _, seq := range list {
			if slices.Contains(r.got[topic], seq) {
				continue
			}
			if !slices.ContainsFunc(r.gaps, func(g market.Gap) bool {
				return g.From.Seq < seq && seq <= g.To.Seq && (slices.Contains(g.Topics, topic) ||
					slices.Contains(g.Topics, market.Topic{Channel: topic.Channel, Symbol: market.AllSymbols}))
			}) {
				return fmt.Sprintf("%s: %d of %v did not come, nor was it announced; %v came, gaps %v", topic, seq, list, r.got[topic], r.gaps)
			}
		}
		if len(r.got[topic]) > len(list) {
			return fmt.Sprintf("%s: %v came, %v was sent", topic, r.got[topic], list)
		}
	}
	return ""
}

// hopMonitor is a monitor that may die, freeze and leave events out.
type hopMonitor struct {
	bus  *bus.Memory
	name string

	mu       sync.Mutex
	listener *memnet.Listener // nil while it is dead
	frozen   bool
	conns    []*memnet.Conn
	out      int // messages with events to leave out
	cancel   context.CancelFunc
	running  sync.WaitGroup
}

func (m *hopMonitor) start(t *testing.T) {
	t.Helper()
	x, err := monitor.New(hopBus{m.bus}, monitor.Config{CheckpointEvery: time.Second, Shards: 1})
	if err != nil {
		t.Fatal(err)
	}
	l := memnet.Listen()
	ctx, cancel := context.WithCancel(context.Background())
	server := monitor.NewServer(x, monitor.ServerConfig{Options: []grpc.ServerOption{
		grpc.ChainStreamInterceptor(func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, h grpc.StreamHandler) error {
			return h(srv, &leaky{ServerStream: ss, from: m})
		}),
	}})
	m.running.Go(func() { _ = x.Run(ctx) })
	m.running.Go(func() { _ = server.Serve(ctx, l) })
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listener, m.cancel, m.frozen, m.conns = l, cancel, false, nil
}

func (m *hopMonitor) dial(ctx context.Context) (net.Conn, error) {
	m.mu.Lock()
	l, frozen := m.listener, m.frozen
	m.mu.Unlock()
	switch {
	case l == nil:
		return nil, errors.New("connection refused")
	case frozen:
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	c, err := l.Dial()
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conns = append(m.conns, c)
	return c, nil
}

// kill ends it without a word.
func (m *hopMonitor) kill() {
	m.mu.Lock()
	for _, c := range m.conns {
		_ = c.Close()
	}
	m.mu.Unlock()
	m.stop()
}

// stop ends it in order.
func (m *hopMonitor) stop() {
	m.mu.Lock()
	cancel := m.cancel
	m.listener, m.cancel = nil, nil
	m.mu.Unlock()
	if cancel != nil {
		cancel()
		m.running.Wait()
	}
}

// freeze has nothing come from it, or everything again.
func (m *hopMonitor) freeze(frozen bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.frozen = frozen
	for _, c := range m.conns {
		if frozen {
			c.Stall()
		} else {
			c.Resume()
		}
	}
}

func (m *hopMonitor) sound() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.listener != nil && !m.frozen
}

func (m *hopMonitor) cure(t *testing.T) {
	t.Helper()
	m.freeze(false)
	if !m.sound() {
		m.start(t)
	}
}

func (m *hopMonitor) leaveOut(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.out = n
}

// leaky is a stream that leaves messages with events out, on demand.
type leaky struct {
	grpc.ServerStream
	from *hopMonitor
}

// SendMsg sends what came, unless it is to be left out.
func (l *leaky) SendMsg(m any) error {
	r, ok := m.(*pb.WatchResponse)
	if !ok {
		return l.ServerStream.SendMsg(m)
	}
	l.from.mu.Lock()
	leave := false
	if l.from.out > 0 && isBatch(r) {
		l.from.out--
		leave = true
	}
	l.from.mu.Unlock()
	if leave {
		return nil
	}
	return l.ServerStream.SendMsg(m)
}

// isBatch reads what a monitor has encoded already.
func isBatch(r *pb.WatchResponse) bool {
	data, err := proto.Marshal(r)
	var read pb.WatchResponse
	return err == nil && proto.Unmarshal(data, &read) == nil && read.GetBatch() != nil
}

// hopBus is the bus in memory as a monitor reads it.
type hopBus struct{ *bus.Memory }

// Read gives the bus's messages as the monitor's.
func (l hopBus) Read(ctx context.Context, after market.Seq) iter.Seq2[monitor.Message, error] {
	return func(yield func(monitor.Message, error) bool) {
		for m, err := range l.Memory.Read(ctx, after) {
			if !yield(monitor.Message{Batch: m.Batch, Epoch: m.Epoch, Source: m.Source, Events: m.Events}, err) {
				return
			}
		}
	}
}
