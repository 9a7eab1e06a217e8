package monitor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/lzstock/lzstock/internal/bus"
	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/monitor"
	"github.com/lzstock/lzstock/market"
)

// bars gives all bars of the symbols of tape.
func (f *fixture) bars(frame pb.Timeframe) *pb.GetBarsResponse {
	f.t.Helper()
	req := &pb.GetBarsRequest{Timeframe: frame, Limit: market.MaxPage}
	for i := range 12 {
		req.Symbols = append(req.Symbols, fmt.Sprintf("S%02d", i))
	}
	r, err := f.client.GetBars(f.t.Context(), req)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

func sameBars(t *testing.T, want, got *pb.GetBarsResponse) {
	t.Helper()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || len(want.GetSymbols()) == 0 {
		t.Errorf("bars of %d symbols differ (-want +got):\n%s", len(want.GetSymbols()), diff)
	}
}

// TestBarsOutliveARestart restarts one of two monitors again and again on a bus that
// holds the newest events only: its bars are those of the one that goes on, also
// where both save, and where its checkpoint is lost.
func TestBarsOutliveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memoryLog{Memory: bus.NewMemory(bus.MemoryConfig{MaxAge: 90 * time.Second})}
		cfg := monitor.Config{CheckpointEvery: 10 * time.Second, Stretch: 5, BarLog: log.Memory}
		whole := begin(t, log, cfg).live()
		second := begin(t, log, cfg).live()
		for i, b := range tape(7, 240) {
			whole.play([]bus.Batch{b})
			time.Sleep(time.Second)
			if i%60 == 59 {
				second.stop()
				if i > 120 {
					if err := log.SaveCheckpoint(t.Context(), "monitor", []byte("damaged")); err != nil {
						t.Fatal(err)
					}
				}
				second = begin(t, log, cfg)
				time.Sleep(time.Second)
				second.live()
				for _, frame := range []pb.Timeframe{pb.Timeframe_TIMEFRAME_MINUTE, pb.Timeframe_TIMEFRAME_HOUR} {
					sameBars(t, whole.bars(frame), second.bars(frame))
				}
			}
		}
		if n := len(whole.bars(pb.Timeframe_TIMEFRAME_MINUTE).GetSymbols()[0].GetBars()); n < 15 {
			t.Errorf("only %d minutes", n)
		}
	})
}

// TestBarsOfALostFuture has the bus forget events whose bars were saved: what comes
// in their place counts.
func TestBarsOfALostFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memoryLog{Memory: bus.NewMemory(bus.MemoryConfig{})}
		short := memoryLog{Memory: bus.NewMemory(bus.MemoryConfig{})} // of the same epoch
		cfg := monitor.Config{CheckpointEvery: 5 * time.Second, BarLog: log.Memory}
		f := begin(t, log, cfg).live()
		f.play(tape(1, 100))
		time.Sleep(6 * time.Second)
		f.play([]bus.Batch{{Source: "one", Events: []market.Event{trade("S00", 2*time.Hour, 1)}}})
		f.live()
		f.stop()
		g := begin(t, short, cfg).live()
		g.play(tape(2, 90))
		time.Sleep(6 * time.Second)
		g.play([]bus.Batch{{Source: "one", Events: []market.Event{trade("S00", 3*time.Hour, 1)}}})
		fresh := begin(t, short, monitor.Config{CheckpointEvery: -1, CheckpointName: "none"}).live()
		sameBars(t, fresh.bars(pb.Timeframe_TIMEFRAME_MINUTE), g.live().bars(pb.Timeframe_TIMEFRAME_MINUTE))
		g.stop()
		h := begin(t, short, cfg).live()
		sameBars(t, fresh.bars(pb.Timeframe_TIMEFRAME_MINUTE), h.bars(pb.Timeframe_TIMEFRAME_MINUTE))
	})
}

// brokenLog is a log of bars that cannot be read, or not written.
type brokenLog struct {
	*bus.Memory
	read, write error
}

func (l brokenLog) ReadBars(ctx context.Context, after uint64, f func(uint64, []byte) error) (uint64, error) {
	if l.read != nil {
		return 0, l.read
	}
	return l.Memory.ReadBars(ctx, after, f)
}

func (l brokenLog) AppendBars(ctx context.Context, after uint64, data []byte) (uint64, bool, error) {
	if l.write != nil {
		return 0, false, l.write
	}
	return l.Memory.AppendBars(ctx, after, data)
}

// TestBarsWithoutTheirLog serves what comes, and takes no harm.
func TestBarsWithoutTheirLog(t *testing.T) {
	for _, broken := range []brokenLog{{read: errors.New("no right to read")}, {write: errors.New("no right to write")}} {
		synctest.Test(t, func(t *testing.T) {
			log := memoryLog{Memory: bus.NewMemory(bus.MemoryConfig{})}
			broken.Memory = log.Memory
			f := begin(t, log, monitor.Config{CheckpointEvery: 5 * time.Second, BarLog: broken})
			time.Sleep(10 * time.Second)
			for _, b := range tape(1, 100) {
				f.live().play([]bus.Batch{b})
				time.Sleep(time.Second)
			}
			whole := begin(t, log, monitor.Config{CheckpointEvery: -1, CheckpointName: "none"}).live()
			sameBars(t, whole.bars(pb.Timeframe_TIMEFRAME_MINUTE), f.live().bars(pb.Timeframe_TIMEFRAME_MINUTE))
			if broken.write != nil { // no checkpoint of after the first bars, which a start from it would lack
				f.stop()
				f = begin(t, log, monitor.Config{BarLog: broken}).live()
				sameBars(t, whole.bars(pb.Timeframe_TIMEFRAME_MINUTE), f.bars(pb.Timeframe_TIMEFRAME_MINUTE))
			}
		})
	}
}

// TestDamagedRecords are left out, and the rest is used.
func TestDamagedRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memoryLog{Memory: bus.NewMemory(bus.MemoryConfig{})}
		if _, ok, err := log.AppendBars(t.Context(), 0, []byte("damaged")); !ok || err != nil {
			t.Fatal(err)
		}
		cfg := monitor.Config{CheckpointEvery: 5 * time.Second, BarLog: log.Memory}
		f := begin(t, log, cfg).live()
		for _, b := range tape(1, 100) {
			f.play([]bus.Batch{b})
			time.Sleep(time.Second)
		}
		want := f.bars(pb.Timeframe_TIMEFRAME_MINUTE)
		f.stop()
		sameBars(t, want, begin(t, log, cfg).live().bars(pb.Timeframe_TIMEFRAME_MINUTE))
	})
}

func TestGetBars(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := begin(t, memoryLog{Memory: bus.NewMemory(bus.MemoryConfig{})}, monitor.Config{}).live()
		const late = 24*time.Hour + 3*time.Minute
		publish(t, f.bus, trade("A", 0, 1), trade("A", 30*time.Second, 3), trade("A", 70*time.Second, 2), trade("B", 80*time.Second, 5))
		publish(t, f.bus, trade("A", 24*time.Hour, 9), trade("A", 24*time.Hour+time.Second, 9), trade("A", late, 8), trade("A", late+time.Minute, 8))
		f.live()
		page := func(req *pb.GetBarsRequest) *pb.GetBarsResponse {
			t.Helper()
			r, err := f.client.GetBars(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		first := page(&pb.GetBarsRequest{Symbols: []string{"B", "A"}, Timeframe: pb.Timeframe_TIMEFRAME_DAY, Limit: 2})
		if len(first.GetSymbols()) != 1 || len(first.GetSymbols()[0].GetBars()) != 2 || first.GetNextPageToken() == "" {
			t.Fatalf("first page %v", first)
		}
		if b := first.GetSymbols()[0].GetBars()[0]; b.GetOpen() != int64(market.Scale) || b.GetHigh() != 3*int64(market.Scale) || b.GetTrades() != 3 || b.GetVolume() != 9*int64(market.Scale) {
			t.Errorf("day %v", b)
		}
		next := page(&pb.GetBarsRequest{Symbols: []string{"B", "A"}, Timeframe: pb.Timeframe_TIMEFRAME_DAY, Limit: 2, PageToken: first.GetNextPageToken()})
		if len(next.GetSymbols()) != 1 || next.GetSymbols()[0].GetSymbol() != "B" || next.GetNextPageToken() != "" {
			t.Errorf("next page %v", next)
		}
		// The bus stored it all just now: for who is a minute late there is nothing.
		if r := page(&pb.GetBarsRequest{Symbols: []string{"A"}, Timeframe: pb.Timeframe_TIMEFRAME_DAY, Delay: int64(time.Minute)}); len(r.GetSymbols()) != 0 {
			t.Errorf("early: %v", r)
		}
		time.Sleep(time.Minute)
		if r := page(&pb.GetBarsRequest{Symbols: []string{"A"}, Timeframe: pb.Timeframe_TIMEFRAME_DAY, Delay: int64(time.Minute)}); len(r.GetSymbols()) != 0 && time.Now().Before(day) {
			t.Errorf("minutes that end in the future are shown: %v", r)
		}
		// The day before comes with the day.
		snap, err := f.client.GetSnapshots(t.Context(), &pb.GetSnapshotsRequest{Topics: topics(market.DailyBars, "A", "B"), PreviousDays: true})
		if err != nil || len(snap.GetPreviousDays()) != 1 || snap.GetPreviousDays()[0].GetBars()[0].GetTrades() != 3 {
			t.Errorf("previous days %v, error %v", snap.GetPreviousDays(), err)
		}
		for want, req := range map[string]*pb.GetBarsRequest{
			"no symbols":   {Timeframe: 1},
			"bad symbol":   {Timeframe: 1, Symbols: []string{"A B"}},
			"timeframe 0":  {Symbols: []string{"A"}},
			"timeframe 6":  {Symbols: []string{"A"}, Timeframe: 6},
			"limit -1":     {Symbols: []string{"A"}, Timeframe: 1, Limit: -1},
			"page token":   {Symbols: []string{"A"}, Timeframe: 1, PageToken: "x"},
			"delay -1ns":   {Symbols: []string{"A"}, Timeframe: 1, Delay: -1},
			"limit 100000": {Symbols: []string{"A"}, Timeframe: 1, Limit: 100_000},
		} {
			_, err := f.client.GetBars(t.Context(), req)
			if status.Code(err) != codes.InvalidArgument || !strings.Contains(status.Convert(err).Message(), want) {
				t.Errorf("%v: %v, want %q", req, err, want)
			}
		}
	})
}

func TestNamesOfSymbols(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := begin(t, memoryLog{Memory: bus.NewMemory(bus.MemoryConfig{})}, monitor.Config{Names: map[market.Symbol]string{
			"AAPL": "Apple Inc.", "MSFT": "Microsoft Corporation", "PG": "The Procter & Gamble Company", "NONE": "Not Carried",
		}}).live()
		publish(t, f.bus, trade("MSFT", 0, 1), trade("AAPL", 0, 1), trade("PG", 0, 1), trade("MICR", 0, 1))
		f.live()
		for prefix, want := range map[string]string{
			"": "AAPL MICR MSFT PG", "micr": "MICR MSFT", "corp": "MSFT", "procter & g": "PG", "PpLe": "", "a": "AAPL", "no": "", "zzz": "",
		} {
			r, err := f.client.ListSymbols(t.Context(), &pb.ListSymbolsRequest{Prefix: prefix})
			if got := strings.Join(r.GetSymbols(), " "); err != nil || got != want {
				t.Errorf("%q: %q, error %v, want %q", prefix, got, err, want)
			}
			if r.GetNames()["MICR"] != "" || strings.Contains(want, "PG") && r.GetNames()["PG"] != "The Procter & Gamble Company" {
				t.Errorf("%q: names %v", prefix, r.GetNames())
			}
		}
	})
}
