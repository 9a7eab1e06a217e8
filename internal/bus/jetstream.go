package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/lzstock/lzstock/internal/safetext"
	"github.com/lzstock/lzstock/market"
)

// A lost bus is known after probeEvery + probeTimeout at the latest.
const (
	probeEvery   = 250 * time.Millisecond
	probeTimeout = 500 * time.Millisecond
	callTimeout  = 2 * time.Second
)

// JetStream is the bus over NATS. Its methods may be called from any goroutine.
type JetStream struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	stream  StreamConfig
	logger  *slog.Logger
	metrics *metrics
	health  *health
	alive   atomic.Int64  // when the bus last answered, Unix nanoseconds
	kick    chan struct{} // asks for a probe now
	ended   chan struct{} // closed when nats.go has ended
	stop    context.CancelFunc
	wg      sync.WaitGroup
	once    sync.Once
}

// Dial connects and makes sure that the stream exists as the configuration
// wants it. Close must be called. ctx bounds the dialling alone. An error that is
// ErrLost may pass: nobody listens yet, or the cluster has no leader yet.
func Dial(ctx context.Context, cfg Config) (*JetStream, error) {
	if err := cfg.Stream.validate(); err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	opts, err := cfg.options()
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	m, err := newMetrics(cfg.Registry)
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	b := &JetStream{
		stream: cfg.Stream, logger: orDiscard(cfg.Logger), metrics: m,
		kick: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	opts = append(opts,
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { b.disconnected(err) }),
		nats.ReconnectHandler(func(*nats.Conn) { b.probeSoon() }),
		nats.ClosedHandler(func(*nats.Conn) { close(b.ended) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			b.logger.Warn("nats client", slog.Any("error", err))
		}),
	)
	base := context.WithoutCancel(ctx)
	b.health = newHealth(0)
	if b.nc, err = nats.Connect(cfg.URL, opts...); err != nil {
		return nil, fmt.Errorf("bus: connect to %s: %w", cfg.where(), safetext.Error(unreachable(err)))
	}
	if b.js, err = jetstream.New(b.nc); err == nil {
		var info *jetstream.StreamInfo
		if info, err = b.ensure(ctx); err == nil {
			b.health.up(epochOf(info))
		}
	}
	if err != nil {
		b.nc.Close()
		<-b.ended
		return nil, fmt.Errorf("bus: %s: %w", cfg.where(), err)
	}
	b.touch()
	b.metrics.up.Set(1)
	life, stop := context.WithCancel(base)
	b.stop = stop
	b.wg.Go(func() { b.supervise(life) })
	return b, nil
}

func (c *Config) where() string {
	if c.Server != nil {
		return "the embedded server"
	}
	return safetext.List(c.URL)
}

// Epoch gives the epoch of the stream. It changes where the stream is created
// anew while the bus is used; reads then end with ErrEpoch.
func (b *JetStream) Epoch() market.Epoch { return b.health.currentEpoch() }

// Health says whether the bus can be reached.
func (b *JetStream) Health() Health { return b.health.get() }

// Healthy reports whether the bus can be reached.
func (b *JetStream) Healthy() bool { return b.health.get().OK }

// Close ends all that uses the bus with ErrClosed and waits for what it started.
func (b *JetStream) Close() error {
	b.once.Do(func() {
		b.health.lost(ErrClosed)
		b.stop()
		b.wg.Wait()
		b.nc.Close()
		<-b.ended
		b.metrics.up.Set(0)
	})
	return nil
}

// Bounds gives the places of the first events of the first and of the last
// batch that are held. Where none is, first is after last.
func (b *JetStream) Bounds(ctx context.Context) (first, last market.Seq, err error) {
	info, err := b.info(ctx, callTimeout)
	if err != nil {
		return 0, 0, fmt.Errorf("bounds of stream %s: %w", b.stream.Name, err)
	}
	head, tail := bounds(info)
	return market.MakeSeq(head, 0), market.MakeSeq(tail, 0), nil
}

// bounds gives the sequences of the first and the last batch held; the first is
// one more than the last where there is none.
func bounds(info *jetstream.StreamInfo) (first, last uint64) {
	s := &info.State
	if s.Msgs == 0 {
		return s.LastSeq + 1, s.LastSeq
	}
	return s.FirstSeq, s.LastSeq
}

// info asks for the stream's state.
func (b *JetStream) info(ctx context.Context, patience time.Duration) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s, err := b.js.Stream(ctx, b.stream.Name)
	if err != nil {
		return nil, b.failure(ctx, err)
	}
	b.touch()
	return s.CachedInfo(), nil
}

// failure gives an error of ours for what a call to NATS returned under ctx.
func (b *JetStream) failure(ctx context.Context, err error) error {
	if why := context.Cause(ctx); why != nil && !errors.Is(why, context.DeadlineExceeded) {
		return why
	}
	if h := b.health.get(); errors.Is(h.Err, ErrClosed) {
		return ErrClosed
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrLost, err)
}

func (b *JetStream) touch() { b.alive.Store(time.Now().UnixNano()) }

func (b *JetStream) probeSoon() {
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

func (b *JetStream) disconnected(err error) {
	if err == nil {
		err = errors.New("the connection was closed")
	}
	b.lose(err)
}

func (b *JetStream) lose(err error) {
	if b.health.lost(fmt.Errorf("%w: %w", ErrLost, err)) {
		b.metrics.up.Set(0)
		b.metrics.losses.Inc()
		b.logger.Warn("bus lost", slog.Any("error", err))
	}
}

// supervise asks for the stream's state again and again. It is the one who says
// that a lost bus is back.
func (b *JetStream) supervise(ctx context.Context) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-b.kick:
		}
		b.probe(ctx)
	}
}

func (b *JetStream) probe(ctx context.Context) {
	info, err := b.info(ctx, probeTimeout)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		b.logger.Warn("stream is missing, creating it", slog.String("stream", b.stream.Name))
		info, err = b.ensure(ctx)
	}
	switch {
	case ctx.Err() != nil:
	case err == nil:
		since := b.health.get().Since
		old := b.health.currentEpoch()
		if b.health.up(epochOf(info)) {
			b.metrics.up.Set(1)
			b.logger.Info("bus is back", slog.Duration("after", time.Since(since)), slog.Bool("new_epoch", epochOf(info) != old))
		}
	// Other answers count as well: under load this one may be late.
	case time.Now().UnixNano()-b.alive.Load() > int64(probeTimeout):
		b.lose(err)
	}
}

func epochOf(info *jetstream.StreamInfo) market.Epoch {
	return market.Epoch(info.Created.UnixMilli())
}

// jitter gives a random part of d, so that many do not come back at once.
func jitter(d time.Duration) time.Duration { return rand.N(max(d, 1)) }
