package feed

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/lzstock/lzstock/internal/obs"
	"github.com/lzstock/lzstock/market"
)

// slice is the least time for which a player sleeps: what becomes due meanwhile
// goes out together.
const slice = time.Millisecond

// lastGiving is how long what was read may take to be given on once the feed is to
// stop.
const lastGiving = time.Second

// player gives events to the publisher when they are due.
type player struct {
	f       *Feed
	speed   Speed
	timer   *time.Timer
	started bool
	begin   time.Time // when the event at origin is due
	origin  time.Time // event time
	now     time.Time // read last
	due     time.Time // of the last event in pending
	waiting []market.Event
	giving  context.Context //nolint:containedctx // bounds what is given on: it ends a while after Run's
	abandon context.CancelCauseFunc
	unbind  func() bool
	late    atomic.Pointer[time.Timer]
	at      time.Duration // place in the source of the last event in waiting
}

func newPlayer(ctx context.Context, f *Feed, speed Speed) *player {
	if speed == 0 {
		speed = 1
	}
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	p := &player{f: f, speed: speed, timer: timer, waiting: make([]market.Event, 0, market.BatchLimit)}
	p.giving, p.abandon = context.WithCancelCause(context.WithoutCancel(ctx))
	p.unbind = context.AfterFunc(ctx, func() {
		p.late.Store(time.AfterFunc(lastGiving, func() { p.abandon(context.Cause(ctx)) }))
	})
	return p
}

func (p *player) close() {
	p.timer.Stop()
	p.unbind()
	if late := p.late.Load(); late != nil {
		late.Stop()
	}
	p.abandon(nil)
}

// play gives e on once it is due, together with others; at is its place in the
// source.
func (p *player) play(ctx context.Context, e *market.Event, at time.Duration) error {
	if p.speed != MaxSpeed {
		if err := p.await(ctx, e.Time()); err != nil {
			return err
		}
	}
	p.waiting = append(p.waiting, *e)
	p.at = at
	if len(p.waiting) == cap(p.waiting) {
		return p.flush(ctx)
	}
	return nil
}

// await returns when the event of that time is due. Before it sleeps, it gives on
// what waits.
func (p *player) await(ctx context.Context, at time.Time) error {
	if !p.started {
		p.started = true
		p.now = time.Now()
		p.begin = p.now
		if p.origin.IsZero() {
			p.origin = at
		}
	}
	due := p.begin.Add(time.Duration(float64(at.Sub(p.origin)) / float64(p.speed)))
	for due.After(p.now) {
		if p.now = time.Now(); !due.After(p.now) {
			break
		}
		if len(p.waiting) > 0 {
			if err := p.flush(ctx); err != nil {
				return err
			}
			continue
		}
		p.f.next.Store(due.UnixNano())
		p.timer.Reset(max(due.Sub(p.now), slice))
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-p.timer.C:
		}
	}
	p.due = due
	return nil
}

// flush gives on all that waits, also where ctx has ended, which is its error then:
// it was read from the source, and was due.
func (p *player) flush(ctx context.Context) error {
	if len(p.waiting) == 0 {
		return context.Cause(ctx)
	}
	if p.now.IsZero() {
		p.now = time.Now()
	}
	p.f.next.Store(p.now.UnixNano())
	if err := p.f.cfg.Publisher.Add(p.giving, p.waiting...); err != nil { //nolint:contextcheck // it outlives ctx by a second
		return orCause(ctx, fmt.Errorf("publish: %w", err))
	}
	p.f.next.Store(0)
	p.now = time.Now()
	lag := time.Duration(0)
	if p.speed != MaxSpeed {
		lag = max(0, p.now.Sub(p.due))
		p.f.age.Observe(obs.Age(lag))
	}
	p.f.stats.played(p.now, p.waiting, p.at, lag)
	clear(p.waiting)
	p.waiting = p.waiting[:0]
	return context.Cause(ctx)
}
