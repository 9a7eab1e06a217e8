package monitor

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lzstock/lzstock/market"
)

const (
	probeEvery   = 250 * time.Millisecond // while nothing comes, the bus is asked whether it is there
	probeTimeout = 500 * time.Millisecond
	downAfter    = 10 * time.Second
	holePatience = 3 // times that a hole is read again before it is given up
)

// consume reads on from where the engine is until something ends it.
func (e *engine) consume(ctx context.Context) error {
	if err := e.caughtUp(ctx); err != nil {
		return err
	}
	// Only reading ends with reading: what has been read is applied whole.
	reading, cancel := context.WithCancelCause(ctx)
	var came atomic.Uint64
	came.Store(e.batch)
	var probe sync.WaitGroup
	probe.Go(func() { e.probe(reading, &came, cancel) })
	defer probe.Wait()
	defer cancel(nil)
	for m, err := range e.log.Read(reading, endOf(e.batch)) {
		if err != nil {
			if why := context.Cause(reading); why != nil {
				return why
			}
			return err
		}
		switch {
		case m.Epoch != e.epoch:
			return errEpoch
		case m.Batch <= e.batch:
			continue // read already
		case m.Batch != e.batch+1:
			if e.holes++; e.holes == 1 {
				e.metrics.holes.WithLabelValues("noticed").Inc()
			}
			if e.holes <= holePatience {
				return errHole
			}
			if err := e.lose(ctx, m.Batch-1); err != nil {
				return err
			}
			e.metrics.holes.WithLabelValues("given_up").Inc()
		case e.holes > 0:
			e.metrics.holes.WithLabelValues("repaired").Inc()
		}
		e.holes = 0
		if err := e.apply(ctx, &m); err != nil {
			return err
		}
		came.Store(e.batch)
		if err := e.caughtUp(ctx); err != nil {
			return err
		}
		if err := e.checkpoint(ctx); err != nil {
			return err
		}
	}
	return errSilent // Read ends with an error by contract
}

// probe ends a read that the bus has forgotten: it watches while nothing comes.
func (e *engine) probe(ctx context.Context, came *atomic.Uint64, end context.CancelCauseFunc) {
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	seen, behind := came.Load(), 0
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if now := came.Load(); now != seen {
			seen, behind = now, 0
			continue
		}
		bound, cancel := context.WithTimeout(ctx, probeTimeout)
		_, last, err := e.log.Bounds(bound)
		cancel()
		switch {
		case err != nil:
			end(errors.Join(errSilent, err))
			return
		case last.Batch() > seen && came.Load() == seen:
			// What is there should have come. The hub may be slow to take the batch
			// before, so this is patient.
			if behind++; behind*int(probeEvery) >= int(downAfter) {
				end(errStuck)
				return
			}
		default:
			behind = 0
		}
	}
}

// recover makes the feed stale, then waits until the bus answers.
func (e *engine) recover(ctx context.Context, cause error, attempt int) error {
	if errors.Is(cause, errEpoch) {
		return errEpoch
	}
	if err := e.tell(ctx, market.FeedStale); err != nil {
		return err
	}
	if gone, ok := errors.AsType[Expired](cause); ok {
		if err := e.lose(ctx, gone.Resume().Batch()); err != nil {
			return err
		}
	}
	if e.lostAt.IsZero() {
		e.lostAt = time.Now()
	}
	for ; ; attempt++ {
		if err := sleep(ctx, jitter(attempt)); err != nil {
			return err
		}
		bound, cancel := context.WithTimeout(ctx, probeTimeout)
		_, last, err := e.log.Bounds(bound)
		cancel()
		if e.log.Epoch() != e.epoch || err == nil && last.Batch() < e.batch {
			return errEpoch
		}
		if err == nil {
			if e.target = last.Batch(); e.batch < e.target {
				return e.tell(ctx, market.FeedStale)
			}
			return nil
		}
		if time.Since(e.lostAt) >= downAfter {
			if err := e.tell(ctx, market.FeedDown); err != nil {
				return err
			}
		}
	}
}

// lose gives up the batches up to and including one: they are no longer held.
func (e *engine) lose(ctx context.Context, batch uint64) error {
	if batch <= e.batch {
		return nil
	}
	gap := market.Gap{
		Reason: market.GapExpired, From: e.position(),
		To: market.Position{Epoch: e.epoch, Seq: endOf(batch)}, Topics: allTopics(),
	}
	e.logger.LogAttrs(ctx, slog.LevelError, "events are no longer held", slog.String("from", gap.From.String()),
		slog.String("to", gap.To.String()), slog.Uint64("batches", batch-e.batch))
	e.metrics.gaps.Inc()
	e.metrics.lost.Add(float64(batch - e.batch))
	if err := e.hub.Gap(ctx, gap); err != nil {
		return err
	}
	if err := e.hub.Base(ctx, gap.To.Seq); err != nil {
		return err
	}
	if err := e.hub.Advance(ctx, gap.To.Seq); err != nil {
		return err
	}
	e.reached(gap.To.Seq, mark{at: gap.To.Seq}, nil)
	return nil
}
