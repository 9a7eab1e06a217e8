package monitor

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/lzstock/lzstock/internal/monitor/bars"
	"github.com/lzstock/lzstock/market"
)

// checkpointTries is how many starts in a row may fail with the checkpoint
// before one does without.
const checkpointTries = 3

// start loads the last checkpoint, as far as it is of use.
func (e *engine) start(ctx context.Context) error {
	began := time.Now()
	first, err := e.look(ctx)
	if err != nil {
		return err
	}
	if err := e.keeper.load(ctx, endOf(e.target)); err != nil {
		return err
	}
	e.savedAt = time.Now()
	from := "nothing"
	if c := e.loadCheckpoint(ctx, first); c != nil {
		from = "checkpoint"
		if err := e.restore(ctx, c); err != nil {
			return err
		}
	} else {
		base := endBefore(first)
		if err := e.hub.Base(ctx, base); err != nil {
			return err
		}
		if err := e.hub.Advance(ctx, base); err != nil {
			return err
		}
		e.reached(base, mark{at: base}, nil)
	}
	e.metrics.restored.WithLabelValues(from).Inc()
	e.logger.LogAttrs(ctx, slog.LevelInfo, "starting", slog.String("from", from), slog.String("position", e.position().String()),
		slog.Uint64("batches_to_read", e.target-min(e.target, e.batch)), slog.Duration("took", time.Since(began)))
	return nil
}

// look waits until the bus says what it holds, and makes that the target.
func (e *engine) look(ctx context.Context) (first market.Seq, err error) {
	for attempt := 0; ; attempt++ {
		bound, cancel := context.WithTimeout(ctx, 4*probeTimeout)
		first, last, err := e.log.Bounds(bound)
		cancel()
		switch {
		case ctx.Err() != nil:
			return 0, context.Cause(ctx)
		case err == nil && e.log.Epoch() != e.epoch:
			return 0, errEpoch
		case err == nil:
			e.target = last.Batch()
			return first, nil
		}
		e.logger.LogAttrs(ctx, slog.LevelWarn, "the bus does not answer yet", slog.Any("error", err))
		if err := sleep(ctx, jitter(attempt)); err != nil {
			return 0, err
		}
	}
}

// loadCheckpoint gives the last checkpoint, or nil where there is none of use,
// and loads the bars.
func (e *engine) loadCheckpoint(ctx context.Context, first market.Seq) *checkpoint {
	if e.failed >= checkpointTries {
		return nil
	}
	data, err := e.log.LoadCheckpoint(ctx, e.cfg.CheckpointName)
	if err != nil {
		e.logger.LogAttrs(ctx, slog.LevelInfo, "no checkpoint: reading all that the bus holds", slog.Any("reason", err))
		return nil
	}
	builder := bars.New(bars.Config{Zone: e.cfg.Zone})
	c, err := decodeCheckpoint(data)
	if err == nil {
		err = c.usable(e.epoch, first, market.MakeSeq(e.target, 0), builder)
	}
	if err != nil {
		e.logger.LogAttrs(ctx, slog.LevelError, "the checkpoint is of no use: reading all that the bus holds", slog.Any("error", err))
		return nil
	}
	e.bars = builder
	return c
}

// reached says that everything up to a place is in the hub.
func (e *engine) reached(to market.Seq, base mark, derived []market.Event) {
	e.batch = to.Batch()
	e.read.Store(uint64(to))
	e.metrics.position.Set(float64(to))
	e.history.begin(base, derived)
}

// restore fills the hub from a checkpoint: the values of before the stretch, the
// stretch from the bus, and what derives from it from the checkpoint.
func (e *engine) restore(ctx context.Context, c *checkpoint) error {
	for i := range c.base.values {
		e.symbols.add(c.base.values[i].Symbol)
	}
	if err := e.hub.Base(ctx, c.base.at); err != nil {
		return err
	}
	// The hub takes over what it is given; the values serve again.
	if err := e.hub.Replace(ctx, nil, slices.Clone(c.base.values)); err != nil {
		return err
	}
	if err := e.stretch(ctx, c); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("%w: %w", errAgain, err)
	}
	if err := e.hub.Advance(ctx, c.position.Seq); err != nil {
		return err
	}
	e.reached(c.position.Seq, c.base, c.derived)
	e.saved = e.batch
	return nil
}

// stretch publishes the batches between the base and the checkpoint again. The
// bars are those of the checkpoint already, so derived events come from it.
func (e *engine) stretch(ctx context.Context, c *checkpoint) error {
	next, end := c.base.at.Batch()+1, c.position.Seq.Batch()
	if next > end {
		return nil
	}
	derived := c.derived
	for m, err := range e.log.Read(ctx, endOf(next-1)) {
		if err != nil {
			return err
		}
		if m.Batch != next || m.Epoch != e.epoch {
			return errHole
		}
		m.Events, _ = e.admitted(ctx, m.Events)
		events := make([]market.Event, 0, len(m.Events))
		for i := range m.Events {
			events = append(events, m.Events[i])
			for len(derived) > 0 && derived[0].Seq == m.Events[i].Seq {
				events = append(events, derived[0])
				derived = derived[1:]
			}
		}
		if err := e.hub.Publish(ctx, events); err != nil {
			return err
		}
		if next++; next > end {
			return nil
		}
	}
	return errSilent
}

// checkpoint saves the state where it is time to. What takes long is done aside,
// one at a time.
func (e *engine) checkpoint(ctx context.Context) error {
	if e.cfg.CheckpointEvery < 0 || e.batch == e.saved || time.Since(e.savedAt) < e.cfg.CheckpointEvery {
		return nil
	}
	if e.cfg.Stretch == 0 {
		m, err := e.mark(ctx)
		if err != nil {
			return err
		}
		e.history.begin(m, nil)
	}
	c := &checkpoint{
		position: e.position(), base: e.history.marks[0], derived: slices.Clone(e.history.derived), zone: e.bars.Zone(),
	}
	c.sources = e.bars.Save()
	// Where the one before is still under way, the next time will do.
	e.savedAt = time.Now()
	fresh := e.keeper.pending
	if e.saving.TryGo(func() error { e.save(ctx, c, fresh); return nil }) {
		e.saved, e.keeper.pending = e.batch, nil
	}
	return nil
}

// save saves the bars that are known up to the checkpoint, then the checkpoint: a
// start from it does not derive them again.
func (e *engine) save(ctx context.Context, c *checkpoint, fresh []kept) {
	err := e.keeper.save(ctx, fresh, c.position.Seq)
	var data []byte
	if err == nil {
		data, err = c.encode()
	}
	if err == nil {
		err = e.log.SaveCheckpoint(ctx, e.cfg.CheckpointName, data)
	}
	if err != nil {
		e.metrics.saved.WithLabelValues("failed").Inc()
		if ctx.Err() == nil {
			e.logger.LogAttrs(ctx, slog.LevelError, "the checkpoint was not saved", slog.Any("error", err))
		}
		return
	}
	e.metrics.saved.WithLabelValues("saved").Inc()
	e.metrics.size.Set(float64(len(data)))
}
