package monitor_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/lzstock/lzstock/internal/bus"
	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/memnet"
	"github.com/lzstock/lzstock/internal/monitor"
	"github.com/lzstock/lzstock/market"
)

// TestSymbolsBeyondTheLimit leaves out whole symbols, the same ones in a replica that
// was there from the beginning and in those that start from a checkpoint.
func TestSymbolsBeyondTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memoryLog{Memory: bus.NewMemory(bus.MemoryConfig{})}
		registry := prometheus.NewRegistry()
		const most = 5 // of the tape's 12 symbols
		cfg := monitor.Config{CheckpointEvery: 5 * time.Second, Stretch: 3, Symbols: most, CheckpointName: "a"}
		whole := begin(t, log, monitor.Config{CheckpointEvery: -1, Symbols: most, Registry: registry}).live()
		second := begin(t, log, cfg).live()
		var first []string // symbols, as the feed carries them
		events, left := 0, 0
		for i, b := range tape(1, 60) {
			whole.play([]bus.Batch{b})
			for _, e := range b.Events {
				known := slices.Contains(first, string(e.Symbol))
				if !known && len(first) < most {
					first, known = append(first, string(e.Symbol)), true
				}
				if events++; !known {
					left++
				}
			}
			time.Sleep(time.Second)
			if i%7 == 0 {
				second.stop()
				second = begin(t, log, cfg).live()
			}
			same(t, whole, second)
		}
		slices.Sort(first)
		list, err := second.client.ListSymbols(t.Context(), &pb.ListSymbolsRequest{})
		if err != nil || !slices.Equal(list.GetSymbols(), first) || len(first) != most {
			t.Errorf("symbols %v, %v; want %v", list.GetSymbols(), err, first)
		}
		values := counts(t, registry)
		if left == 0 || values["lzstock_monitor_left_out_events_total"] != float64(left) || values["lzstock_monitor_symbols"] != most {
			t.Errorf("%v are left out of %d symbols, want %d", values["lzstock_monitor_left_out_events_total"], most, left)
		}
		// The past of one that was left out is not there either, whether it comes from
		// memory or from the bus.
		at := &pb.Position{Epoch: uint64(log.Epoch()), Seq: 256}
		for _, f := range []*fixture{whole, second} {
			for _, e := range batched(f.watch(&pb.WatchRequest{Id: 1, Add: everything(), Since: at}, &pb.WatchRequest{
				Id: 2, Add: []*pb.Topics{{Channel: pb.Channel_CHANNEL_TRADES, Symbols: []string{"S00", "S01", "S02", "S03", "S04", "S05", "S06"}}}, Since: at,
			}).take()) {
				if !slices.Contains(first, e.GetSymbol()) {
					t.Fatalf("an event of %s", e.GetSymbol())
				}
			}
		}
	})
}

// counts are the values of metrics without labels.
func counts(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			out[f.GetName()] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return out
}

func TestStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memoryLog{Memory: bus.NewMemory(bus.MemoryConfig{})}
		m := begin(t, log, monitor.Config{}).live().monitor
		srv := monitor.NewServer(m, monitor.ServerConfig{Streams: 3, ConnectionStreams: 2})
		l := memnet.Listen()
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- srv.Serve(ctx, l) }()
		one, two := dial(t, l), dial(t, l)
		open := func(c *grpc.ClientConn) (end func(), err error) {
			sctx, cancel := context.WithCancel(ctx)
			stream, err := pb.NewMarketMonitorClient(c).Watch(sctx)
			if err == nil {
				_, err = stream.Recv() // the welcome, or why not
			}
			return func() { cancel(); synctest.Wait() }, err
		}
		refused := func(c *grpc.ClientConn, flag string) {
			t.Helper()
			if _, err := open(c); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), flag) {
				t.Errorf("it ends with %v, want %s", err, flag)
			}
		}
		well := func(c *grpc.ClientConn) (end func()) {
			t.Helper()
			end, err := open(c)
			if err != nil {
				t.Error(err)
			}
			return end
		}
		end := well(one)
		well(one)
		refused(one, "this connection has 2 streams, as many as --connection-streams allows")
		well(two)
		refused(two, "the service has 3 streams, as many as --max-streams allows")
		end()
		well(two) // there is room again
		refused(two, "--max-streams")
		// Calls are no streams.
		if _, err := pb.NewMarketMonitorClient(one).ListSymbols(ctx, &pb.ListSymbolsRequest{}); err != nil {
			t.Error(err)
		}
		// Headers have a limit, too.
		long := metadata.AppendToOutgoingContext(ctx, "x-long", strings.Repeat("x", 20<<10))
		if _, err := pb.NewMarketMonitorClient(one).ListSymbols(long, &pb.ListSymbolsRequest{}); err == nil {
			t.Error("20 KiB of headers were taken")
		}
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		_, _ = one.Close(), two.Close()
	})
}

// TestHalfOpenConnections has peers that connect and say nothing, or nothing more.
func TestHalfOpenConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memoryLog{Memory: bus.NewMemory(bus.MemoryConfig{})}
		m := begin(t, log, monitor.Config{}).live().monitor
		l := memnet.Listen()
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- monitor.NewServer(m, monitor.ServerConfig{}).Serve(ctx, l) }()
		silent, err := l.DialContext(ctx, "", "")
		if err != nil {
			t.Fatal(err)
		}
		idle := dial(t, l)
		if _, err := pb.NewMarketMonitorClient(idle).ListSymbols(ctx, &pb.ListSymbolsRequest{}); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			after time.Duration
			open  int
		}{{9 * time.Second, 2}, {2 * time.Second, 1}, {20 * time.Minute, 0}} {
			time.Sleep(c.after)
			synctest.Wait()
			if _, open := l.Open(); open != c.open {
				t.Errorf("%s later %d connections are open, want %d", c.after, open, c.open)
			}
		}
		_, _ = silent.Close(), idle.Close()
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// TestQueuesShareMemory: a slow stream that comes when there are many conflates
// sooner than one of the first.
func TestQueuesShareMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := begin(t, memory(), monitor.Config{Queue: 4000}).live()
		l := memnet.Listen(memnet.WithBuffer(1 << 16))
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() {
			served <- monitor.NewServer(f.monitor, monitor.ServerConfig{Streams: 300, ConnectionStreams: 300}).Serve(ctx, l)
		}()
		open := func(conn *grpc.ClientConn, add ...*pb.Topics) *watch {
			g := &fixture{t: t, client: pb.NewMarketMonitorClient(conn)}
			return g.open(&pb.WatchRequest{Id: 1, Add: add})
		}
		one, others, two := dial(t, l), dial(t, l), dial(t, l)
		first := open(one, topics(market.Trades, "A")...)
		synctest.Wait() // it is the first
		var idle []*watch
		for range 256 {
			idle = append(idle, open(others))
		}
		synctest.Wait()
		last := open(two, topics(market.Trades, "A")...)
		synctest.Wait()
		const n = 5000
		for i := range n {
			publish(t, f.bus, trade("A", time.Duration(i)*time.Millisecond, market.Price(i)))
			if i%100 == 0 {
				synctest.Wait()
			}
		}
		conflated := func(w *watch) (n int) {
			w.wg.Go(w.read)
			for _, e := range batched(w.take()) {
				if e.GetMerged() > 1 {
					n++
				}
			}
			return n
		}
		if a, b := conflated(first), conflated(last); a != 0 || b == 0 {
			t.Errorf("the first one has %d conflated events, want none; the last one %d, want some", a, b)
		}
		for _, w := range append(idle, first, last) {
			w.close()
		}
		_, _, _ = one.Close(), others.Close(), two.Close()
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}
