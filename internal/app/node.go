package app

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lzstock/lzstock/internal/bus"
	"github.com/lzstock/lzstock/internal/obs"
)

const (
	// nodeWatch is how often a node looks whether its server still works.
	nodeWatch = time.Second
	// nodePause is the time between two attempts to start it again.
	nodePause = 5 * time.Second
	// nodeRoom is how many bytes must be free before it is.
	nodeRoom = 16 << 20
)

// NodeConfig configures a process that is one server of the bus.
type NodeConfig struct {
	Admin AdminConfig
	Bus   bus.EmbeddedConfig
}

// Node runs one server of the bus until ctx ends. A server that gives up because
// its disk is full is started again until that works.
func Node(ctx context.Context, p Process, c NodeConfig) error {
	b, err := newBuilder(p)
	if err != nil {
		return err
	}
	return b.run(ctx, func(ctx context.Context) error {
		admin, err := b.admin(ctx, c.Admin, "bus")
		if err != nil {
			return err
		}
		n := &node{cfg: c.Bus, log: b.Logger, pause: nodePause}
		if err := n.start(); err != nil {
			return err
		}
		first := n.server.Load()
		b.owns(first)
		if err := b.warnBus(ctx, first, "add --nats-config, with users or verified certificates for clients and for the cluster"); err != nil {
			return err
		}
		if err := b.registry.Register(nodeCollector{n}); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
		b.checks = append(b.checks, obs.Check{Name: "bus", Ready: func() error { return n.server.Load().Ready() }})
		b.add(part{name: "bus", run: n.run, close: func() error { return n.server.Load().Close() }})
		return b.say("%s%s%s", nodeBanner(c.Bus, first), adminLine(admin), b.warnings())
	})
}

// nodeBanner tells what a node serves, and where.
func nodeBanner(c bus.EmbeddedConfig, e *bus.Embedded) string {
	var s strings.Builder
	fmt.Fprintf(&s, "The bus serves NATS with JetStream on %s\n", e.URL())
	if c.Cluster != nil {
		fmt.Fprintf(&s, "It is node %s of a cluster; the others reach it on %s\n", c.Name, e.ClusterAddr())
	}
	if c.Dir == "" {
		s.WriteString("Its data is in a temporary folder, and goes when it stops: --data DIR keeps it\n")
	}
	return s.String()
}

// node is a server that is started again where it has given up.
type node struct {
	cfg    bus.EmbeddedConfig
	log    *slog.Logger
	pause  time.Duration
	server atomic.Pointer[bus.Embedded]
	again  atomic.Int64 // times that it was started again
}

func (n *node) start() error {
	e, err := bus.StartEmbedded(n.cfg, n.log)
	if err != nil {
		return err
	}
	// The next one takes the same places: who knows them finds it again.
	n.cfg.Listen = strings.TrimPrefix(strings.TrimPrefix(e.URL(), "nats://"), "tls://")
	if n.cfg.Cluster != nil {
		cluster := *n.cfg.Cluster
		cluster.Listen = e.ClusterAddr()
		n.cfg.Cluster = &cluster
	}
	n.server.Store(e)
	return nil
}

// run watches the server until ctx ends.
func (n *node) run(ctx context.Context) error {
	tick := time.NewTicker(nodeWatch)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if why := n.server.Load().Broken(); why != nil {
			if err := n.restart(ctx, why); err != nil {
				return err
			}
		}
	}
}

// restart closes the server, so that the others of a cluster take over, and starts
// it again once there is room. Where its data was in a temporary folder, that is
// gone, and the process ends.
func (n *node) restart(ctx context.Context, why error) error {
	n.log.LogAttrs(ctx, slog.LevelError, "JetStream has ended on this node: is the disk full? It is started again once there is room",
		slog.String("data", n.cfg.Dir), slog.Any("error", why))
	if err := n.server.Load().Close(); err != nil {
		n.log.LogAttrs(ctx, slog.LevelWarn, "close the server", slog.Any("error", err))
	}
	if n.cfg.Dir == "" {
		return fmt.Errorf("JetStream has ended, and with it its temporary data: is the disk full? %w", why)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(n.pause):
		}
		err := bus.Room(n.cfg.Dir, nodeRoom)
		if err == nil {
			n.again.Add(1)
			err = n.start()
		}
		if err != nil {
			n.log.LogAttrs(ctx, slog.LevelError, "the node does not start yet", slog.Any("error", err))
			continue
		}
		n.log.LogAttrs(ctx, slog.LevelInfo, "the node runs again")
		return nil
	}
}

// nodeCollector shows what a node does.
type nodeCollector struct{ *node }

// Describe implements prometheus.Collector.
func (c nodeCollector) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, out) }

// Collect implements prometheus.Collector.
func (c nodeCollector) Collect(out chan<- prometheus.Metric) {
	e := c.server.Load()
	s, ready := e.Stats(), 0.0
	if e.Ready() == nil {
		ready = 1
	}
	leader := 0.0
	if s.Leader {
		leader = 1
	}
	for _, m := range []struct {
		name, help string
		kind       prometheus.ValueType
		value      float64
	}{
		{"ready", "1 while JetStream works here, a leader is known, and its streams are current.", prometheus.GaugeValue, ready},
		{"leader", "1 where this node leads the cluster.", prometheus.GaugeValue, leader},
		{"clients", "Connections of clients.", prometheus.GaugeValue, float64(s.Clients)},
		{"routes", "Connections to other nodes; several a node.", prometheus.GaugeValue, float64(s.Routes)},
		{"streams", "Streams of which this node has a copy.", prometheus.GaugeValue, float64(s.Streams)},
		{"store_bytes", "Bytes of streams in files.", prometheus.GaugeValue, float64(s.StoreUsed)},
		{"store_limit_bytes", "Bytes that streams in files may take.", prometheus.GaugeValue, float64(s.StoreMax)},
		{"restarts_total", "Times that the server was started again because JetStream had ended.", prometheus.CounterValue, float64(c.again.Load())},
	} {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc("lzstock_node_"+m.name, m.help, nil, nil), m.kind, m.value)
	}
}
