package monitor_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/lzstock/lzstock/internal/bus"
	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/marketpb"
	"github.com/lzstock/lzstock/internal/memnet"
	"github.com/lzstock/lzstock/internal/monitor"
	"github.com/lzstock/lzstock/market"
)

// BenchmarkRequests measures the dearest requests of a monitor of 20,000 symbols, from
// the call to the last byte of the answer.
func BenchmarkRequests(b *testing.B) {
	const symbols = 20_000
	log := bus.NewMemory(bus.MemoryConfig{})
	names := make([]string, symbols)
	batch := bus.Batch{Source: "x"}
	for i := range symbols {
		names[i] = fmt.Sprintf("S%05d", i)
		batch.Events = append(batch.Events, trade(market.Symbol(names[i]), time.Duration(i)*time.Millisecond, 10), quote(market.Symbol(names[i]), 0, 9))
		if len(batch.Events) == market.BatchLimit || i == symbols-1 {
			if _, err := log.Publish(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
			batch.Events = nil
		}
	}
	m, err := monitor.New(memoryLog{Memory: log}, monitor.Config{})
	if err != nil {
		b.Fatal(err)
	}
	l := memnet.Listen()
	ctx, stop := context.WithCancel(b.Context())
	server := monitor.NewServer(m, monitor.ServerConfig{})
	var running sync.WaitGroup
	running.Go(func() { _ = m.Run(ctx) })
	running.Go(func() { _ = server.Serve(ctx, l) })
	conn := dial(b, l, grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(256<<20)))
	defer func() {
		_ = conn.Close()
		stop()
		running.Wait()
	}()
	for !m.Status().Serving {
		time.Sleep(time.Millisecond)
	}
	client := pb.NewMarketMonitorClient(conn)
	since := marketpb.Position(market.Position{Epoch: log.Epoch(), Seq: 256})
	for _, c := range []struct {
		name string
		call func() error
	}{
		{"GetSnapshots_1024_symbols", func() error {
			_, err := client.GetSnapshots(ctx, &pb.GetSnapshotsRequest{Topics: append(topics(market.Trades, names[:1024]...), topics(market.Quotes, names[:1024]...)...)})
			return err
		}},
		{"GetSnapshots_all", func() error {
			_, err := client.GetSnapshots(ctx, &pb.GetSnapshotsRequest{Topics: everything()})
			return err
		}},
		{"Replay_all", func() error {
			_, err := client.Replay(ctx, &pb.ReplayRequest{Topics: everything(), Since: since, Limit: 2000})
			return err
		}},
		{"ListSymbols_10000", func() error {
			_, err := client.ListSymbols(ctx, &pb.ListSymbolsRequest{Prefix: "s", PageSize: 10_000})
			return err
		}},
		{"Watch_all", func() error {
			once, end := context.WithCancel(ctx)
			defer end()
			stream, err := client.Watch(once)
			if err != nil {
				return err
			}
			if err := stream.Send(&pb.WatchRequest{Id: 1, Add: everything()}); err != nil {
				return err
			}
			for {
				if r, err := stream.Recv(); err != nil || r.GetAdded() != nil {
					return err
				}
			}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if err := c.call(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
