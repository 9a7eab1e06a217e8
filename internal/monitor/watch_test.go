package monitor_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/metadata"

	"github.com/lzstock/lzstock/internal/bus"
	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/marketpb"
	"github.com/lzstock/lzstock/internal/memnet"
	"github.com/lzstock/lzstock/internal/monitor"
	"github.com/lzstock/lzstock/market"
)

func memory() memoryLog { return memoryLog{Memory: bus.NewMemory(bus.MemoryConfig{})} }

func TestWatchInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := begin(t, memory(), monitor.Config{Replica: "r1"}).live()
		publish(t, f.bus, trade("A", 0, 10), trade("B", 1, 20), trade("A", 2, 11))
		w := f.live().watch(&pb.WatchRequest{Id: 7, Add: topics(market.Trades, "A", "NONE")})
		got := w.take()
		if diff := cmp.Diff([]string{"welcome", "feed STATE_LIVE", "snapshots 1", "added 7"}, kinds(got)); diff != "" {
			t.Fatalf("at first:\n%s", diff)
		}
		hello := got[0].GetWelcome()
		if hello.GetReplica() != "r1" || hello.GetPosition().GetSeq() != 258 || hello.GetPosition().GetEpoch() != uint64(f.bus.Epoch()) {
			t.Errorf("welcome %v", hello)
		}
		snap := got[2].GetSnapshots()
		if e := snap.GetEvents()[0]; e.GetSeq() != 258 || e.GetPrev() != 0 || e.GetTrade().GetPrice() != 11*market.Scale {
			t.Errorf("snapshot %v", e)
		}
		if s := fmt.Sprint(snap.GetTopics()[0].GetSymbols()); s != "[A NONE]" {
			t.Errorf("answered for %s", s)
		}

		publish(t, f.bus, trade("B", 3, 21), trade("A", 4, 12), trade("NONE", 5, 1), trade("A", 6, 13))
		got = w.take()
		var seqs []string
		for _, e := range batched(got) {
			seqs = append(seqs, fmt.Sprintf("%s %d<%d", e.GetSymbol(), e.GetSeq(), e.GetPrev()))
		}
		if diff := cmp.Diff([]string{"A 513<258", "NONE 514<0", "A 515<513"}, seqs); diff != "" || len(got) != 1 {
			t.Errorf("%d messages:\n%s", len(got), diff)
		}

		w.send(&pb.WatchRequest{Id: 8, Drop: topics(market.Trades, "A"), Add: topics(market.Trades, "B")})
		if diff := cmp.Diff([]string{"snapshots 1", "added 8"}, kinds(w.take())); diff != "" {
			t.Errorf("the second request:\n%s", diff)
		}
		publish(t, f.bus, trade("A", 7, 14), trade("B", 8, 22))
		if got := batched(w.take()); len(got) != 1 || got[0].GetSymbol() != "B" || got[0].GetPrev() != 512 {
			t.Errorf("after the drop: %v", got)
		}

		// Drops come before adds: a topic in both is there, and afresh.
		w.send(&pb.WatchRequest{Id: 9, Drop: topics(market.Trades, "B"), Add: topics(market.Trades, "B")})
		if diff := cmp.Diff([]string{"snapshots 1", "added 9"}, kinds(w.take())); diff != "" {
			t.Errorf("dropped and added:\n%s", diff)
		}
		// Nothing asked for is taken note of, too.
		w.send(&pb.WatchRequest{Id: 10, Drop: topics(market.Quotes, "B")})
		if diff := cmp.Diff([]string{"added 10"}, kinds(w.take())); diff != "" {
			t.Errorf("a drop of nothing:\n%s", diff)
		}
		// A caller that has no more requests goes on listening.
		if err := w.stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		publish(t, f.bus, trade("B", 9, 23))
		if got := batched(w.take()); len(got) != 1 {
			t.Errorf("after CloseSend: %v, %v", got, w.ended())
		}
	})
}

func TestWatchProgressInSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := begin(t, memory(), monitor.Config{}).live()
		w := f.watch(&pb.WatchRequest{Id: 1, Add: topics(market.Trades, "A")})
		w.take()
		publish(t, f.bus, trade("B", 0, 1))
		time.Sleep(10 * time.Minute)
		got := w.take()
		if n := len(got); n < 4*600-1 || n > 4*600 {
			t.Errorf("%d messages in ten minutes", n)
		}
		for _, m := range got {
			if m.GetProgress().GetPosition().GetSeq() != 256 {
				t.Fatalf("progress %v", m)
			}
		}
	})
}

// TestWatchWhilePublishing joins in the middle of a fast feed: snapshot and
// events fit, for topics added by name and by wildcard.
func TestWatchWhilePublishing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := begin(t, memory(), monitor.Config{Shards: 2}).live()
		const n = 3000
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range n {
				b := bus.Batch{Source: "x", Events: []market.Event{
					trade("A", time.Duration(i)*time.Millisecond, market.Price(i)), trade("B", time.Duration(i)*time.Millisecond, market.Price(i)),
				}}
				if _, err := f.bus.Publish(t.Context(), b); err != nil {
					t.Error(err)
				}
				if i%50 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		})
		var watches []*watch
		for i := range 10 {
			time.Sleep(5 * time.Millisecond)
			watches = append(watches, f.watch(&pb.WatchRequest{Id: 1, Add: topics(market.Trades, []string{"A", "*"}[i%2])}))
		}
		wg.Wait()
		for i, w := range watches {
			last := map[string]uint64{}
			count := 0
			for _, m := range w.take() {
				for _, e := range m.GetSnapshots().GetEvents() {
					last[e.GetSymbol()] = e.GetSeq()
				}
				for _, e := range m.GetBatch().GetEvents() {
					before, known := last[e.GetSymbol()]
					if e.GetPrev() != before || known && before > 0 && e.GetSeq() != before+market.BatchLimit || e.GetMerged() != 0 {
						t.Fatalf("watch %d: %v after %d", i, e, before)
					}
					last[e.GetSymbol()] = e.GetSeq()
					count++
				}
			}
			if last["A"] != n*market.BatchLimit || i%2 == 1 && last["B"] != n*market.BatchLimit+1 || count == 0 {
				t.Errorf("watch %d ended at %v after %d events", i, last, count)
			}
		}
	})
}

// TestSlowWatchConflates: who does not read gets the last event of each topic,
// and counts that add up; nobody else notices.
func TestSlowWatchConflates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := begin(t, memory(), monitor.Config{Queue: 500}, memnet.WithBuffer(1<<16)).live()
		slow := f.open(&pb.WatchRequest{Id: 1, Add: topics(market.Trades, "A", "B")})
		quick := f.watch(&pb.WatchRequest{Id: 1, Add: topics(market.Trades, "B")})
		synctest.Wait()
		const n = 8000
		for i := range n {
			publish(t, f.bus, trade("A", time.Duration(i)*time.Millisecond, market.Price(i)), trade("B", time.Duration(i)*time.Millisecond, market.Price(i)))
			if i%100 == 0 {
				synctest.Wait()
			}
		}
		if got := batched(quick.take()); len(got) != n {
			t.Errorf("the quick one got %d of %d", len(got), n)
		}
		slow.wg.Go(slow.read)
		sum, conflated := map[string]int{}, 0
		last := map[string]uint64{}
		for _, e := range batched(slow.take()) {
			sum[e.GetSymbol()] += int(max(1, e.GetMerged()))
			if e.GetMerged() > 1 {
				conflated++
			}
			if e.GetPrev() != last[e.GetSymbol()] {
				t.Fatalf("%v after %d", e, last[e.GetSymbol()])
			}
			last[e.GetSymbol()] = e.GetSeq()
		}
		if conflated == 0 || sum["A"] != n || sum["B"] != n || last["A"] != n*market.BatchLimit {
			t.Errorf("%d conflated, sums %v, last %v", conflated, sum, last)
		}
		// Having caught up, it gets each event again.
		publish(t, f.bus, trade("A", time.Hour/2, 1))
		publish(t, f.bus, trade("A", time.Hour/2, 2))
		if got := batched(slow.take()); len(got) != 2 {
			t.Errorf("afterwards: %v", got)
		}
	})
}

// TestManySnapshots takes more than a frame holds.
func TestManySnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := begin(t, memory(), monitor.Config{}).live()
		const n = 2500
		for i := range n {
			publish(t, f.bus, trade(market.Symbol(fmt.Sprintf("S%04d", i)), time.Duration(i), 1))
		}
		w := f.live().watch(&pb.WatchRequest{Id: 1, Add: topics(market.Trades, "*")})
		got := w.take()
		if diff := cmp.Diff([]string{"welcome", "feed STATE_LIVE", "snapshots 1024", "snapshots 1024", "snapshots 452", "added 1"}, kinds(got)); diff != "" {
			t.Fatal(diff)
		}
		if s := got[3].GetSnapshots(); len(s.GetTopics()[0].GetSymbols()) != 1024 {
			t.Errorf("the second answers for %v", s.GetTopics())
		}
		if s := got[4].GetSnapshots(); s.GetTopics()[0].GetSymbols()[0] != "*" {
			t.Errorf("the last answers for %v", s.GetTopics())
		}
		// A minute closes: 2,500 bars at one place travel together.
		w.send(&pb.WatchRequest{Id: 2, Add: topics(market.Bars, "*"), Drop: topics(market.Trades, "*")})
		w.take()
		publish(t, f.bus, quote("A", 2*time.Minute, 1))
		if diff := cmp.Diff([]string{"batch 2500"}, kinds(w.take())); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWatchRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := begin(t, memory(), monitor.Config{StreamTopics: 3}).live()
		publish(t, f.bus, trade("A", 0, 1))
		for _, c := range []struct {
			name string
			req  *pb.WatchRequest
			text string
		}{
			{"channel", &pb.WatchRequest{Id: 2, Add: topics(0, "A")}, "CHANNEL_UNSPECIFIED"},
			{"channel of a drop", &pb.WatchRequest{Id: 2, Drop: topics(9, "A")}, "channel 9"},
			{"symbol", &pb.WatchRequest{Id: 2, Add: topics(market.Trades, "A B")}, `"A B"`},
			{"too many", &pb.WatchRequest{Id: 2, Add: topics(market.Trades, "B", "C", "D")}, "at most 3"},
		} {
			w := f.watch(&pb.WatchRequest{Id: 1, Add: topics(market.Trades, "A")})
			w.take()
			w.send(c.req)
			got := w.take()
			if len(got) != 1 || got[0].GetRefused().GetId() != 2 || !strings.Contains(got[0].GetRefused().GetReason(), c.text) {
				t.Errorf("%s: %v", c.name, got)
			}
			publish(t, f.bus, trade("A", 1, 2)) // what is carried already goes on
			if n := len(batched(w.take())); n != 1 {
				t.Errorf("%s: %d events after it, want one", c.name, n)
			}
			w.close()
		}
		// Dropping makes room.
		w := f.watch(
			&pb.WatchRequest{Id: 1, Add: topics(market.Trades, "A", "B", "C")},
			&pb.WatchRequest{Id: 2, Add: topics(market.Trades, "D", "C"), Drop: topics(market.Trades, "A")})
		if err := w.ended(); err != nil {
			t.Error(err)
		}
		if n := f.monitor.Status().Streams; n != 1 {
			t.Errorf("%d streams, want 1", n)
		}
		w.close()
		synctest.Wait()
		if n := f.monitor.Status().Streams; n != 0 {
			t.Errorf("%d streams, want none", n)
		}
	})
}

// TestWatchResumeWithinABatch is a caller that comes from a replica which has given
// up the batch that this one read last, and so says that it is read to its end.
func TestWatchResumeWithinABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := begin(t, memory(), monitor.Config{}).live()
		publish(t, f.bus, trade("A", 0, 1))
		f.live()
		since := f.snapshots().GetPosition()
		since.Seq += 100
		w := f.watch(&pb.WatchRequest{Id: 1, Add: topics(market.Trades, "A"), Since: since})
		if diff := cmp.Diff([]string{"welcome", "feed STATE_LIVE", "added 1"}, kinds(w.take())); diff != "" {
			t.Error(diff)
		}
		publish(t, f.bus, trade("A", time.Second, 2))
		if got := batched(w.take()); len(got) != 1 {
			t.Errorf("%d events, want the one that is new", len(got))
		}
	})
}

func TestWatchResumeOfAnotherEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := begin(t, memory(), monitor.Config{}).live()
		publish(t, f.bus, trade("A", 0, 1))
		f.live()
		epoch := uint64(f.bus.Epoch())
		for name, since := range map[string]*pb.Position{
			"epoch": {Epoch: epoch - 1, Seq: 256},
			"ahead": {Epoch: epoch, Seq: 99999}, // the stream has lost its end
			"zero":  {},
		} {
			w := f.watch(&pb.WatchRequest{Id: 1, Add: topics(market.Trades, "A"), Since: since})
			time.Sleep(1100 * time.Millisecond)
			got := w.take()
			k := fmt.Sprint(kinds(got))
			if !strings.Contains(k, "gap REASON_EPOCH snapshots 1 added 1") {
				t.Errorf("%s: %v", name, k)
			}
			for _, m := range got {
				if g := m.GetGap(); g != nil && (g.GetFrom().GetSeq() != since.GetSeq() || g.GetTo().GetSeq() != 256 || g.GetTopics()[0].GetSymbols()[0] != "A") {
					t.Errorf("%s: %v", name, g)
				}
			}
		}
		// A replica that was a little slower is waited for.
		w := f.watch(&pb.WatchRequest{Id: 1, Add: topics(market.Trades, "A"), Since: &pb.Position{Epoch: epoch, Seq: 512}})
		time.Sleep(300 * time.Millisecond)
		publish(t, f.bus, trade("A", 1, 2))
		time.Sleep(300 * time.Millisecond)
		publish(t, f.bus, trade("A", 2, 3))
		got := w.take()
		if e := batched(got); len(e) != 1 || e[0].GetSeq() != 768 || e[0].GetPrev() != 512 || strings.Contains(fmt.Sprint(kinds(got)), "gap") {
			t.Errorf("a replica behind: %v %v", kinds(got), e)
		}
	})
}

// TestLongReplay: a request is confirmed when the last of the past has been sent.
func TestLongReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := begin(t, memory(), monitor.Config{History: 5000}).live()
		for i := range market.Price(1500) {
			publish(t, f.bus, trade("A", time.Duration(i), i))
		}
		w := f.live().watch(&pb.WatchRequest{
			Id: 1, Add: topics(market.Trades, "A"), Since: &pb.Position{Epoch: uint64(f.bus.Epoch()), Seq: 255},
		})
		if diff := cmp.Diff([]string{"welcome", "feed STATE_LIVE", "batch 1024", "batch 476", "added 1"}, kinds(w.take())); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWatchLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := begin(t, memory(), monitor.Config{}).live()
		publish(t, f.bus, trade("B", 0, 1), trade("A", 0, 1))
		plain := f.live().watch()
		plain.take()
		ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), marketpb.ListedKey, "1"))
		defer cancel()
		stream, err := f.client.Watch(ctx)
		if err != nil {
			t.Fatal(err)
		}
		w := &watch{t: t, stream: stream, cancel: cancel}
		defer w.close()
		w.wg.Go(w.read)
		if hello := w.take()[0].GetWelcome(); !hello.GetLists() || fmt.Sprint(hello.GetSymbols()) != "[A B]" {
			t.Errorf("welcome %v", hello)
		}
		publish(t, f.bus, trade("A", 1, 2), trade("C", 1, 1), quote("D", 1, 1), trade("C", 2, 2))
		got := w.take()
		if diff := cmp.Diff([]string{"listed [C D]", "batch 3"}, kinds(got)); diff != "" {
			t.Errorf("when symbols appear:\n%s", diff)
		}
		for _, c := range market.Channels() {
			w.send(&pb.WatchRequest{Drop: topics(c, "D")})
		}
		w.take()
		publish(t, f.bus, trade("C", 3, 3), quote("D", 2, 2), halt("C", 3, "H"))
		if got := batched(w.take()); len(got) != 2 || got[0].GetSymbol() != "C" || got[1].GetSymbol() != "C" {
			t.Errorf("after D was dropped: %v", got)
		}
		if got := kinds(plain.take()); len(got) != 0 {
			t.Errorf("who did not ask got %s", got)
		}
	})
}
