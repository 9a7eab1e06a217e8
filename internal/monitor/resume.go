package monitor

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/market"
)

const (
	aheadPatience = time.Second // for a replica that has read less than a caller saw
	aheadPoll     = 10 * time.Millisecond
)

const (
	// refillPage and refillFromBus are how many events of before a stream is given at
	// once, the more where the bus is read.
	refillPage    = 8192
	refillFromBus = 65536
	// watchWithin is how long a Watch stream may take for what it missed. What it has
	// not got by then is a gap: watchers want what is current.
	watchWithin = 5 * time.Second
)

// reach reports whether a place can be resumed from, as far as epoch and
// progress tell. It waits a little where another replica was faster. The place may
// lie behind the last event of the batch that was read last: one that has given up
// this batch says so.
func (e *engine) reach(ctx context.Context, since market.Position) (bool, error) {
	if since.Epoch != e.epoch {
		return false, nil
	}
	for waited := time.Duration(0); since.Seq.Batch() > e.position().Seq.Batch(); waited += aheadPoll {
		if waited >= aheadPatience {
			return false, nil
		}
		if err := sleep(ctx, aheadPoll); err != nil {
			return false, err
		}
	}
	return true, nil
}

// catchUp has a stream's member get what came after a place that can be reached.
func (e *engine) catchUp(ctx context.Context, s *sink, m *hub.Member, since market.Position, within time.Duration) *hub.CatchUp {
	since.Seq = min(since.Seq, e.position().Seq)
	var last atomic.Pointer[pageEnd] // the next page begins there
	return &hub.CatchUp{Since: since, Within: within, Fetch: func(w hub.Want) {
		e.readers.Go(func() { e.guard(ctx, s.end, func() { e.refill(ctx, m, w, &last) }) })
	}}
}

// pageEnd is where a page from the bus ended, and what was known by then.
type pageEnd struct {
	through market.Seq
	last    lasts
}

// refill gives a member a page of what its shard does not hold, tries again where the
// bus does not answer, and gives it up in the end. last is where the page before ended,
// then this one, before the member can ask for the next.
func (e *engine) refill(ctx context.Context, m *hub.Member, w hub.Want, last *atomic.Pointer[pageEnd]) {
	bound, cancel := context.WithTimeout(ctx, rereadMost)
	defer cancel()
	before := last.Swap(nil)
	var known lasts
	if before != nil && before.through == w.After.Seq {
		known = before.last
	}
	for attempt := 0; ; attempt++ {
		p, err := e.past(bound, w.Topics, w.After.Seq, refillPage, refillFromBus, known)
		switch {
		case err == nil:
			if before == nil && p.last != nil {
				e.logger.LogAttrs(ctx, slog.LevelInfo, "reading the bus for a stream that is behind",
					slog.String("since", w.After.String()), slog.Uint64("batches", e.position().Seq.Batch()-w.After.Seq.Batch()))
			}
			if p.last != nil {
				last.Store(&pageEnd{p.through, p.last})
			}
			_ = m.Refill(ctx, w, hub.Refill{Events: p.events, Through: p.through, Missed: p.missed}) // it fails where the stream has ended
			return
		case sleep(bound, jitter(attempt)) == nil:
		case ctx.Err() == nil:
			e.logger.LogAttrs(ctx, slog.LevelWarn, "the past was not to be had for a stream that is behind",
				slog.String("since", w.After.String()), slog.Any("error", err))
			_ = m.Refill(ctx, w, hub.Refill{Missed: w.Topics})
			return
		default:
			return
		}
	}
}
