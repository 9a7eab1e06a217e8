package monitor_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/lzstock/lzstock/internal/bus"
	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/marketpb"
	"github.com/lzstock/lzstock/internal/monitor"
	"github.com/lzstock/lzstock/market"
)

// note puts the topics of a message into a set.
func note(t *testing.T, set map[market.Topic]bool, list []*pb.Topics) {
	t.Helper()
	topics, err := marketpb.FromTopics(list)
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range topics {
		set[topic] = true
	}
}

// all replays page by page until the feed's position.
func (f *fixture) all(since market.Position, limit int32, topics []*pb.Topics) (events []*pb.Event, missed map[market.Topic]bool) {
	f.t.Helper()
	missed = map[market.Topic]bool{}
	end := f.monitor.Status().Position
	for pages := 0; since.Seq < end.Seq; pages++ {
		r, err := f.client.Replay(f.t.Context(), &pb.ReplayRequest{Topics: topics, Since: marketpb.Position(since), Limit: limit})
		if err != nil {
			f.t.Fatalf("replay after %s: %v", since, err)
		}
		note(f.t, missed, r.GetMissed())
		if n, list := int(limit), r.GetEvents(); n > 0 && len(list) > n && list[n-1].GetSeq() != list[len(list)-1].GetSeq() {
			f.t.Fatalf("a page of %d has %d events", n, len(list))
		}
		through := marketpb.FromPosition(r.GetThrough())
		if through.Seq <= since.Seq || through.Epoch != since.Epoch || pages > 1000 {
			f.t.Fatalf("a page after %s goes through %s", since, through)
		}
		events, since = append(events, r.GetEvents()...), through
	}
	return events, missed
}

// TestReplay compares what a monitor with a short history replays with what one
// with a long one has: the bus fills in for trades and quotes, for bars nothing can.
func TestReplay(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			log := memory()
			if restarted { // so that its history begins in the middle
				first := begin(t, log, monitor.Config{CheckpointEvery: 1, Stretch: 20, History: 4})
				first.play(tape(7, 100))
				first.live()
				first.stop()
			}
			short := begin(t, log, monitor.Config{History: 4, CheckpointEvery: 1, Stretch: 20})
			long := begin(t, log, monitor.Config{History: 100_000, CheckpointEvery: -1})
			short.play(tape(8, 100))
			short.live()
			long.live()
			r := rand.New(rand.NewPCG(9, 9))
			epoch := log.Epoch()
			end := short.monitor.Status().Position.Seq
			fromBus := 0
			for range 15 {
				since := market.Position{Epoch: epoch, Seq: market.Seq(r.Uint64N(uint64(end)))}
				limit := []int32{13, 50, 0}[r.IntN(3)]
				want, lost := long.all(since, 0, everything())
				if len(lost) > 0 {
					t.Fatalf("the long history lacks %v", lost)
				}
				got, missed := short.all(since, limit, everything())
				for topic := range missed {
					if !topic.Channel.IsBar() {
						t.Errorf("after %s: %v is missed, though the bus has it", since, topic)
					}
				}
				keep := func(list []*pb.Event) []*pb.Event {
					return slices.DeleteFunc(list, func(e *pb.Event) bool {
						return missed[market.Topic{Channel: market.Channel(e.GetChannel()), Symbol: market.Symbol(e.GetSymbol())}]
					})
				}
				want, got = keep(want), keep(got)
				if !slices.EqualFunc(want, got, func(a, b *pb.Event) bool { return proto.Equal(a, b) }) {
					t.Fatalf("after %s by %d: got %d events, want %d", since, limit, len(got), len(want))
				}
				fromBus += len(missed)
			}
			if fromBus == 0 {
				t.Error("no replay went beyond the history")
			}
		})
	}
}

// resumed gives what a stream that resumes everything gets of each topic, and which
// topics it is told to have lost.
func resumed(t *testing.T, list []*pb.WatchResponse) (events map[market.Topic][]*pb.Event, lost map[market.Topic]bool) {
	t.Helper()
	events, lost = map[market.Topic][]*pb.Event{}, map[market.Topic]bool{}
	for _, m := range list {
		note(t, lost, m.GetGap().GetTopics())
	}
	for _, e := range batched(list) {
		topic := market.Topic{Channel: market.Channel(e.GetChannel()), Symbol: market.Symbol(e.GetSymbol())}
		events[topic] = append(events[topic], e)
	}
	return events, lost
}

// TestWatchResumesFromTheBus compares streams that resume at a monitor with a short
// history with those of one that has all: they go on the same, but for bars.
func TestWatchResumesFromTheBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memory()
		short := begin(t, log, monitor.Config{Window: 500, History: 4, Shards: 2})
		long := begin(t, log, monitor.Config{History: 100_000, Shards: 2})
		short.play(tape(8, 9000)) // several pages
		short.live()
		long.live()
		r := rand.New(rand.NewPCG(9, 9))
		end := uint64(short.monitor.Status().Position.Seq)
		bars := 0
		for i := range uint64(10) {
			since := marketpb.Position(market.Position{Epoch: log.Epoch(), Seq: market.Seq(r.Uint64N(end))})
			request := &pb.WatchRequest{Id: 1, Add: everything(), Since: since}
			w, all := short.watch(request), long.watch(request)
			short.play(tape(100+i, 200)) // while the bus is read, and after
			want, none := resumed(t, all.take())
			list := w.take()
			got, lost := resumed(t, list)
			if len(none) > 0 {
				t.Fatalf("the long history lacks %v", none)
			}
			last := uint64(0)
			for _, e := range batched(list) {
				if e.GetSeq() < last {
					t.Fatalf("after %v: %d comes behind %d", since, e.GetSeq(), last)
				}
				last = e.GetSeq()
			}
			for topic := range lost {
				if bars++; !topic.Channel.IsBar() {
					t.Errorf("after %v: %v is lost, though the bus has it", since, topic)
				}
			}
			for topic := range want {
				if !lost[topic] && !slices.EqualFunc(want[topic], got[topic], func(a, b *pb.Event) bool { return proto.Equal(a, b) }) {
					t.Errorf("after %v: of %v %d events came, want %d", since, topic, len(got[topic]), len(want[topic]))
				}
			}
			w.close()
			all.close()
		}
		if bars == 0 {
			t.Error("no stream resumed from before the history")
		}
	})
}

// TestWatchResumesPastTheBus: what the bus holds no more is a gap, and the current
// values come.
func TestWatchResumesPastTheBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memoryLog{Memory: bus.NewMemory(bus.MemoryConfig{MaxBytes: 3000})}
		f := begin(t, log, monitor.Config{Window: 10, History: 2})
		for _, b := range tape(3, 200) { // never more than it can keep up with
			f.play([]bus.Batch{b})
			synctest.Wait()
		}
		w := f.live().watch(&pb.WatchRequest{Id: 1, Add: topics(market.Trades, "*"), Since: &pb.Position{Epoch: uint64(log.Epoch()), Seq: 300}})
		list := w.take()
		_, lost := resumed(t, list)
		answered := map[market.Topic]bool{}
		for _, m := range list {
			note(t, answered, m.GetSnapshots().GetTopics())
		}
		if len(lost) < 5 || !maps.Equal(lost, answered) || list[len(list)-1].GetAdded().GetId() != 1 {
			t.Errorf("lost %v, answered %v, at last %v", lost, answered, list[len(list)-1])
		}
		w.close()
	})
}

// TestWatchResumesWithoutTheBus has a bus that does not answer when a stream resumes.
// One that comes back soon has all; else what it has is given up. Until then the
// stream shows that it lives, and claims no progress.
func TestWatchResumesWithoutTheBus(t *testing.T) {
	for name, away := range map[string]time.Duration{"soon back": 3 * time.Second, "gone": time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := begin(t, memory(), monitor.Config{Window: 10, History: 2}).live()
				for i := range market.Price(50) {
					publish(t, f.bus, trade("A", time.Duration(i), i))
				}
				f.live()
				f.bus.SetDown(true)
				w := f.watch(&pb.WatchRequest{Id: 1, Add: topics(market.Trades, "A"), Since: &pb.Position{Epoch: uint64(f.bus.Epoch()), Seq: 255}})
				time.Sleep(away)
				f.bus.SetDown(false)
				time.Sleep(2 * time.Second)
				list := w.take()
				events, lost := resumed(t, list)
				n, told := len(events[market.Topic{Channel: market.Trades, Symbol: "A"}]), len(lost)
				if quick := away < 5*time.Second; (quick && (n != 50 || told != 0)) || (!quick && (n != 0 || told != 1)) {
					t.Errorf("%d events, lost %v", n, lost)
				}
				progress := 0
				for _, m := range list {
					if m.GetAdded() != nil {
						break
					}
					if p := m.GetProgress(); p != nil {
						if progress++; p.GetPosition().GetSeq() != 0 {
							t.Fatalf("progress %v while the past is missing", p)
						}
					}
				}
				if progress < 4 {
					t.Errorf("%d signs of life while the bus was away", progress)
				}
			})
		})
	}
}

// TestReplayExpired has a bus that holds the end of the feed only.
func TestReplayExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memoryLog{Memory: bus.NewMemory(bus.MemoryConfig{MaxBytes: 3000})}
		f := begin(t, log, monitor.Config{History: 2})
		for _, b := range tape(3, 200) { // never more than it can keep up with
			f.play([]bus.Batch{b})
			synctest.Wait()
		}
		f.live()
		r, err := f.client.Replay(t.Context(), &pb.ReplayRequest{Topics: everything(), Since: &pb.Position{Epoch: uint64(log.Epoch()), Seq: 300}})
		if err != nil {
			t.Fatal(err)
		}
		missed, err := marketpb.FromTopics(r.GetMissed())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(missed, func(t market.Topic) bool { return t.Channel == market.Trades }) {
			t.Errorf("missed %v", missed)
		}
		for _, e := range r.GetEvents() {
			if slices.Contains(missed, market.Topic{Channel: market.Channel(e.GetChannel()), Symbol: market.Symbol(e.GetSymbol())}) {
				t.Errorf("%s %s is missed, and is here", e.GetChannel(), e.GetSymbol())
			}
		}
	})
}

// TestReplayOfNothing asks for all there ever was where there never was anything.
func TestReplayOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := begin(t, memory(), monitor.Config{}).live()
		began := time.Now()
		since := &pb.Position{Epoch: uint64(f.bus.Epoch())}
		r, err := f.client.Replay(t.Context(), &pb.ReplayRequest{Topics: topics(market.Trades, "A"), Since: since})
		if err != nil || len(r.GetEvents())+len(r.GetMissed()) > 0 || r.GetThrough().GetSeq() < 255 || time.Since(began) > 0 {
			t.Errorf("%v, %v after %v", r, err, time.Since(began))
		}
		w := f.watch(&pb.WatchRequest{Id: 1, Add: topics(market.Trades, "A"), Since: since})
		if diff := cmp.Diff([]string{"welcome", "feed STATE_LIVE", "added 1"}, kinds(w.take())); diff != "" {
			t.Error(diff)
		}
	})
}

// TestReplayFromTheBeginning asks for all there ever was, which the bus holds.
func TestReplayFromTheBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memoryLog{Memory: bus.NewMemory(bus.MemoryConfig{})}
		f := begin(t, log, monitor.Config{History: 2})
		for _, b := range tape(3, 50) {
			f.play([]bus.Batch{b})
			synctest.Wait()
		}
		f.live()
		_, missed := f.all(market.Position{Epoch: log.Epoch()}, 0, everything())
		for topic := range missed {
			if !topic.Channel.IsBar() {
				t.Errorf("%s is missed", topic)
			}
		}
	})
}

func TestReplayRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memory()
		f := begin(t, log, monitor.Config{}).live()
		f.play(tape(3, 5))
		f.live()
		here := &pb.Position{Epoch: uint64(log.Epoch()), Seq: 300}
		for _, tc := range []struct {
			req  *pb.ReplayRequest
			code codes.Code
		}{
			{&pb.ReplayRequest{Since: here}, codes.InvalidArgument},
			{&pb.ReplayRequest{Topics: everything()}, codes.InvalidArgument},
			{&pb.ReplayRequest{Topics: everything(), Since: here, Limit: -1}, codes.InvalidArgument},
			{&pb.ReplayRequest{Topics: everything(), Since: here, Limit: 10001}, codes.InvalidArgument},
			{&pb.ReplayRequest{Topics: topics(0, "A"), Since: here}, codes.InvalidArgument},
			{&pb.ReplayRequest{Topics: everything(), Since: &pb.Position{Epoch: 1, Seq: 3}}, codes.OutOfRange},
			{&pb.ReplayRequest{Topics: everything(), Since: &pb.Position{Epoch: here.GetEpoch(), Seq: 1 << 40}}, codes.OutOfRange},
			{&pb.ReplayRequest{Topics: everything(), Since: here}, codes.OK},
		} {
			if _, err := f.client.Replay(t.Context(), tc.req); status.Code(err) != tc.code {
				t.Errorf("%v: %v, want %v", tc.req, err, tc.code)
			}
		}
		log.SetDown(true) // so that what is not here may be there
		for code, since := range map[codes.Code]*pb.Position{
			codes.Unavailable: {Epoch: here.GetEpoch(), Seq: 1 << 40}, codes.OutOfRange: {Epoch: 1, Seq: 3},
		} {
			if _, err := f.client.Replay(t.Context(), &pb.ReplayRequest{Topics: everything(), Since: since}); status.Code(err) != code {
				t.Errorf("without the bus, since %v: %v, want %v", since, err, code)
			}
		}
	})
}
