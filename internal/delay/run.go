package delay

import (
	"context"
	"fmt"
	"time"

	"github.com/lzstock/lzstock/market"
)

// tick is how much later than its time something may come out, so that a busy
// line wakes a thousand times a second and not for every batch.
const tick = time.Millisecond

// round is how many calls Run takes at once: the feed's state waits for no more.
const round = 64

// Run passes on what is due until ctx ends, and gives its cause, or until the
// sink fails. It is called once. What waits then is lost.
func (l *Line) Run(ctx context.Context) error {
	defer l.close()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	due := make([]entry, 0, round)
	for ctx.Err() == nil {
		var feed market.Feed
		var tell bool
		var wait time.Duration
		due, feed, tell, wait = l.take(due[:0])
		if err := l.pass(ctx, due, feed, tell); err != nil {
			if why := context.Cause(ctx); why != nil {
				return why
			}
			return fmt.Errorf("delay: pass on: %w", err)
		}
		clear(due)
		if len(due) > 0 || tell {
			continue
		}
		var again <-chan time.Time
		if wait > 0 {
			timer.Reset(wait)
			again = timer.C
		}
		select {
		case <-ctx.Done():
		case <-l.wake:
		case <-again:
		}
	}
	return context.Cause(ctx)
}

func (l *Line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.parts, l.waiting, l.ops, l.scratch, l.told = nil, 0, 0, scratch{}, nil
}

// take appends what is due to due, and says whether the feed's state must be
// told, ahead of it. Where neither is, wait is for how long to wait, 0 where
// nothing waits.
func (l *Line) take(due []entry) (_ []entry, feed market.Feed, tell bool, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	feed, tell, l.feedDue = l.feed, l.feedDue, false
	feed.Epoch = l.out.Epoch
	now := time.Since(l.start)
	for len(l.parts) > 0 && len(due) < round {
		p := l.parts[0]
		if left := p.first() + l.by - now; left > 0 {
			return due, feed, tell, left + tick - 1 - (now+left-1)%tick // up to the next whole tick
		}
		e := p.pop()
		if p.empty() {
			l.parts[0] = nil
			l.parts = l.parts[1:]
		}
		l.count(&e, -1)
		l.out = after(l.out, &e)
		due = append(due, e)
		if e.op == nil {
			continue
		}
		l.told.apply(e.op)
		if e.op.newEpoch() {
			l.feedDue = l.feed.State != 0
			break // the state comes right behind it
		}
	}
	return due, feed, tell, 0
}

func (l *Line) pass(ctx context.Context, due []entry, feed market.Feed, tell bool) error {
	if tell {
		if err := l.to.Feed(ctx, feed); err != nil {
			return err
		}
	}
	for len(due) > 0 {
		n, err := 1, error(nil)
		switch e := &due[0]; {
		case e.op == nil:
			var events []market.Event
			events, n = join(due)
			err = l.to.Publish(ctx, events)
		case e.op.kind == replace:
			err = l.to.Replace(ctx, e.op.topics, e.events)
		case e.op.kind == forget:
			err = l.to.Forget(ctx, e.op.topics)
		case e.op.kind == gap:
			g := e.op.gap
			g.Topics = e.op.topics
			err = l.to.Gap(ctx, g)
		}
		if err != nil {
			return err
		}
		due = due[n:]
	}
	return nil
}

// join gives the events of the first calls, and of how many: small batches are
// worth less than what it costs to pass each on.
func join(due []entry) (events []market.Event, calls int) {
	sum := 0
	for calls < len(due) && due[calls].op == nil && (calls == 0 || sum+len(due[calls].events) <= market.BatchLimit) {
		sum += len(due[calls].events)
		calls++
	}
	if calls == 1 {
		return due[0].events, 1
	}
	events = make([]market.Event, 0, sum)
	for i := range calls {
		events = append(events, due[i].events...)
	}
	return events, calls
}
