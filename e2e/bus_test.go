package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lzstock/lzstock/internal/bus"
	"github.com/lzstock/lzstock/market"
)

// node is one server of the bus that tests kill and start again.
type node struct {
	*process
	args []string
}

// busCluster starts three servers and gives their addresses for clients.
func busCluster(t *testing.T) (nodes []*node, url string) {
	t.Helper()
	var routes, urls []string
	for range 3 {
		routes = append(routes, freeAddr(t))
	}
	for i, route := range routes {
		addr := freeAddr(t)
		urls = append(urls, "nats://"+addr)
		n := &node{args: []string{
			"bus", "--name", fmt.Sprint("n", i), "--nats-listen", addr, "--data", t.TempDir(), "--admin", freeAddr(t),
			"--cluster-listen", route, "--routes", strings.Join(routes, ","),
		}}
		n.run(t)
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		n.waitReady()
	}
	return nodes, strings.Join(urls, ",")
}

func (n *node) run(t *testing.T) {
	t.Helper()
	n.process = spawn(t, nil, n.args...)
	n.admin = "http://" + n.args[8]
}

// TestBusLosesNodes kills each server of the bus in turn, kill -9, the leader of
// the stream among them, and then two at once: every event comes once, in order.
func TestBusLosesNodes(t *testing.T) {
	nodes, url := busCluster(t)
	cfg := bus.Config{URL: url, Stream: bus.StreamConfig{Replicas: 3}}
	dial := func() *bus.JetStream {
		t.Helper()
		var b *bus.JetStream
		eventually(t, "a connection to the bus", func() (ok bool) {
			var err error
			b, err = bus.Dial(t.Context(), cfg)
			return err == nil
		})
		t.Cleanup(func() { _ = b.Close() })
		return b
	}
	publisher, reader := dial(), dial()
	batcher, err := bus.NewBatcher(publisher, "tape", bus.BatcherConfig{Buffer: 512})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { _ = batcher.Run(ctx) })
	var sent, read atomic.Int64
	wg.Go(func() { send(ctx, batcher, &sent) })
	wg.Go(func() {
		var after market.Seq
		for ctx.Err() == nil {
			for m, err := range reader.Read(ctx, after) {
				if errors.Is(err, bus.ErrLost) {
					break
				}
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("read: %v", err)
					}
					return
				}
				for _, e := range m.Events {
					if e.Trade.ID != read.Load() {
						t.Errorf("event %d came in place of %d", e.Trade.ID, read.Load())
						return
					}
					read.Add(1)
				}
				after = market.MakeSeq(m.Batch, market.BatchLimit-1)
			}
		}
	})
	goesOn := func(what string) {
		t.Helper()
		begin, from := time.Now(), read.Load()
		eventually(t, "events "+what, func() bool { return read.Load() > from+200 || t.Failed() })
		t.Logf("events %s: after %s", what, time.Since(begin).Round(time.Millisecond))
	}
	goesOn("at the beginning")
	for i, n := range nodes {
		n.kill()
		goesOn(fmt.Sprintf("without node %d", i))
		n.run(t)
		n.waitReady()
	}
	nodes[0].kill()
	nodes[1].kill()
	var stalled int64
	eventually(t, "the source waits", func() bool {
		before := stalled
		stalled = sent.Load()
		return before == stalled && batcher.Stats().Pending == 512
	})
	begin := time.Now()
	eventually(t, "readers know", func() bool { return !reader.Healthy() })
	t.Logf("without two of three nodes: readers knew %s after the source had to wait", time.Since(begin).Round(time.Millisecond))
	nodes[1].run(t)
	goesOn("with two of three again")
	nodes[0].run(t)
	nodes[0].waitReady()
	s := batcher.Stats()
	t.Logf("%d events read; %d batches were repeated after they were stored; the source waited %s", read.Load(), s.Duplicates, s.Blocked)
}

// send adds numbered trades until ctx ends.
func send(ctx context.Context, to *bus.Batcher, sent *atomic.Int64) {
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		<-tick.C
		err := to.Add(ctx, market.Event{Channel: market.Trades, Symbol: "AAPL", Trade: &market.Trade{
			ID: sent.Load(), Price: 189_100_000_000, Size: 1_000_000_000, Time: time.Unix(1723161254, 0),
		}})
		if err != nil {
			return
		}
		sent.Add(1)
	}
}
