package monitor

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/monitor/bars"
	"github.com/lzstock/lzstock/market"
)

// engine is what a monitor knows of one epoch. Its fields are the reader's own
// but for those that say otherwise.
type engine struct {
	*Monitor
	epoch   market.Epoch
	hub     *hub.Hub
	symbols *directory // for any goroutine to list
	bars    *bars.Builder
	scratch []market.Event // derived events of the batch in hand
	history history
	keeper  *keeper // its store is for any goroutine to ask
	batch   uint64  // the last that was read
	target  uint64  // the batch to have read before the feed is live
	holes   int     // attempts in a row that met a hole right away
	lostAt  time.Time

	read atomic.Uint64               // the last place that was published; for anybody
	feed atomic.Pointer[market.Feed] // for anybody, once set; report's to set

	bus     atomic.Uint32      // how the bus is, a market.FeedState; 0 before it was live once
	lagging atomic.Bool        // what the bus holds is not read in time
	news    chan chan struct{} // for report, which closes what comes: the bus's state changed
	pulses  chan Pulse         // for report

	full    bool       // symbols were left out, and that was logged
	counted bars.Stats // in the metrics already
	savedAt time.Time
	saved   uint64 // batch of the last checkpoint
	saving  errgroup.Group

	rereading chan struct{} // holds a token for each replay that reads the bus
}

func newEngine(m *Monitor, h *hub.Hub) *engine {
	e := &engine{
		Monitor: m, epoch: m.log.Epoch(), hub: h, symbols: newDirectory(m.cfg.Names, m.cfg.Symbols),
		bars: bars.New(bars.Config{Zone: m.cfg.Zone}), rereading: make(chan struct{}, rereads),
		news: make(chan chan struct{}), pulses: make(chan Pulse),
	}
	e.keeper = newKeeper(e)
	e.saving.SetLimit(1)
	return e
}

// position gives how far the engine has read.
func (e *engine) position() market.Position {
	return market.Position{Epoch: e.epoch, Seq: market.Seq(e.read.Load())}
}

// run restores the state, then reads until ctx ends or the epoch is another.
func (e *engine) run(ctx context.Context) error {
	defer func() { _ = e.saving.Wait() }() // its failures are logged where they occur
	if err := e.start(ctx); err != nil {
		return err
	}
	for attempt := 0; ; attempt++ {
		before := e.batch
		err := e.consume(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if e.batch != before {
			attempt, e.lostAt = 0, time.Time{}
		}
		e.metrics.rereads.Inc()
		e.logger.LogAttrs(ctx, slog.LevelWarn, "reading the bus ended",
			slog.Uint64("batch", e.batch), slog.Any("error", err))
		if err := e.recover(ctx, err, attempt); err != nil {
			return err
		}
	}
}

// apply publishes one message and what it derives.
func (e *engine) apply(ctx context.Context, m *Message) error {
	var listed []market.Symbol
	m.Events, listed = e.admitted(ctx, m.Events)
	events := e.derive(m)
	if len(listed) > 0 {
		if err := e.hub.List(ctx, listed); err != nil {
			return err
		}
	}
	to := market.MakeSeq(m.Batch, 0)
	if len(events) > 0 {
		to = events[len(events)-1].Seq
		e.metrics.published(events)
		if err := e.hub.Publish(ctx, events); err != nil {
			return err
		}
	} else if err := e.hub.Advance(ctx, to); err != nil {
		return err
	}
	e.batch = m.Batch
	e.read.Store(uint64(to))
	e.metrics.position.Set(float64(to))
	e.metrics.applied(m, time.Now())
	if n := uint64(e.cfg.Stretch); n > 0 && m.Batch-e.history.newest() >= n {
		m, err := e.mark(ctx)
		if err != nil {
			return err
		}
		e.history.push(m)
	}
	return nil
}

// admitted returns those of a message's events whose symbols the monitor holds, or
// has room for, and the symbols that are new. Whole symbols are left out, so that what
// is there has no holes.
func (e *engine) admitted(ctx context.Context, events []market.Event) (_ []market.Event, listed []market.Symbol) {
	all := len(events)
	events = slices.DeleteFunc(events, func(ev market.Event) bool {
		has, first := e.symbols.add(ev.Symbol)
		if first {
			listed = append(listed, ev.Symbol)
		}
		if has {
			return false
		}
		if !e.full {
			e.full = true
			e.logger.LogAttrs(ctx, slog.LevelWarn, "the feed has carried more symbols than the monitor holds: further ones are left out",
				slog.String("first", string(ev.Symbol)), slog.Int("symbols", e.cfg.Symbols), slog.String("advice", "raise --symbols-most on all monitors alike"))
		}
		return true
	})
	e.metrics.leftOut.Add(float64(all - len(events)))
	return events, listed
}

// mark gives the topics' values as they are now.
func (e *engine) mark(ctx context.Context) (mark, error) {
	values, _, err := e.hub.Snapshot(ctx, allTopics())
	return mark{at: market.Seq(e.read.Load()), values: values}, err
}

// allTopics names every topic there is.
func allTopics() (out []market.Topic) {
	for _, c := range market.Channels() {
		out = append(out, market.Topic{Channel: c, Symbol: market.AllSymbols})
	}
	return out
}

// derive gives the message's events, each with what it derives right behind it.
func (e *engine) derive(m *Message) []market.Event {
	var out []market.Event // the message's own while nothing is derived
	for i := range m.Events {
		e.scratch = e.bars.Add(e.scratch[:0], m.Source, &m.Events[i])
		if over := e.bars.Over(); len(over) > 0 {
			e.keeper.add(m.Events[i].Seq, m.Stored, over)
		}
		if len(e.scratch) > 0 && out == nil {
			out = make([]market.Event, i, len(m.Events)+max(len(e.scratch), 8))
			copy(out, m.Events)
		}
		if out != nil {
			out = append(append(out, m.Events[i]), e.scratch...)
			if e.cfg.Stretch > 0 {
				e.history.add(e.scratch)
			}
		}
	}
	if now := e.bars.Stats(); now != e.counted {
		e.metrics.bars(e.counted, now)
		e.counted = now
	}
	if out == nil {
		return m.Events
	}
	return out
}

// caughtUp makes the feed live once everything is read that the bus held when it
// was last looked at.
func (e *engine) caughtUp(ctx context.Context) error {
	if e.batch < e.target {
		return nil
	}
	e.lostAt = time.Time{}
	return e.tell(ctx, market.FeedLive)
}

// jitter gives how long to wait before an attempt: anything up to a limit that
// doubles with each.
func jitter(attempt int) time.Duration {
	const least, most = 50 * time.Millisecond, time.Second
	return rand.N(min(most, least<<min(attempt, 10)))
}

// sleep waits, or gives the cause that ended ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
