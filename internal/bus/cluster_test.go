package bus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lzstock/lzstock/internal/bus"
	"github.com/lzstock/lzstock/market"
)

const nodes = 3

// cluster is three servers of one process.
type cluster struct {
	t   *testing.T
	cfg [nodes]bus.EmbeddedConfig
	mu  sync.Mutex
	on  [nodes]*bus.Embedded
}

// nextPort is the last port that freePort gave: the nodes must know one another's
// before they start. Ports below the system's own range stay free meanwhile.
var nextPort atomic.Int64

func freePort(t *testing.T) string {
	t.Helper()
	const first, count = 12_000, 20_000
	nextPort.CompareAndSwap(0, int64(os.Getpid()))
	for range count {
		addr := fmt.Sprintf("127.0.0.1:%d", first+nextPort.Add(1)%count)
		if l, err := net.Listen("tcp", addr); err == nil {
			must(t, l.Close())
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t}
	var routes []string
	for range nodes {
		routes = append(routes, freePort(t))
	}
	for i := range c.cfg {
		c.cfg[i] = bus.EmbeddedConfig{
			Name: fmt.Sprint("n", i), Dir: t.TempDir(), Listen: freePort(t), MaxStore: 16 << 30,
			Cluster: &bus.ClusterConfig{Listen: routes[i], Routes: routes},
		}
		c.start(i)
	}
	t.Cleanup(func() {
		for i := range c.on {
			c.kill(i)
		}
	})
	c.await("every node is ready", func() bool { return c.ready() == nodes })
	return c
}

func (c *cluster) start(i int) {
	c.t.Helper()
	e, err := bus.StartEmbedded(c.cfg[i], nil)
	must(c.t, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on[i] = e
}

func (c *cluster) kill(i int) {
	c.mu.Lock()
	e := c.on[i]
	c.on[i] = nil
	c.mu.Unlock()
	if e != nil {
		must(c.t, e.Kill())
	}
}

func (c *cluster) each(do func(i int, e *bus.Embedded) bool) int {
	c.mu.Lock()
	on := c.on
	c.mu.Unlock()
	n := 0
	for i, e := range on {
		if e != nil && do(i, e) {
			n++
		}
	}
	return n
}

func (c *cluster) ready() int {
	return c.each(func(_ int, e *bus.Embedded) bool { return e.Ready() == nil })
}

// leader gives the node that leads a stream, waiting for one.
func (c *cluster) leader(stream string) int {
	c.t.Helper()
	at := -1
	c.await("a leader of "+stream, func() bool {
		c.each(func(i int, e *bus.Embedded) bool {
			if e.Leads(stream) {
				at = i
			}
			return true
		})
		return at >= 0
	})
	return at
}

// urls names all nodes.
func (c *cluster) urls() string {
	var all []string
	for i := range c.cfg {
		all = append(all, "nats://"+c.cfg[i].Listen)
	}
	return strings.Join(all, ",")
}

func (c *cluster) await(what string, ok func() bool) {
	c.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(40 * time.Second); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			c.t.Fatalf("waited 40 s: %s did not come", what)
		}
	}
}

// dial connects with three copies, as soon as the cluster can have them.
func (c *cluster) dial(cfg bus.Config) *bus.JetStream {
	c.t.Helper()
	cfg.URL, cfg.Stream.Replicas, cfg.Stream.MaxBytes = c.urls(), nodes, 64<<20
	cfg.Logger = slog.New(slog.NewTextHandler(c.t.Output(), nil))
	var b *bus.JetStream
	c.await("a connection", func() bool {
		var err error
		if b, err = bus.Dial(c.t.Context(), cfg); err != nil && !errors.Is(err, bus.ErrLost) {
			c.t.Fatal(err)
		}
		return err == nil
	})
	c.t.Cleanup(func() { must(c.t, b.Close()) })
	return b
}

// TestElectionIsFast looks whether nats-server still has the variables that make
// it so: one that it does not have is ours alone, and zero.
func TestElectionIsFast(t *testing.T) {
	want := []time.Duration{time.Second, 4 * time.Second, 9 * time.Second, 10 * time.Second, 10 * time.Second}
	if got := bus.ElectionVariables(); !slices.Equal(got, want) {
		t.Errorf("nats-server's times of elections are %v, want %v: look at elect.go", got, want)
	}
}

// TestNodesDie kills leaders, followers and connections while a batcher publishes
// and a reader reads. Every event must come once, in order.
func TestNodesDie(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	c := startCluster(t)
	publisher, reader := c.dial(bus.Config{}), c.dial(bus.Config{})
	batcher, err := bus.NewBatcher(publisher, "tape", bus.BatcherConfig{Buffer: 512, MaxEvents: 16})
	must(t, err)
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	wg.Go(func() {
		if err := batcher.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	var sent, read atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	wg.Go(func() {
		defer close(stopped)
		tick := time.NewTicker(100 * time.Microsecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				if err := batcher.Close(ctx); err != nil {
					t.Error(err)
				}
				return
			case <-tick.C:
			}
			if err := batcher.Add(ctx, trades(int(sent.Load()), 1)...); err != nil {
				t.Error(err)
				return
			}
			sent.Add(1)
		}
	})
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
						t.Errorf("trade %d came in place of %d", e.Trade.ID, read.Load())
						cancel()
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
		from, begin := read.Load(), time.Now()
		c.await("events after "+what, func() bool { return read.Load() > from+100 || ctx.Err() != nil })
		t.Logf("after %s: events again within %s", what, time.Since(begin).Round(time.Millisecond))
	}
	goesOn("the start")
	for round := range 4 {
		if round%2 == 0 { // acknowledgements are lost
			for range 1 + random.IntN(4) {
				c.each(func(_ int, e *bus.Embedded) bool { must(t, e.Drop()); return true })
				goesOn("all connections were cut")
			}
		}
		victim := c.leader(bus.DefaultStream)
		if round == 3 {
			victim = (victim + 1 + random.IntN(2)) % nodes
		}
		c.kill(victim)
		goesOn(fmt.Sprintf("node %d was killed", victim))
		c.start(victim)
		c.await("all nodes are ready", func() bool { return c.ready() == nodes })
	}
	close(stop)
	<-stopped
	c.await("the last event", func() bool { return read.Load() == sent.Load() || ctx.Err() != nil })
	if read.Load() != sent.Load() {
		t.Errorf("%d events sent, %d read", sent.Load(), read.Load())
	}
	s := batcher.Stats()
	t.Logf("%d events in %d batches, %d of them repeated after they were stored", s.Events, s.Batches, s.Duplicates)
}
