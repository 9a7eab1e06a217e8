package monitor_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/lzstock/lzstock/internal/bus"
	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/monitor"
	"github.com/lzstock/lzstock/market"
)

// same fails where two monitors do not answer alike.
func same(t *testing.T, a, b *fixture) {
	t.Helper()
	if diff := cmp.Diff(a.snapshots(), b.snapshots(), protocmp.Transform()); diff != "" {
		t.Errorf("snapshots differ:\n%s", diff)
	}
	list := func(f *fixture) *pb.ListSymbolsResponse {
		r, err := f.client.ListSymbols(t.Context(), &pb.ListSymbolsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if diff := cmp.Diff(list(a), list(b), protocmp.Transform()); diff != "" {
		t.Errorf("symbols differ:\n%s", diff)
	}
}

// TestReplicasAgree runs one monitor all along and another that is restarted at
// random places, from a checkpoint or from nothing: they answer alike, and what
// they send behind each restart is the same.
func TestReplicasAgree(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 2))
				log := memoryLog{Memory: bus.NewMemory(bus.MemoryConfig{})}
				cfg := monitor.Config{CheckpointEvery: 10 * time.Second, Stretch: 1 + r.IntN(20), History: 4096, CheckpointName: "a"}
				whole := begin(t, log, monitor.Config{CheckpointEvery: -1, History: 4096}).live()
				feed := tape(seed, 150)
				second := begin(t, log, cfg)
				for len(feed) > 0 {
					n := min(len(feed), 1+r.IntN(60))
					for _, b := range feed[:n] {
						whole.play([]bus.Batch{b})
						time.Sleep(time.Second)
					}
					feed = feed[n:]
					second.live()
					same(t, whole, second)
					second.stop()
					second = begin(t, log, cfg).live()
					same(t, whole, second)
				}
				// Both hold the last events, derived ones included.
				at := second.snapshots().GetPosition()
				at.Seq -= 3 * market.BatchLimit
				req := &pb.WatchRequest{Id: 1, Add: everything(), Since: at}
				a, b := batched(whole.watch(req).take()), batched(second.watch(req).take())
				if diff := cmp.Diff(a, b, protocmp.Transform()); diff != "" || len(a) == 0 {
					t.Errorf("resumed events (%d) differ:\n%s", len(a), diff)
				}
			})
		})
	}
}

// TestRestartResumes is a gateway that was connected before the restart.
func TestRestartResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memoryLog{Memory: bus.NewMemory(bus.MemoryConfig{})}
		cfg := monitor.Config{CheckpointEvery: time.Second, Stretch: 50}
		f := begin(t, log, cfg).live()
		feed := tape(1, 120)
		var all []*pb.Event
		w := f.watch(&pb.WatchRequest{Id: 1, Add: everything()})
		for _, b := range feed {
			f.play([]bus.Batch{b})
			time.Sleep(700 * time.Millisecond)
		}
		all = batched(w.take())
		f.stop()
		f = begin(t, log, cfg).live()

		since := all[len(all)-1].GetSeq() - 40*market.BatchLimit
		epoch := uint64(log.Epoch())
		got := f.watch(&pb.WatchRequest{Id: 2, Add: everything(), Since: &pb.Position{Epoch: epoch, Seq: since}}).take()
		var want []*pb.Event
		last := map[string]uint64{}
		for _, e := range all {
			topic := fmt.Sprint(e.GetChannel(), e.GetSymbol())
			e.Prev = last[topic]
			last[topic] = e.GetSeq()
			if e.GetSeq() > since {
				want = append(want, e)
			}
		}
		if diff := cmp.Diff(want, batched(got), protocmp.Transform()); diff != "" {
			t.Errorf("resumed:\n%s", diff)
		}
		if k := kinds(got); k[0] != "welcome" || k[len(k)-1] != "added 2" || strings.Contains(fmt.Sprint(k), "gap") {
			t.Errorf("messages %v", k)
		}

		// Before the stretch, the busy topics are not held.
		got = f.watch(&pb.WatchRequest{Id: 3, Add: everything(), Since: &pb.Position{Epoch: epoch, Seq: 256}}).take()
		if k := kinds(got); len(k) < 5 || k[2] != "gap REASON_EXPIRED" || !strings.HasPrefix(k[3], "snapshots ") || k[len(k)-1] != "added 3" {
			t.Errorf("messages %v", k)
		}
	})
}

// TestUselessCheckpoints: each leads to a full replay, and one line in the log.
func TestUselessCheckpoints(t *testing.T) {
	for name, spoil := range map[string]func(*bus.Memory, []byte) []byte{
		"garbage":    func(*bus.Memory, []byte) []byte { return []byte("what is this") },
		"cut":        func(_ *bus.Memory, b []byte) []byte { return b[:len(b)/2] },
		"bit":        func(_ *bus.Memory, b []byte) []byte { b[len(b)/2] ^= 4; return b },
		"version":    func(_ *bus.Memory, b []byte) []byte { b[4]++; return b },
		"empty":      func(*bus.Memory, []byte) []byte { return nil },
		"other zone": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := memoryLog{Memory: bus.NewMemory(bus.MemoryConfig{})}
				f := begin(t, log, monitor.Config{CheckpointEvery: time.Second}).live()
				f.play(tape(3, 30))
				time.Sleep(2 * time.Second)
				f.play(tape(4, 1))
				f.live()
				data, err := log.LoadCheckpoint(t.Context(), "monitor")
				if err != nil {
					t.Fatal(err)
				}
				cfg := monitor.Config{CheckpointEvery: -1}
				if spoil == nil {
					cfg.Zone = time.FixedZone("elsewhere", 3600)
				} else if err := log.SaveCheckpoint(t.Context(), "monitor", spoil(log.Memory, data)); err != nil {
					t.Fatal(err)
				}
				var lines strings.Builder
				cfg.Logger = slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelError}))
				second := begin(t, log, cfg).live()
				if spoil != nil {
					same(t, f, second)
				}
				if n := strings.Count(lines.String(), "\n"); n != 1 || !strings.Contains(lines.String(), "of no use") {
					t.Errorf("logged %d lines: %s", n, lines.String())
				}
			})
		})
	}
}

// TestGapWhereTheBusMovedOn: the bus forgot what the monitor had not read.
func TestGapWhereTheBusMovedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memoryLog{Memory: bus.NewMemory(bus.MemoryConfig{})}
		f := begin(t, log, monitor.Config{}).live()
		publish(t, f.bus, trade("A", 0, 10))
		w := f.live().watch(&pb.WatchRequest{Id: 1, Add: topics(market.Trades, "A", "B")})
		w.take()
		f.bus.SetDown(true)
		time.Sleep(500 * time.Millisecond)
		f.bus.SetDown(false)
		publish(t, f.bus, trade("A", 1, 11), trade("B", 1, 11))
		f.bus.Delete(2)
		publish(t, f.bus, trade("A", 2, 12))
		time.Sleep(5 * time.Second)
		got := w.take()
		var k []string
		for _, s := range kinds(got) {
			if s != "progress" {
				k = append(k, s)
			}
		}
		// That the feed is live follows from the batch: it comes with it or behind it,
		// and within a frame ahead of it.
		want := []string{"feed STATE_STALE", "gap REASON_EXPIRED", "batch 1", "feed STATE_LIVE"}
		if len(k) == len(want) {
			slices.Sort(k[2:])
		}
		if diff := cmp.Diff(want, k); diff != "" {
			t.Errorf("messages:\n%s", diff)
		}
		// Who resumes from before it is told again, on a topic new to the hub, too.
		for _, symbol := range []string{"A", "B", "C"} {
			w := f.watch(&pb.WatchRequest{Id: 1, Add: topics(market.Trades, symbol), Since: &pb.Position{Epoch: uint64(log.Epoch()), Seq: 256}})
			if k := fmt.Sprint(kinds(w.take())); !strings.Contains(k, "gap REASON_EXPIRED snapshots ") {
				t.Errorf("%s: %v", symbol, k)
			}
		}
	})
}
