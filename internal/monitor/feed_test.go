package monitor_test

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/monitor"
	"github.com/lzstock/lzstock/market"
)

// states gives what a stream was told of the feed, with the time of each.
func states(list []*pb.WatchResponse, from time.Time) (out []string) {
	for _, m := range list {
		if s := m.GetFeed(); s != nil {
			at := time.Unix(0, s.GetSince()).Sub(from).Round(100 * time.Millisecond)
			out = append(out, fmt.Sprint(strings.TrimPrefix(s.GetState().String(), "STATE_"), " ", at))
		}
	}
	return out
}

func TestLostBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := begin(t, memory(), monitor.Config{}).live()
		w := f.watch(&pb.WatchRequest{Id: 1, Add: topics(market.Trades, "A")})
		time.Sleep(time.Minute)
		w.take()
		start := time.Now()
		f.bus.SetDown(true)
		time.Sleep(5 * time.Second)
		f.bus.SetDown(false)
		time.Sleep(5 * time.Second)
		got := states(w.take(), start)
		if len(got) != 2 || got[0] != "STALE 0s" || !strings.HasPrefix(got[1], "LIVE 5") {
			t.Errorf("a short outage: %v", got)
		}

		start = time.Now()
		f.bus.SetDown(true)
		time.Sleep(15 * time.Second)
		got = states(w.take(), start)
		if len(got) != 2 || got[0] != "STALE 0s" || !strings.HasPrefix(got[1], "DOWN 10") {
			t.Errorf("a long outage: %v", got)
		}
		if s := f.monitor.Status(); !s.Serving || s.Feed.State != market.FeedDown {
			t.Errorf("status %+v", s)
		}
		f.bus.SetDown(false)
		publish(t, f.bus, trade("A", 0, 1))
		time.Sleep(2 * time.Second)
		all := w.take()
		if got := states(all, start); len(got) == 0 || !strings.HasPrefix(got[len(got)-1], "LIVE 1") || len(batched(all)) != 1 {
			t.Errorf("after its return: %v, %d events", got, len(batched(all)))
		}
		// Who comes later is told the state as it is.
		if got := states(f.watch().take(), start); len(got) != 1 || !strings.HasPrefix(got[0], "LIVE") {
			t.Errorf("a new stream: %v", got)
		}
	})
}

// sleepy is a bus whose reads fall silent, though it holds more.
type sleepy struct {
	memoryLog
	reads *atomic.Int64
}

func (l sleepy) Read(ctx context.Context, after market.Seq) iter.Seq2[monitor.Message, error] {
	if l.reads.Add(1) > 1 {
		return l.memoryLog.Read(ctx, after)
	}
	return func(yield func(monitor.Message, error) bool) {
		<-ctx.Done()
		yield(monitor.Message{}, context.Cause(ctx))
	}
}

func TestSilentBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := sleepy{memory(), new(atomic.Int64)}
		f := begin(t, log, monitor.Config{}).live()
		w := f.watch(&pb.WatchRequest{Id: 1, Add: topics(market.Trades, "A")})
		w.take()
		start := time.Now()
		publish(t, log.Memory, trade("A", 0, 1))
		time.Sleep(13 * time.Second)
		all := w.take()
		got := states(all, start)
		if n := len(got); len(batched(all)) != 1 || n < 2 || !strings.HasPrefix(got[0], "STALE 2") || !strings.HasPrefix(got[n-1], "LIVE 10") {
			t.Errorf("%v, %d events", got, len(batched(all)))
		}

		// One that does not even answer is noticed within a second.
		log.reads.Store(0)
		log.SetDown(true)
		time.Sleep(time.Second)
		log.SetDown(false)
		time.Sleep(3 * time.Second)
		w.take()
		start = time.Now()
		log.SetDown(true)
		time.Sleep(time.Second)
		if got = states(w.take(), start); len(got) != 1 || !strings.HasPrefix(got[0], "STALE") {
			t.Errorf("a bus that is gone: %v", got)
		}
	})
}

// TestNothingIsServedBeforeAllIsRead: trouble on the way does not count as having
// caught up.
func TestNothingIsServedBeforeAllIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := sleepy{memory(), new(atomic.Int64)}
		log.reads.Store(-1) // two reads fall silent
		publish(t, log.Memory, trade("A", 0, 1))
		f := begin(t, log, monitor.Config{})
		time.Sleep(16 * time.Second)
		synctest.Wait()
		if s := f.monitor.Status(); s.Serving || log.reads.Load() != 1 {
			t.Errorf("status %+v after %d reads", s, log.reads.Load()+1)
		}
		time.Sleep(10 * time.Second)
		f.live()
	})
}

// holes writes out the counts of holes.
func holes(t *testing.T, registry *prometheus.Registry) string {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range families {
		if f.GetName() == "lzstock_monitor_holes_total" {
			for _, m := range f.GetMetric() {
				out = append(out, fmt.Sprint(m.GetLabel()[0].GetValue(), " ", m.GetCounter().GetValue()))
			}
		}
	}
	return strings.Join(out, ", ")
}

func TestHoleIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, lost := memory(), map[uint64]int{}
		log.mangle = func(m *monitor.Message) bool {
			lost[m.Batch]++
			return m.Batch != 3 || lost[m.Batch] > 2 // the third batch comes at the third attempt
		}
		registry := prometheus.NewRegistry()
		f := begin(t, log, monitor.Config{Registry: registry}).live()
		w := f.watch(&pb.WatchRequest{Id: 1, Add: topics(market.Trades, "A")})
		w.take()
		for i := range market.Price(6) {
			publish(t, f.bus, trade("A", time.Duration(i), i))
		}
		time.Sleep(5 * time.Second)
		var seqs []market.Seq
		for _, e := range batched(w.take()) {
			seqs = append(seqs, market.Seq(e.GetSeq()))
		}
		if diff := cmp.Diff([]market.Seq{256, 512, 768, 1024, 1280, 1536}, seqs); diff != "" || lost[3] < 3 {
			t.Errorf("%s", diff)
		}
		if got := holes(t, registry); got != "given_up 0, noticed 1, repaired 1" {
			t.Errorf("holes: %s", got)
		}
	})
}

func TestHoleForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memory()
		log.mangle = func(m *monitor.Message) bool { return m.Batch != 3 }
		registry := prometheus.NewRegistry()
		f := begin(t, log, monitor.Config{Registry: registry}).live()
		w := f.watch(&pb.WatchRequest{Id: 1, Add: topics(market.Trades, "A")})
		w.take()
		for i := range market.Price(5) {
			publish(t, f.bus, trade("A", time.Duration(i), i))
		}
		time.Sleep(5 * time.Second)
		all := w.take()
		var gap *pb.Gap
		for _, m := range all {
			if m.GetGap() != nil {
				gap = m.GetGap()
			}
		}
		if n := len(batched(all)); n != 4 || gap.GetFrom().GetSeq() != 512 || gap.GetTo().GetSeq() != 4*256-1 {
			t.Errorf("%d events, %v", n, gap)
		}
		if got := holes(t, registry); got != "given_up 1, noticed 1, repaired 0" {
			t.Errorf("holes: %s", got)
		}
	})
}

// TestDamagedMessage: one without events moves the position, and nothing else.
func TestDamagedMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memory()
		log.mangle = func(m *monitor.Message) bool {
			if m.Batch == 2 {
				m.Events = nil
			}
			return true
		}
		f := begin(t, log, monitor.Config{}).live()
		publish(t, f.bus, trade("A", 0, 1))
		publish(t, f.bus, trade("A", 1, 2))
		f.live()
		if r := f.snapshots(); r.GetPosition().GetSeq() != 512 || r.GetEvents()[0].GetSeq() != 256 {
			t.Errorf("%v", r)
		}
	})
}

func TestNewEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := begin(t, memory(), monitor.Config{CheckpointEvery: time.Second}).live()
		publish(t, f.bus, trade("OLD", 0, 1))
		time.Sleep(2 * time.Second)
		old := f.snapshots().GetPosition()
		w := f.watch(&pb.WatchRequest{Add: everything()})
		w.take()
		f.bus.Recreate()
		publish(t, f.bus, trade("NEW", 0, 1))
		time.Sleep(3 * time.Second)
		if err := w.ended(); status.Code(err) != codes.Unavailable {
			t.Errorf("the stream ended with %v", err)
		}
		f.live()
		if r := f.snapshots(); len(r.GetEvents()) != 1 || r.GetEvents()[0].GetSymbol() != "NEW" || r.GetPosition().GetEpoch() == old.GetEpoch() {
			t.Errorf("%v", r)
		}
		k := fmt.Sprint(kinds(f.watch(&pb.WatchRequest{Id: 1, Add: everything(), Since: old}).take()))
		if !strings.Contains(k, "gap REASON_EPOCH snapshots 1 added 1") {
			t.Error(k)
		}
	})
}

func TestMessageOfAnotherEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, once := memory(), false
		log.mangle = func(m *monitor.Message) bool {
			if m.Batch == 2 && !once {
				once = true
				m.Epoch++
			}
			return true
		}
		f := begin(t, log, monitor.Config{}).live()
		w := f.watch(&pb.WatchRequest{Id: 1, Add: everything()})
		w.take()
		publish(t, f.bus, trade("A", 0, 1))
		publish(t, f.bus, trade("A", 1, 2))
		time.Sleep(2 * time.Second)
		if err := w.ended(); status.Code(err) != codes.Unavailable || len(batched(w.take())) != 1 {
			t.Errorf("the stream ended with %v", err)
		}
		if r := f.live().snapshots(); r.GetPosition().GetSeq() != 512 {
			t.Errorf("%v", r)
		}
	})
}

// fickle is a bus whose stream is replaced by another one of the same epoch, as
// where a server lost the end of its files.
type fickle struct{ *memoryLog }

func TestStreamThatLostItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := memory(), memory()
		publish(t, second.Memory, trade("SECOND", 0, 1))
		log := fickle{&memoryLog{Memory: first.Memory}}
		f := begin(t, log, monitor.Config{})
		f.bus = first.Memory
		f.live()
		for i := range market.Price(3) {
			publish(t, first.Memory, trade("FIRST", time.Duration(i), i))
		}
		w := f.live().watch(&pb.WatchRequest{Id: 1, Add: everything()})
		w.take()
		log.Memory = second.Memory
		first.SetDown(true)
		time.Sleep(2 * time.Second)
		if err := w.ended(); status.Code(err) != codes.Unavailable {
			t.Errorf("the stream ended with %v", err)
		}
		if r := f.live().snapshots(); len(r.GetEvents()) != 1 || r.GetEvents()[0].GetSymbol() != "SECOND" {
			t.Errorf("%v", r)
		}
	})
}
