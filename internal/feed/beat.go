package feed

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/lzstock/lzstock/market"
)

const (
	beatEvery   = time.Second
	silentAfter = 5 * time.Second // that something was due
	closedFrom  = time.Minute     // until something is due
)

// beating says how the source is while play plays it, and how it ended: ended
// where the source was complete, lost otherwise, also where it was told to stop.
func (f *Feed) beating(ctx context.Context, play func() error) error {
	if f.cfg.Beat == nil {
		return play()
	}
	inner, cancel := context.WithCancel(ctx)
	var beats sync.WaitGroup
	beats.Go(func() { f.beat(inner) })
	err := play()
	cancel()
	beats.Wait()
	last := market.FeedLost
	if err == nil {
		last = market.FeedEnded
	}
	f.say(context.WithoutCancel(ctx), last)
	return err
}

// beat says once a second how the source is, until ctx ends.
func (f *Feed) beat(ctx context.Context) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		f.say(ctx, f.reason(time.Now()))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// reason tells what the schedule says of a moment.
func (f *Feed) reason(now time.Time) market.FeedReason {
	next := f.next.Load()
	if next == 0 {
		return 0
	}
	switch left := time.Unix(0, next).Sub(now); {
	case left <= -silentAfter:
		return market.FeedSilent
	case left >= closedFrom:
		return market.FeedClosed
	}
	return 0
}

func (f *Feed) say(ctx context.Context, reason market.FeedReason) {
	if err := f.cfg.Beat(ctx, reason); err != nil {
		f.logger.LogAttrs(ctx, slog.LevelDebug, "the source's pulse was not sent", slog.Any("error", err))
	}
}
