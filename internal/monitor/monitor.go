package monitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/internal/marketpb"
	"github.com/lzstock/lzstock/market"
)

// Monitor reads a bus and serves the MarketMonitor service.
type Monitor struct {
	cfg     Config
	log     Log
	logger  *slog.Logger
	metrics *metrics
	health  *health.Server
	current atomic.Pointer[engine] // serves; nil while starting and after the end
	readers sync.WaitGroup         // of streams' requests, and of the past for them; see Server
	sources sources                // the reporting goroutine's own
	failed  int                    // starts in a row that could not use the checkpoint; Run's own
}

// New makes a Monitor, which does nothing before Run.
func New(log Log, cfg Config) (*Monitor, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	m := &Monitor{cfg: cfg, log: log, logger: cfg.Logger, health: health.NewServer()}
	if m.metrics, err = newMetrics(cfg.Registry, m); err != nil {
		return nil, err
	}
	m.setServing(nil)
	return m, nil
}

// Run reads the bus until ctx ends, and returns its cause. It is called once.
func (m *Monitor) Run(ctx context.Context) error {
	defer m.health.Shutdown()
	for {
		err := m.life(ctx)
		switch {
		case errors.Is(err, errEpoch):
			m.failed = 0
		case errors.Is(err, errAgain):
			m.failed++
		default:
			return err
		}
		m.logger.LogAttrs(ctx, slog.LevelWarn, "starting over",
			slog.Uint64("epoch", uint64(m.log.Epoch())), slog.Any("reason", err))
		if err := sleep(ctx, jitter(m.failed)); err != nil {
			return err
		}
	}
}

// life reads one epoch of the bus.
func (m *Monitor) life(ctx context.Context) error {
	h, err := hub.New(hub.Config{
		Slice:  16384, // a stream is a gateway, all of whose clients wait
		Shards: m.cfg.Shards, History: m.cfg.History, Window: m.cfg.Window, Open: true,
		Encode: func(dst []byte, _ int, e *market.Event) []byte { return marketpb.AppendBody(dst, e) },
	})
	if err != nil {
		return fmt.Errorf("monitor: %w", err)
	}
	e := newEngine(m, h)
	defer m.setServing(nil)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return h.Run(ctx) })
	g.Go(func() error { return e.run(ctx) })
	g.Go(func() error { return e.report(ctx) })
	g.Go(func() error { return e.lag(ctx) })
	if m.cfg.Pulses != nil {
		g.Go(func() error { return e.listen(ctx) })
	}
	return g.Wait()
}

// setServing says what serves from now on; nil means nothing does.
func (m *Monitor) setServing(e *engine) {
	m.current.Store(e)
	status := healthpb.HealthCheckResponse_SERVING
	if e == nil {
		status = healthpb.HealthCheckResponse_NOT_SERVING
		m.metrics.state.Set(0)
	}
	m.health.SetServingStatus("", status)
	m.health.SetServingStatus(pb.MarketMonitor_ServiceDesc.ServiceName, status)
}

// Status is how a Monitor does.
type Status struct {
	Serving  bool            // it has caught up once
	Feed     market.Feed     // zero while not serving
	Position market.Position // how far it has read
	Streams  int             // open Watch and StreamPrices streams
}

// Status tells how the monitor does.
func (m *Monitor) Status() Status {
	e := m.current.Load()
	if e == nil {
		return Status{}
	}
	return Status{Serving: true, Feed: *e.feed.Load(), Position: e.position(), Streams: e.hub.Stats().Members}
}

// Symbol reports whether the monitor holds a symbol, and how many it holds; 0 while
// it is not serving.
func (m *Monitor) Symbol(s market.Symbol) (known bool, all int) {
	if e := m.current.Load(); e != nil {
		return e.symbols.look(s)
	}
	return false, 0
}

func (m *Monitor) hubStats() hub.Stats {
	if e := m.current.Load(); e != nil {
		return e.hub.Stats()
	}
	return hub.Stats{}
}

// wholeQueues is how many streams get the whole of Config.Queue. A stream that comes
// when there are more gets its share of as much, since an event that waits takes some
// 125 bytes.
const wholeQueues = 32

// queue gives the options of a stream's mailbox.
func (m *Monitor) queue(mode mailbox.Mode) mailbox.Options {
	streams := max(m.hubStats().Members, wholeQueues)
	return mailbox.Options{Mode: mode, Limit: max(m.cfg.Queue*wholeQueues/streams, 1)}
}
