package bridge

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

const (
	pace     = 10 * time.Millisecond // between two looks at whose turn it is
	leadMost = 10 * time.Second      // from a drain's notice to the end of the connection
	ageMost  = 30 * time.Second      // the same, for the greatest age
)

// lead gives how long a drain lets a connection go on after its notice: long
// enough to open another one, short enough for all to be over within the window.
func lead(window time.Duration) time.Duration { return min(leadMost, window/3) }

// Drain says how bridges are moved away.
type Drain struct {
	// Window is the time in which all of them end. Their clients are told evenly
	// over its first part; each connection goes on for a while after that.
	Window time.Duration
	// Least is how long the drain goes on where no bridge is left: more may come.
	Least time.Duration
}

// draining is a drain that goes on.
type draining struct {
	queue []*Bridge     // who has not been told yet; guarded by the factory's lock
	total int           // who was ever in it, and had not ended when the turn came
	told  int           //
	empty chan struct{} // no bridge is left
}

// Drain moves all bridges away, those that begin meanwhile too, and returns when
// none is left, or when the window is over and the last ones have been ended, or
// with ctx. Each client is told when its connection will end, at a steady rate, so
// that they do not all come to another gateway at once; those of the strict
// dialects, which have no word for it, are ended at their turn. It is called once.
func (f *Factory) Drain(ctx context.Context, d Drain) {
	begun := time.Now()
	after, spread := lead(d.Window), d.Window-lead(d.Window)
	run := &draining{empty: make(chan struct{}, 1)}
	f.mu.Lock()
	for b := range f.bridges {
		run.queue = append(run.queue, b)
	}
	f.drain = run
	f.mu.Unlock()
	tick := time.NewTicker(pace)
	defer tick.Stop()
	over := time.NewTimer(d.Window)
	defer over.Stop()
	for {
		age := time.Since(begun)
		if f.Left() == 0 && age >= d.Least {
			return
		}
		for _, b := range f.due(run, age, spread) {
			b.leave(ctx, after)
		}
		select {
		case <-ctx.Done():
			return
		case <-run.empty:
		case <-tick.C:
		case <-over.C:
			f.expel(ctx, run)
			return
		}
	}
}

// due takes those whose turn has come from the queue: as many as keep the rate.
// Those that have left by themselves make the drain shorter, not slower.
func (f *Factory) due(run *draining, age, spread time.Duration) (turn []*Bridge) {
	f.mu.Lock()
	defer f.mu.Unlock()
	run.total = max(run.total, run.told+len(run.queue))
	target := run.total
	if age < spread {
		target = 1 + int(float64(run.total)*float64(age)/float64(spread)) // the first at once
	}
	for len(run.queue) > 0 && run.told < target {
		b := run.queue[0]
		run.queue[0] = nil
		run.queue = run.queue[1:]
		if b.end.Load() == nil {
			turn = append(turn, b)
			run.told++
		}
	}
	return turn
}

// expel ends those who are left at the end of the window, and waits until they
// are gone: each farewell is bounded.
func (f *Factory) expel(ctx context.Context, run *draining) {
	f.mu.Lock()
	left := make([]*Bridge, 0, len(f.bridges))
	for b := range f.bridges {
		left = append(left, b)
	}
	f.mu.Unlock()
	for _, b := range left {
		b.Stop(b.drained(), nil)
	}
	limit := time.NewTimer(2 * f.cfg.CloseWait)
	defer limit.Stop()
	for f.Left() > 0 {
		select {
		case <-run.empty:
		case <-ctx.Done():
			return
		case <-limit.C:
			return
		}
	}
}

// Left is how many bridges there are.
func (f *Factory) Left() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.bridges)
}

// drained is the reason for which a drain ends the bridge. What speaks a strict
// dialect knows the code that RFC 6455 has for it.
func (b *Bridge) drained() wire.Reason {
	if b.format.Native() {
		return wire.Drain
	}
	return wire.GoingAway
}

// leave has the bridge end after a while. Its shard tells the client.
func (b *Bridge) leave(ctx context.Context, after time.Duration) {
	b.order.Store(uint32(max(1, after.Milliseconds())))
	// An error: the drain or the hub is over. A bridge that changes its hub at this
	// moment sees the order when it is there.
	_ = b.Member().Do(ctx, func(time.Time) {})
}

// depart sees to the connection's end at its time: the client is told before. It
// gives when it is to be called again at the latest, 0 for never.
func (b *Bridge) depart(box *mailbox.Mailbox, age time.Duration) time.Duration {
	if ms := b.order.Load(); ms > 0 && !b.ordered {
		b.ordered = true
		at := age + time.Duration(ms)*time.Millisecond
		switch {
		case !b.format.Native():
			b.Stop(b.drained(), nil)
		case b.endAt == 0 || at < b.endAt:
			b.endAt, b.why = at, wire.Drain
			b.factory.stats.drains.Add(1)
			b.tell(box, age)
		}
	}
	if b.endAt == 0 || b.told || !b.format.Native() {
		return 0
	}
	if at := b.endAt - min(ageMost, b.endAt/5); at > age {
		return at
	}
	b.factory.stats.ages.Add(1)
	b.tell(box, age)
	return 0
}

// tell has the client move. It is to wait for a while first, which differs from
// client to client, and has as long again to get its new connection going.
func (b *Bridge) tell(box *mailbox.Mailbox, age time.Duration) {
	b.told = true
	left := max(0, b.endAt-age)
	m := wire.Reconnect{Reason: b.why, Deadline: left, Delay: rand.N(left/2 + 1)}
	if epoch, seq := b.Member().Epoch(), b.reached(box, b.last); !b.anonymous && epoch != 0 && seq != 0 && seq <= box.Through() {
		m.Since = market.Position{Epoch: epoch, Seq: seq}
	}
	b.control(wire.AppendReconnect(nil, b.format, m))
}

// reached gives the position up to which everything was sent: that of the mailbox
// where it is empty, else what was sent last.
func (b *Bridge) reached(box *mailbox.Mailbox, last market.Seq) market.Seq {
	if box.Empty() {
		return box.Through()
	}
	return last
}
