package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lzstock/lzstock/market"
)

// BatcherConfig configures a Batcher; its zero value works.
type BatcherConfig struct {
	// MaxDelay is the greatest time for which an event waits for others, while
	// the bus keeps up; 1 ms by default.
	MaxDelay time.Duration
	// MaxEvents is the greatest number of events in a batch, 1 to 256, which is
	// the default.
	MaxEvents int
	// Buffer is the number of events that may wait before Add does; 4,096 by
	// default.
	Buffer int
	// Logger and Registry may be nil.
	Logger   *slog.Logger
	Registry prometheus.Registerer
}

// Batcher gathers one source's events into batches and publishes them in order,
// one at a time. An event that comes while nothing was sent for MaxDelay goes at
// once; under load a batch goes when it is full or MaxDelay after the one
// before, as soon as that is stored. When the bus is slow, up to Buffer events
// wait, and then Add does: nothing is dropped.
type Batcher struct {
	pub     Publisher
	source  string
	cfg     BatcherConfig
	logger  *slog.Logger
	metrics *metrics
	prefix  string // of the batches' ids: no other batcher has it
	number  uint64
	warned  time.Time
	wake    chan struct{} // there is something to do for Run
	space   chan struct{} // there is room for Add
	done    chan struct{} // Run has ended

	mu      sync.Mutex
	pending []market.Event
	closed  bool
	err     error // of Run, once done is closed
	stats   BatcherStats
}

// BatcherStats tells what a Batcher did.
type BatcherStats struct {
	Batches, Events uint64        // stored
	Duplicates      uint64        // batches that the bus had already, after a lost acknowledgement
	Pending         int           // events that wait
	Blocked         time.Duration // for which Add had to wait
}

// NewBatcher makes the batcher of one source. Run must run for it to work.
func NewBatcher(pub Publisher, source string, cfg BatcherConfig) (*Batcher, error) {
	if err := ValidateSource(source); err != nil {
		return nil, fmt.Errorf("batcher: %w", err)
	}
	const usualBuffer = 4096
	if cfg.MaxDelay == 0 {
		cfg.MaxDelay = time.Millisecond
	}
	if cfg.MaxEvents == 0 {
		cfg.MaxEvents = market.BatchLimit
	}
	if cfg.Buffer == 0 {
		cfg.Buffer = usualBuffer
	}
	if cfg.MaxEvents < 1 || cfg.MaxEvents > market.BatchLimit {
		return nil, fmt.Errorf("batcher: %d events a batch: want 1 to %d", cfg.MaxEvents, market.BatchLimit)
	}
	if cfg.MaxDelay < 0 || cfg.Buffer < cfg.MaxEvents {
		return nil, fmt.Errorf("batcher: delay %s and buffer %d: want no negative delay, and room for a batch of %d",
			cfg.MaxDelay, cfg.Buffer, cfg.MaxEvents)
	}
	m, err := newMetrics(cfg.Registry)
	if err != nil {
		return nil, fmt.Errorf("batcher: %w", err)
	}
	return &Batcher{
		pub: pub, source: source, cfg: cfg, logger: orDiscard(cfg.Logger), metrics: m, prefix: rand.Text(),
		wake: make(chan struct{}, 1), space: make(chan struct{}, 1), done: make(chan struct{}),
		pending: make([]market.Event, 0, cfg.Buffer),
	}, nil
}

// Add takes events over, in order. It is called from one goroutine, copies what
// it is given, and returns when all of it has room; an error means that the
// rest was not taken: the cause of ctx, or why Run has ended.
func (b *Batcher) Add(ctx context.Context, events ...market.Event) error {
	for len(events) > 0 {
		n, err := b.append(events)
		if err != nil {
			return err
		}
		if events = events[n:]; len(events) > 0 {
			if err := b.await(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// append takes as many events as have room.
func (b *Batcher) append(events []market.Event) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, errors.Join(fmt.Errorf("batcher of %s: %w", b.source, ErrClosed), b.err)
	}
	before := len(b.pending)
	n := min(len(events), b.cfg.Buffer-before)
	b.pending = append(b.pending, events[:n]...)
	if after := len(b.pending); (before == 0 && after > 0) || (before < b.cfg.MaxEvents && after >= b.cfg.MaxEvents) {
		signal(b.wake)
	}
	return n, nil
}

// await waits for room, and reports that it had to.
func (b *Batcher) await(ctx context.Context) error {
	const (
		notable = time.Second
		rarely  = 10 * time.Second
	)
	start := time.Now()
	timer := time.NewTimer(notable)
	defer timer.Stop()
	defer func() {
		blocked := time.Since(start)
		b.metrics.backpressure.Add(blocked.Seconds())
		b.mu.Lock()
		b.stats.Blocked += blocked
		b.mu.Unlock()
	}()
	for {
		select {
		case <-b.space:
			return nil
		case <-b.done: // append says why
			return nil
		case <-ctx.Done():
			return fmt.Errorf("batcher of %s: %w", b.source, context.Cause(ctx))
		case <-timer.C:
			if b.warned.IsZero() || time.Since(b.warned) >= rarely {
				b.warned = time.Now()
				b.logger.Warn("the bus is slow: the source waits", slog.String("source", b.source),
					slog.Int("pending", b.cfg.Buffer), slog.Duration("for", time.Since(start)))
			}
			timer.Reset(rarely)
		}
	}
}

// Run publishes until Close was called and nothing waits any more, or ctx ends,
// or a batch cannot be published at all. Its error then says how many events
// were not.
func (b *Batcher) Run(ctx context.Context) error {
	err := b.run(ctx)
	b.mu.Lock()
	if err != nil {
		err = fmt.Errorf("batcher of %s: %d events were not published: %w", b.source, len(b.pending), err)
	}
	b.closed, b.err = true, err
	b.mu.Unlock()
	b.metrics.pending.Set(0)
	close(b.done)
	return err
}

// Close takes no more events, waits until all that wait are published and Run
// has ended, and gives the error of Run. Where ctx ends first, its cause.
func (b *Batcher) Close(ctx context.Context) error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	signal(b.wake)
	select {
	case <-b.done:
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.err
	case <-ctx.Done():
		return fmt.Errorf("close the batcher of %s: %w", b.source, context.Cause(ctx))
	}
}

// Stats tells what was done so far.
func (b *Batcher) Stats() BatcherStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.stats
	s.Pending = len(b.pending)
	return s
}

func (b *Batcher) run(ctx context.Context) error {
	timer := time.NewTimer(b.cfg.MaxDelay)
	defer timer.Stop()
	batch := make([]market.Event, 0, b.cfg.MaxEvents)
	var sent time.Time
	for {
		b.mu.Lock()
		waiting, closed := len(b.pending), b.closed
		b.mu.Unlock()
		var delay <-chan time.Time
		switch rest := b.cfg.MaxDelay - time.Since(sent); {
		case waiting == 0 && closed:
			return nil
		case waiting == 0:
		case waiting >= b.cfg.MaxEvents || closed || rest <= 0:
			batch = b.first(batch)
			sent = time.Now()
			if err := b.publish(ctx, batch); err != nil {
				return err
			}
			b.drop(len(batch))
			continue
		default:
			timer.Reset(rest)
			delay = timer.C
		}
		select {
		case <-b.wake:
		case <-delay:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// first copies the next batch, which stays pending until it is stored.
func (b *Batcher) first(batch []market.Event) []market.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append(batch[:0], b.pending[:min(len(b.pending), b.cfg.MaxEvents)]...)
}

// drop removes what was stored.
func (b *Batcher) drop(n int) {
	b.mu.Lock()
	rest := copy(b.pending, b.pending[n:])
	clear(b.pending[rest:])
	b.pending = b.pending[:rest]
	b.mu.Unlock()
	b.metrics.pending.Set(float64(rest))
	signal(b.space)
}

// publish stores one batch, in halves where it is too large for the bus.
func (b *Batcher) publish(ctx context.Context, events []market.Event) error {
	b.number++
	stored, err := b.pub.Publish(ctx, Batch{
		Source: b.source, ID: b.prefix + "-" + strconv.FormatUint(b.number, 36), Events: events,
	})
	if errors.Is(err, ErrTooLarge) && len(events) > 1 {
		half := len(events) / 2
		if err := b.publish(ctx, events[:half]); err != nil {
			return err
		}
		return b.publish(ctx, events[half:])
	}
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stats.Batches++
	b.stats.Events += uint64(len(events))
	if stored.Duplicate {
		b.stats.Duplicates++
	}
	return nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
