//go:build unix

package app

import (
	"context"
	"errors"
	"iter"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lzstock/lzstock/internal/feed/sim"
	"github.com/lzstock/lzstock/internal/monitor"
	"github.com/lzstock/lzstock/internal/upstream"
	"github.com/lzstock/lzstock/market"
)

const (
	hopSymbols = 100
	hopRate    = 100_000          // events a second, of the paced runs
	hopSparse  = 1000             // the same, of the sparse one, whose messages hold one event
	hopSpan    = time.Second      // of the feed, repeated
	hopPeriod  = time.Millisecond // the greatest age of a batch, as the bus's batcher has it
	hopWindow  = 8192             // events on their way at most, of the flat out runs
	hopAges    = 1 << 16          // batches whose times are known
)

// BenchmarkHop measures the way from a bus's message to the gateway's hub, both
// sides in this process: the monitor (bars, hub, mailbox, checkpoint marks), its
// gRPC stream on loopback TCP, the gateway's upstream client. The bus and the
// gateway's hub are replaced by what costs next to nothing: batches are copies of
// simulated events, made by the benchmark, and a sink that counts. An event is one
// iteration, but of the sparse run, which has a hundredth of them. Nothing is
// subtracted: no_stream shows what all but the hop costs.
//
//	cpu-ns/event  user and system time of the process
//	events/msg    how many events a message on the stream held
//	p50-µs, p99-µs  from the bus's message to the sink, of each message's oldest event
func BenchmarkHop(b *testing.B) {
	b.Run("no_stream", func(b *testing.B) { benchHop(b, hopRate, 0) })
	b.Run("paced", func(b *testing.B) { benchHop(b, hopRate, 1) })
	b.Run("paced_3_gateways", func(b *testing.B) { benchHop(b, hopRate, 3) })
	b.Run("sparse", func(b *testing.B) { benchHop(b, hopSparse, 1) })
	b.Run("flat_out", func(b *testing.B) { benchHop(b, 0, 1) })
}

func benchHop(b *testing.B, rate, gateways int) {
	b.Helper()
	n := b.N
	if rate == hopSparse {
		n = max(1, n*hopSparse/hopRate)
	}
	h := startHop(b, gateways)
	var before, after syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	h.feed(n, rate)
	b.StopTimer()
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &after); err != nil {
		b.Fatal(err)
	}
	cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(cpu)/float64(n), "cpu-ns/event")
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
	if gateways == 0 {
		return
	}
	s := h.sinks[0]
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.ages)
	b.ReportMetric(float64(n)/float64(len(s.ages)), "events/msg")
	b.ReportMetric(float64(s.ages[len(s.ages)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(s.ages[len(s.ages)*99/100].Microseconds()), "p99-µs")
}

// hop is a monitor and some gateways' clients.
type hop struct {
	b     *testing.B
	log   *hopLog
	sinks []*hopSink
	model []market.Event
}

func startHop(b *testing.B, gateways int) *hop {
	b.Helper()
	s, err := sim.New(sim.Options{Seed: 1, Symbols: hopSymbols, Rate: hopRate}, time.Unix(1_723_161_600, 0))
	if err != nil {
		b.Fatal(err)
	}
	h := &hop{b: b, log: &hopLog{messages: make(chan monitor.Message, 64)}}
	for first := s.Next(); ; {
		e := s.Next()
		if e.Time().Sub(first.Time()) >= hopSpan {
			break
		}
		h.model = append(h.model, e)
	}
	m, err := monitor.New(h.log, monitor.Config{})
	if err != nil {
		b.Fatal(err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	b.Cleanup(func() { cancel(); parts.Wait() })
	parts.Go(func() { _ = m.Run(ctx) })
	parts.Go(func() { _ = monitor.NewServer(m, monitor.ServerConfig{}).Serve(ctx, l) })
	var topics []market.Topic
	for _, symbol := range s.Symbols() {
		topics = append(topics, market.Topic{Channel: market.Trades, Symbol: symbol}, market.Topic{Channel: market.Quotes, Symbol: symbol})
	}
	for range gateways {
		sink := &hopSink{log: h.log, ready: make(chan struct{}), came: make(chan struct{}, 1), wait: len(topics)}
		c, err := upstream.New(upstream.Config{Monitors: []string{l.Addr().String()}}, sink, nil, nil)
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Acquire("u", topics); err != nil {
			b.Fatal(err)
		}
		parts.Go(func() { _ = c.Run(ctx) })
		h.sinks = append(h.sinks, sink)
	}
	for _, sink := range h.sinks {
		select {
		case <-sink.ready:
		case <-time.After(patience):
			b.Fatal("the stream did not begin")
		}
	}
	return h
}

// feed sends n events, rate a second or, where that is 0, as fast as the slowest
// gateway takes them, and waits until all have come.
func (h *hop) feed(n, rate int) {
	begun := time.Now()
	tick := time.NewTicker(hopPeriod)
	defer tick.Stop()
	for sent := 0; sent < n; {
		due := n
		if rate > 0 {
			due = min(n, int(time.Since(begun).Seconds()*float64(rate)))
		}
		for sent < due {
			size := min(market.BatchLimit, due-sent)
			if rate == 0 {
				h.await(sent + size - hopWindow)
			}
			h.log.publish(h.batch(sent, size))
			sent += size
		}
		if rate > 0 {
			<-tick.C
		}
	}
	h.await(n)
}

// await waits until every gateway has n events.
func (h *hop) await(n int) {
	for _, s := range h.sinks {
		for s.count.Load() < int64(n) {
			select {
			case <-s.came:
			case <-time.After(patience):
				h.b.Fatalf("%d events came, want %d", s.count.Load(), n)
			}
		}
	}
}

// batch makes events as a bus that reads them would.
func (h *hop) batch(from, size int) []market.Event {
	out := make([]market.Event, size)
	for i := range out {
		e := h.model[(from+i)%len(h.model)]
		later := hopSpan * time.Duration((from+i)/len(h.model))
		if e.Trade != nil {
			t := *e.Trade
			t.Time = t.Time.Add(later)
			e.Trade = &t
		} else {
			q := *e.Quote
			q.Time = q.Time.Add(later)
			e.Quote = &q
		}
		out[i] = e
	}
	return out
}

// hopLog is a bus without a bus.
type hopLog struct {
	messages chan monitor.Message
	last     atomic.Uint64
	times    [hopAges]atomic.Int64 // when each batch was published
}

var errNone = errors.New("nothing is kept")

func (l *hopLog) publish(events []market.Event) {
	batch := l.last.Load() + 1
	for i := range events {
		events[i].Seq = market.MakeSeq(batch, i)
	}
	l.times[batch%hopAges].Store(time.Now().UnixNano())
	l.last.Store(batch)
	l.messages <- monitor.Message{Batch: batch, Epoch: l.Epoch(), Source: "sim", Events: events}
}

func (l *hopLog) Epoch() market.Epoch { return 1 }

func (l *hopLog) Bounds(context.Context) (first, last market.Seq, err error) {
	return market.MakeSeq(1, 0), market.MakeSeq(l.last.Load(), 0), nil
}

func (l *hopLog) Read(ctx context.Context, _ market.Seq) iter.Seq2[monitor.Message, error] {
	return func(yield func(monitor.Message, error) bool) {
		for {
			select {
			case m := <-l.messages:
				if !yield(m, nil) {
					return
				}
			case <-ctx.Done():
				yield(monitor.Message{}, context.Cause(ctx))
				return
			}
		}
	}
}

func (l *hopLog) SaveCheckpoint(context.Context, string, []byte) error { return nil }

func (l *hopLog) LoadCheckpoint(context.Context, string) ([]byte, error) { return nil, errNone }

// hopSink counts what comes.
type hopSink struct {
	log   *hopLog
	ready chan struct{} // closed when all topics are carried
	wait  int           // how many are not
	count atomic.Int64
	came  chan struct{}
	mu    sync.Mutex
	ages  []time.Duration
}

func (s *hopSink) Publish(_ context.Context, events []market.Event) error {
	now := time.Now().UnixNano()
	s.mu.Lock()
	s.ages = append(s.ages, time.Duration(now-s.log.times[events[0].Seq.Batch()%hopAges].Load()))
	s.mu.Unlock()
	n := int64(0)
	for i := range events {
		n += int64(events[i].Count())
	}
	s.count.Add(n)
	select {
	case s.came <- struct{}{}:
	default:
	}
	return nil
}

func (s *hopSink) Replace(_ context.Context, topics []market.Topic, _ []market.Event) error {
	if s.wait -= len(topics); s.wait == 0 {
		close(s.ready)
	}
	return nil
}

func (s *hopSink) Forget(context.Context, []market.Topic) error { return nil }

func (s *hopSink) Gap(context.Context, market.Gap) error { return nil }

func (s *hopSink) Feed(context.Context, market.Feed) error { return nil }
