package bridge_test

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// null is a Conn that takes everything at once and never says anything.
type null struct {
	once sync.Once
	in   bridge.Inbox
	all  *fanOut
}

func (n *null) Start(in bridge.Inbox) { n.in = in }

func (n *null) Offer([]byte) ([]byte, error) {
	if n.all.left.Add(-1) == 0 {
		n.all.written <- struct{}{}
	}
	return nil, nil
}

func (n *null) Push([]byte, time.Duration) ([]byte, error) { return nil, nil }

func (n *null) Close() error {
	n.once.Do(func() { n.in.End(io.EOF) })
	return nil
}

// fanOut is a hub with sockets that all listen to the same ten symbols.
type fanOut struct {
	hub     *hub.Hub
	sockets int64
	left    atomic.Int64  // sockets that have not written the batch yet
	written chan struct{} // all have
	seq     market.Seq
	stop    func()
}

func newFanOut(tb testing.TB, sockets int, format wire.Format) *fanOut {
	tb.Helper()
	h, err := hub.New(hub.Config{Open: true, Shards: 1, Encode: func(dst []byte, f int, e *market.Event) []byte {
		return wire.AppendEvent(dst, wire.Format(f), e)
	}})
	if err != nil {
		tb.Fatal(err)
	}
	fo := &fanOut{hub: h, sockets: int64(sockets), written: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	factory := bridge.NewFactory(h, bridge.Config{PingEvery: time.Hour, PeerTimeout: time.Hour, HeartbeatEvery: time.Hour})
	var hubDone sync.WaitGroup
	hubDone.Go(func() { _ = h.Run(ctx) })
	var symbols []market.Symbol
	for i := range 10 {
		symbols = append(symbols, market.Symbol(fmt.Sprintf("S%d", i)))
	}
	open := make(chan struct{}, sockets)
	for range sockets {
		factory.Start(ctx, &null{all: fo}, &talk{symbols: symbols, opened: open}, bridge.Options{Format: format})
	}
	for range sockets {
		<-open
	}
	fo.stop = func() { cancel(); hubDone.Wait(); factory.Wait() }
	return fo
}

// publish sends 64 trades and waits until they have been written.
func (fo *fanOut) publish(tb testing.TB, payload *market.Trade) {
	tb.Helper()
	events := make([]market.Event, 64)
	for i := range events {
		fo.seq++
		events[i] = market.Event{Seq: fo.seq, Channel: market.Trades, Symbol: market.Symbol([]string{"S0", "S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9"}[i%10]), Trade: payload}
	}
	fo.left.Store(fo.sockets)
	if err := fo.hub.Publish(tb.Context(), events); err != nil {
		tb.Fatal(err)
	}
	<-fo.written
}

var payload = &market.Trade{ID: 96921, Exchange: "D", Price: 126_550_000_000, Size: market.Scale, Time: time.Unix(1_614_009_104, 208e6).UTC(), Conditions: []string{"@"}, Tape: "C"}

// BenchmarkFanOut gives the cost of an event on its way from Publish to the
// socket's bytes, without the socket: mailbox, encoding, frame.
func BenchmarkFanOut(b *testing.B) {
	for _, format := range []wire.Format{wire.JSONNative, wire.MsgPackNative} {
		for _, sockets := range []int{1, 100, 1000} {
			b.Run(fmt.Sprintf("%s/%d", format, sockets), func(b *testing.B) {
				fo := newFanOut(b, sockets, format)
				defer fo.stop()
				b.ReportAllocs()
				for b.Loop() {
					fo.publish(b, payload)
				}
				deliveries := float64(b.N) * 64 * float64(sockets)
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/deliveries, "ns/delivery")
			})
		}
	}
}

// TestNoAllocationsAnEvent holds that what is allocated between Publish and the
// sockets does not grow with the sockets: a batch costs its few slices.
func TestNoAllocationsAnEvent(t *testing.T) {
	const sockets, deliveries = 200, 200 * 64
	fo := newFanOut(t, sockets, wire.JSONNative)
	defer fo.stop()
	for range 10 {
		fo.publish(t, payload) // buffers and rings grow to their size
	}
	allocs := testing.AllocsPerRun(50, func() { fo.publish(t, payload) })
	// The race detector makes the pools of buffers and rings forget some: at most
	// five a socket and batch, where one an event would be 64.
	if each := allocs / deliveries; each > 0.08 {
		t.Errorf("%.0f allocations for %d deliveries: %.3f each", allocs, deliveries, each)
	}
}
