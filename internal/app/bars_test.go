package app

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/lzstock/lzstock/internal/bus"
	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/memnet"
	"github.com/lzstock/lzstock/internal/monitor"
	"github.com/lzstock/lzstock/market"
)

// kept is a bus in files, and a monitor over it that saves often.
type kept struct {
	t      *testing.T
	js     *bus.JetStream
	client pb.MarketMonitorClient
	counts *prometheus.Registry
	stop   func()
}

func beginKept(t *testing.T, dir string) *kept {
	t.Helper()
	server, err := bus.StartEmbedded(bus.EmbeddedConfig{Dir: dir}, nil)
	if err != nil {
		t.Fatal(err)
	}
	js, err := bus.Dial(t.Context(), bus.Config{Server: server, Stream: bus.StreamConfig{MaxAge: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	counts := prometheus.NewRegistry()
	m, err := monitor.New(monitorLog{js}, monitor.Config{CheckpointEvery: 50 * time.Millisecond, Stretch: -1, BarLog: js, Registry: counts, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	l := memnet.Listen()
	var wg sync.WaitGroup
	wg.Go(func() { _ = m.Run(ctx) })
	wg.Go(func() { _ = monitor.NewServer(m, monitor.ServerConfig{}).Serve(ctx, l) })
	conn, err := grpc.NewClient("passthrough:///monitor", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(
		func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx, "", "") }))
	if err != nil {
		t.Fatal(err)
	}
	k := &kept{t: t, js: js, client: pb.NewMarketMonitorClient(conn), counts: counts}
	k.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		_, _, _ = conn.Close(), js.Close(), server.Close()
	})
	t.Cleanup(k.stop)
	return k
}

// bars gives the minutes of a symbol, or nil while the monitor starts.
func (k *kept) bars() *pb.GetBarsResponse {
	r, err := k.client.GetBars(k.t.Context(), &pb.GetBarsRequest{Symbols: []string{"A"}, Timeframe: pb.Timeframe_TIMEFRAME_MINUTE})
	if err != nil {
		return nil
	}
	return r
}

// saved counts checkpoints.
func (k *kept) saved() (n float64) {
	all, err := k.counts.Gather()
	if err != nil {
		k.t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == "lzstock_monitor_checkpoints_total" {
			for _, m := range f.GetMetric() {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

// until waits for what must come.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s: it did not come", what)
		}
	}
}

// TestBarsOutliveTheirEvents restarts a monitor and its bus when the bus has let go
// of the events that the bars were made of.
func TestBarsOutliveTheirEvents(t *testing.T) {
	dir := t.TempDir()
	k := beginKept(t, dir)
	begin := time.Date(2026, 1, 5, 15, 0, 0, 0, time.UTC)
	minute := 0
	trade := func() {
		_, err := k.js.Publish(t.Context(), bus.Batch{Source: "x", Events: []market.Event{{
			Channel: market.Trades, Symbol: "A", Trade: &market.Trade{
				Price: market.Price(100+minute) * market.Scale, Size: market.Scale, Time: begin.Add(time.Duration(minute) * time.Minute),
			},
		}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	until(t, "bars whose events are gone", func() bool {
		trade()
		minute++
		first, _, err := k.js.Bounds(t.Context())
		return err == nil && first.Batch() > 20
	})
	var want *pb.GetBarsResponse
	until(t, "all bars", func() bool {
		want = k.bars()
		return want != nil && len(want.GetSymbols()) == 1 && len(want.GetSymbols()[0].GetBars()) == minute-1
	})
	minute-- // the one that is open: what comes of it ends none
	before := k.saved()
	until(t, "a checkpoint behind them", func() bool {
		trade()
		return k.saved() >= before+2
	})
	for n := range 2 {
		k.stop()
		k = beginKept(t, dir)
		var got *pb.GetBarsResponse
		until(t, fmt.Sprint("start ", n), func() bool {
			got = k.bars()
			return got != nil
		})
		bars := want.GetSymbols()[0].GetBars()
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || !slices.IsSortedFunc(bars, func(a, b *pb.Bar) int { return int(a.GetTime() - b.GetTime()) }) {
			t.Errorf("start %d: bars differ (-want +got):\n%s", n, diff)
		}
	}
}
