package hub

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/market"
)

// BenchmarkWork measures what a member's commands cost a shard at 20,000 real symbols:
// the whole, and the longest slice of it.
func BenchmarkWork(b *testing.B) {
	h, err := New(Config{Open: true, Shards: 1, Window: 32768, Encode: func(dst []byte, _ int, _ *market.Event) []byte { return append(dst, make([]byte, 120)...) }})
	if err != nil {
		b.Fatal(err)
	}
	s := h.shards[0]
	list := someSymbols(20_000)
	q := market.Seq(0)
	for range 2 {
		for _, symbol := range list {
			q++
			s.publish(mailbox.NewBatch([]market.Event{trade(q, symbol)}, h.cfg.Encode))
		}
	}
	allow := func(t market.Topic) bool { return t.Symbol[len(t.Symbol)-1] == '7' }
	for _, bench := range []struct {
		name    string
		before  func(m *Member)
		measure func(m *Member)
	}{
		{"subscribe_all", func(*Member) {}, func(m *Member) { s.subscribe(m, Subscription{Topics: all(market.Trades), Snapshot: true}, nil) }},
		{"resume_all", func(*Member) {}, func(m *Member) {
			s.subscribe(m, Subscription{Topics: all(market.Trades), CatchUp: &CatchUp{Since: market.Position{Seq: 15_000}}}, nil)
		}},
		{
			"unsubscribe_all", func(m *Member) { s.subscribe(m, Subscription{Topics: all(market.Trades), Snapshot: true}, nil) },
			func(m *Member) { s.unsubscribe(m, all(market.Trades), nil) },
		},
		{
			"restrict_all", func(m *Member) { s.subscribe(m, Subscription{Topics: all(market.Trades), Snapshot: true}, nil) },
			func(m *Member) { s.restrict(m, allow, nil) },
		},
		{
			"leave_all", func(m *Member) { s.subscribe(m, Subscription{Topics: all(market.Trades), Snapshot: true}, nil) },
			func(m *Member) { s.leave(m, nil) },
		},
		{"subscribe_6144_names", func(*Member) {}, func(m *Member) { s.subscribe(m, Subscription{Topics: tradesOf(list[:6144]...), Snapshot: true}, nil) }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			var longest, whole time.Duration
			timed := func(f func()) {
				begun := cpu(b)
				f()
				took := cpu(b) - begun
				longest, whole = max(longest, took), whole+took
			}
			finish := func(timed func(func())) {
				for len(s.queue) > 0 || len(s.dirty) > 0 {
					timed(func() { s.flush(); s.slice() })
				}
			}
			for b.Loop() {
				b.StopTimer()
				m := h.NewMember(inChunks{}, mailbox.Options{})
				s.join(m)
				bench.before(m)
				finish(func(f func()) { f() })
				b.StartTimer()
				timed(func() { bench.measure(m) })
				finish(timed)
				b.StopTimer()
				s.leave(m, nil)
				finish(func(f func()) { f() })
				b.StartTimer()
			}
			b.ReportMetric(float64(longest.Microseconds())/1000, "longest-slice-ms")
			b.ReportMetric(float64(whole.Microseconds())/1000/float64(b.N), "whole-ms")
		})
	}
}

// cpu gives the processor time of the goroutine's thread, which the machine's other
// work does not lengthen.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}

// inChunks takes as much at once as a frame holds, as a socket does.
type inChunks struct{ discard }

func (inChunks) Flush(box *mailbox.Mailbox, now time.Time) time.Time {
	for range 400 {
		d, ok := box.NextSnapshot()
		if !ok {
			d, ok = box.Next()
		}
		if !ok {
			return time.Time{}
		}
		_ = d.Item.Body(0)
	}
	return now
}
