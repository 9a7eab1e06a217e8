package monitor

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/lzstock/lzstock/market"
)

const (
	reviewEvery = 250 * time.Millisecond
	lagEvery    = 250 * time.Millisecond
	lagAfter    = 2 * time.Second // what the bus held so long ago should have been read
)

// tell says how the bus is, where that has changed, and returns when streams have
// been told: ahead of what is read next. Nothing is served before the first time
// that it is live.
func (e *engine) tell(ctx context.Context, state market.FeedState) error {
	old := market.FeedState(e.bus.Load())
	if old == 0 && state != market.FeedLive || old == state {
		return nil
	}
	if state == market.FeedLive {
		e.lagging.Store(false)
	}
	e.bus.Store(uint32(state))
	done := make(chan struct{})
	select {
	case e.news <- done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// report makes the feed's state known whenever it changes, until ctx ends. It is
// the only one that tells the hub, and that uses the sources.
func (e *engine) report(ctx context.Context) error {
	tick := time.NewTicker(reviewEvery)
	defer tick.Stop()
	for {
		var done chan struct{} // who waits for the news to be told
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case p := <-e.pulses:
			e.sources.hear(p, time.Now())
		case done = <-e.news:
		case <-tick.C:
		}
		if err := e.review(ctx, time.Now()); err != nil {
			return err
		}
		if done != nil {
			close(done)
		}
	}
}

// review tells the hub the feed's state where it has changed.
func (e *engine) review(ctx context.Context, now time.Time) error {
	bus := market.FeedState(e.bus.Load())
	if bus != market.FeedLive {
		e.sources.deaf(now)
	}
	if bus == 0 {
		return nil
	}
	feed := &market.Feed{State: bus, Since: now, Epoch: e.epoch, Sources: e.sources.review(now)}
	switch {
	case bus != market.FeedLive:
		feed.Reason = market.FeedBus
	case e.lagging.Load():
		feed.State, feed.Reason = market.FeedStale, market.FeedLagging
	default:
		feed.State, feed.Reason = overall(feed.Sources)
	}
	old := e.feed.Load()
	if old != nil {
		if feed.Same(*old) {
			return nil
		}
		if feed.State == old.State {
			feed.Since = old.Since
		}
	}
	e.feed.Store(feed)
	e.metrics.told(feed)
	if err := e.hub.Feed(ctx, *feed); err != nil {
		return err
	}
	if old == nil {
		e.setServing(e)
	}
	e.logChange(ctx, old, feed)
	return nil
}

func (e *engine) logChange(ctx context.Context, old, feed *market.Feed) {
	if old == nil || old.State != feed.State || old.Reason != feed.Reason {
		attrs := []slog.Attr{slog.String("state", feed.State.String()), slog.String("position", e.position().String())}
		if feed.Reason != 0 {
			attrs = append(attrs, slog.String("reason", feed.Reason.String()))
		}
		e.logger.LogAttrs(ctx, slog.LevelInfo, "the feed's state changed", attrs...)
	}
	for _, s := range feed.Sources {
		before := market.FeedSource{}
		if old != nil {
			if i := slices.IndexFunc(old.Sources, func(o market.FeedSource) bool { return o.Name == s.Name }); i >= 0 {
				before = old.Sources[i]
			}
		}
		if before.State == s.State && before.Reason == s.Reason {
			continue
		}
		attrs := []slog.Attr{slog.String("source", s.Name), slog.String("state", s.State.String())}
		if s.Reason != 0 {
			attrs = append(attrs, slog.String("reason", s.Reason.String()))
		}
		e.logger.LogAttrs(ctx, slog.LevelInfo, "a source's state changed", attrs...)
	}
}

// listen passes pulses to report, until ctx ends.
func (e *engine) listen(ctx context.Context) error {
	for {
		err := e.cfg.Pulses(ctx, func(p Pulse) {
			select {
			case e.pulses <- p:
			case <-ctx.Done():
			}
		})
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		e.logger.LogAttrs(ctx, slog.LevelWarn, "sources cannot be heard", slog.Any("error", err))
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}

// lag watches, by this machine's clock alone, whether what the bus holds is read
// in time. A bus that does not answer is for others to tell.
func (e *engine) lag(ctx context.Context) error {
	tick := time.NewTicker(lagEvery)
	defer tick.Stop()
	var held uint64 // the bus's last batch,
	var at time.Time
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if market.Seq(e.read.Load()).Batch() < held {
			e.lagging.Store(time.Since(at) >= lagAfter)
			continue
		}
		e.lagging.Store(false)
		at = time.Now()
		bound, cancel := context.WithTimeout(ctx, probeTimeout)
		_, last, err := e.log.Bounds(bound)
		cancel()
		if err == nil {
			held = last.Batch()
		}
	}
}
