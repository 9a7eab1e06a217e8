package delay

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/lzstock/lzstock/market"
)

// nowhere is a Sink that drops what it gets.
type nowhere struct{}

func (nowhere) Publish(context.Context, []market.Event) error                 { return nil }
func (nowhere) Replace(context.Context, []market.Topic, []market.Event) error { return nil }
func (nowhere) Forget(context.Context, []market.Topic) error                  { return nil }
func (nowhere) Gap(context.Context, market.Gap) error                         { return nil }
func (nowhere) Feed(context.Context, market.Feed) error                       { return nil }

// instant gives a line of 15 minutes out of which all comes at once.
func instant(tb testing.TB) *Line {
	tb.Helper()
	l, err := New(15*time.Minute, nowhere{}, Config{})
	ok(tb, err)
	l.by = 1
	return l
}

// drain passes on all that is due, as Run does.
func drain(tb testing.TB, l *Line, due []entry) {
	tb.Helper()
	for {
		got, feed, tell, _ := l.take(due[:0])
		if len(got) == 0 {
			return
		}
		ok(tb, l.pass(tb.Context(), got, feed, tell))
	}
}

// quotes makes batches such as a gateway decodes from its stream: every string
// and every quote has memory of its own.
func quotes(batches, size, symbols int, zipf bool) [][]market.Event {
	r := rand.New(rand.NewPCG(1, 2))
	z := rand.NewZipf(r, 1.1, 8, uint64(symbols-1))
	q := market.Seq(0)
	out := make([][]market.Event, batches)
	for i := range out {
		out[i] = make([]market.Event, size)
		for j := range out[i] {
			q++
			n := r.Uint64N(uint64(symbols))
			if zipf {
				n = z.Uint64()
			}
			out[i][j] = market.Event{Seq: q, Channel: market.Quotes, Symbol: market.Symbol(fmt.Sprintf("S%04d", n)), Quote: &market.Quote{
				BidExchange: fmt.Sprintf("%c", 'A'+q%20), AskExchange: fmt.Sprintf("%c", 'A'+q%19), Tape: fmt.Sprintf("%c", 'A'+q%3),
				BidPrice: 1, AskPrice: 2, BidSize: 3, AskSize: 4, Time: time.Unix(0, int64(q)).UTC(), Conditions: []string{fmt.Sprintf("%c", 'P'+q%5)},
			}}
		}
	}
	return out
}

// What is allocated is a part's list for many batches, and what
// joins small ones.
func TestInAndOutAllocateNextToNothing(t *testing.T) {
	l := instant(t)
	batch, due := quotes(1, 256, 100, false)[0], make([]entry, 0, round)
	n := testing.AllocsPerRun(100, func() {
		for range round {
			ok(t, l.Publish(t.Context(), batch))
		}
		drain(t, l, due)
	})
	if n > round/2 {
		t.Errorf("%v allocations for %d batches of 256 events", n, round)
	}
}

// BenchmarkInAndOut is a batch's way through a line that has room.
func BenchmarkInAndOut(b *testing.B) {
	for _, size := range []int{1, 16, 256} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			l := instant(b)
			batch, due := quotes(1, size, 100, false)[0], make([]entry, 0, round)
			ctx := b.Context()
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				if err := l.Publish(ctx, batch); err != nil {
					b.Fatal(err)
				}
				if n++; n%round == 0 {
					drain(b, l, due)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/event")
		})
	}
}

// BenchmarkFull is what an event costs where the line is full and nothing comes
// out: all that comes must give way.
func BenchmarkFull(b *testing.B) {
	for _, zipf := range []bool{false, true} {
		for _, symbols := range []int{1000, 10_000, 70_000} {
			b.Run(fmt.Sprintf("zipf=%v/symbols=%d", zipf, symbols), func(b *testing.B) {
				const size = 256
				l, err := New(time.Hour, nowhere{}, Config{Events: 200_000})
				ok(b, err)
				batches := quotes(4096, size, symbols, zipf)
				n, slowest := 0, time.Duration(0)
				for l.Stats().Merged == 0 {
					ok(b, l.Publish(b.Context(), batches[n%len(batches)]))
					n++
				}
				b.ReportAllocs()
				for b.Loop() {
					start := time.Now()
					if err := l.Publish(b.Context(), batches[n%len(batches)]); err != nil {
						b.Fatal(err)
					}
					slowest = max(slowest, time.Since(start))
					n++
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/event")
				b.ReportMetric(float64(slowest.Microseconds())/1000, "slowest-ms")
				b.ReportMetric(float64(l.Stats().Resets), "resets")
			})
		}
	}
}

// BenchmarkWaiting is the memory of what waits, as it came and after events gave
// way; the batches go to the line alone.
func BenchmarkWaiting(b *testing.B) {
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for _, size := range []int{1, 16, 256} {
		for _, times := range []int{1, 3} {
			b.Run(fmt.Sprintf("batch=%d/came=%dx", size, times), func(b *testing.B) {
				for b.Loop() {
					const events = 200_000
					before := heap()
					l, err := New(time.Hour, nowhere{}, Config{Events: events})
					ok(b, err)
					for _, batch := range quotes(times*events/size, size, 5000, true) {
						ok(b, l.Publish(b.Context(), batch))
					}
					full := heap()
					waiting := l.Stats().Waiting
					b.ReportMetric(float64(full-before)/float64(waiting), "B/waiting")
					l.close()
					runtime.KeepAlive(l)
				}
			})
		}
	}
}
