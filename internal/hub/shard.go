package hub

import (
	"container/heap"
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/market"
)

// round is how many messages a shard takes from its inbox before it flushes.
const round = 256

// message is a batch of live events or something to do.
type message struct {
	batch *mailbox.Batch
	do    func(s *shard)
}

type shard struct {
	hub      *Hub
	inbox    chan message
	now      time.Time
	position market.Seq
	settled  market.Seq   // like position, but without the values of Replace, which may be ahead of live events
	epoch    market.Epoch // of settled; 0: not known
	base     market.Seq   // window and history hold every event after it
	history  int          // how many events a topic's holds
	window   window
	feed     *market.Feed
	channels [market.NumChannels]channel
	numbers  uint64 // of topics, ever
	members  map[*Member]struct{}
	catching map[*Member]struct{} // members that catch up
	listed   map[*Member]struct{} // members that get what appears for the first time
	dirty    []*Member
	queue    []*Member     // with work that takes long, each once; see slice
	worked   time.Duration // on that, since the last pause
	timers   timers
	stats    struct {
		events, delivered, merged atomic.Uint64
		replayed, fetches, gaps   atomic.Uint64
		members, queued           atomic.Int64
	}
}

// channel is what a shard knows of one channel.
type channel struct {
	carried bool // all its topics are live
	topics  map[market.Symbol]*topic
	known   atomic.Int64         // how many these are
	order   []*topic             // the same by number, and some that have gone
	gone    int                  // so many
	wild    map[*Member]struct{} // who listens to all symbols
	base    market.Seq           // nothing up to here can be replayed: a gap of all symbols ended there
}

func newShard(h *Hub) *shard {
	s := &shard{hub: h, inbox: make(chan message, h.cfg.Inbox), members: map[*Member]struct{}{}, catching: map[*Member]struct{}{}, listed: map[*Member]struct{}{}}
	for i := range s.channels {
		c := &s.channels[i]
		c.carried, c.topics, c.wild = h.cfg.Open, map[market.Symbol]*topic{}, map[*Member]struct{}{}
	}
	return s
}

func (s *shard) send(ctx context.Context, m message) error {
	select {
	case s.inbox <- m:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.hub.ending:
		return ErrClosed
	}
	select {
	case <-s.hub.ending: // perhaps before close could see it
		return ErrClosed
	default:
		return nil
	}
}

func (s *shard) run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	ready, pause := make(chan time.Time), time.NewTimer(time.Hour)
	defer pause.Stop()
	close(ready)
	for {
		wake := timer.C
		switch {
		case len(s.queue) == 0:
		case s.worked < workMost:
			wake = ready
		default:
			s.worked = 0
			pause.Reset(time.Microsecond)
			wake = pause.C
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case m := <-s.inbox:
			s.now = time.Now()
			s.handle(m)
			s.take(round - 1)
		case <-wake:
			s.now = time.Now()
			s.take(round)
		}
		for now := s.now.Sub(s.hub.made); len(s.timers) > 0 && s.timers[0].wake <= now; {
			s.touch(s.timers[0])
			heap.Pop(&s.timers)
		}
		s.flush()
		if s.slice(); len(s.queue) > 0 {
			runtime.Gosched() // whoever else needs the processor goes first
		}
		if len(s.timers) > 0 {
			timer.Reset(s.timers[0].wake - time.Since(s.hub.made))
		}
	}
}

// take handles what waits in the inbox, at most n messages.
func (s *shard) take(n int) {
	for range n {
		select {
		case m := <-s.inbox:
			s.handle(m)
		default:
			return
		}
	}
}

// close does what was asked for before the end, so that nobody joins unnoticed,
// and fails the members that are left.
func (s *shard) close() {
	s.now = time.Now()
	for {
		select {
		case m := <-s.inbox:
			s.handle(m)
			continue
		default:
		}
		break
	}
	for m := range s.members {
		s.fail(m, ErrClosed)
	}
}

func (s *shard) handle(m message) {
	if m.batch != nil {
		s.publish(m.batch)
	} else {
		m.do(s)
	}
}

func (s *shard) publish(b *mailbox.Batch) {
	delivered := 0
	for i := range b.Len() {
		item := b.Item(i)
		e := item.Event()
		c := &s.channels[e.Channel]
		t := c.topics[e.Symbol]
		if t == nil {
			if !c.carried {
				continue
			}
			t = s.topic(e.Topic())
		}
		if (!t.carried && !c.carried) || e.Seq <= t.last.Seq {
			continue
		}
		s.show(t)
		if limit := s.hub.cfg.Window; limit > 0 {
			s.window.push(passed{topic: t, item: item, seq: e.Seq, prev: t.last.Seq}, limit)
			if e.Merged > 1 { // somebody has the events that it stands for, but not we
				t.base = e.Seq
			}
		} else {
			s.window.floor = e.Seq
		}
		t.record(e, s.history)
		for j := 0; j < len(t.subs); j++ {
			u := t.subs[j]
			if !u.member.joined { // it leaves
				continue
			}
			if u.member.catch != nil { // it takes the event from the window
				u.wantSnap = false
				continue
			}
			if err := u.member.box.Add(&u.slot, item, s.now); err != nil {
				s.fail(u.member, err)
				j-- // its place in subs has been taken by another
				continue
			}
			u.wantSnap = false
			delivered++
			s.touch(u.member)
		}
	}
	s.position = max(s.position, b.Item(b.Len()-1).Event().Seq)
	s.settled = max(s.settled, b.Item(b.Len()-1).Event().Seq)
	s.wakeCatching() // perhaps this is what one waits for
	s.stats.events.Add(uint64(b.Len()))
	s.stats.delivered.Add(uint64(delivered))
}

func (s *shard) announce(n Notice) {
	for m := range s.members {
		s.guard(m, func() { m.sink.Announce(n) })
		s.touch(m)
	}
}

// leave removes a member. then, where not nil, runs when nothing of it is left.
func (s *shard) leave(m *Member, then func()) {
	if !m.joined {
		s.start(m, func(int) bool {
			if then != nil {
				then()
			}
			return true
		})
		return
	}
	m.joined = false
	for c := range s.channels {
		if m.wild.has(market.Channel(c)) {
			delete(s.channels[c].wild, m)
		}
	}
	if m.index >= 0 {
		heap.Remove(&s.timers, m.index)
	}
	delete(s.members, m)
	delete(s.catching, m)
	delete(s.listed, m)
	s.stats.members.Add(-1)
	m.work = nil // what it asked for, and who cares
	s.start(m, func(n int) bool {
		rest := len(m.subs) - min(n, len(m.subs))
		for _, u := range m.subs[rest:] {
			s.release(u)
		}
		clear(m.subs[rest:])
		if m.subs = m.subs[:rest]; rest > 0 {
			return false
		}
		m.subs = nil
		if then != nil {
			then()
		}
		return true
	})
}

// fail removes a member that cannot go on.
func (s *shard) fail(m *Member, err error) {
	if !m.joined {
		return
	}
	s.leave(m, nil)
	defer func() { _ = recover() }() // a sink that panics while it is told has been told
	m.sink.Fail(err)
}

// guard runs a member's own code and turns a panic into that member's end.
func (s *shard) guard(m *Member, f func()) {
	defer func() {
		if r := recover(); r != nil {
			s.fail(m, &PanicError{Value: r, Stack: debug.Stack()})
		}
	}()
	f()
}

// PanicError is what Fail brings where a member's own code panicked.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// touch marks a member to be flushed at the end of the round.
func (s *shard) touch(m *Member) {
	if !m.dirty {
		m.dirty = true
		s.dirty = append(s.dirty, m)
	}
}

func (s *shard) flush() {
	for i, m := range s.dirty {
		s.dirty[i] = nil
		m.dirty = false
		switch {
		case !m.joined:
		case m.work != nil || m.catch != nil || m.box.Len() > heavy:
			s.enqueue(m)
		default:
			s.flushOne(m)
		}
	}
	s.dirty = s.dirty[:0]
}

func (s *shard) flushOne(m *Member) {
	defer func() { // not guard: a closure would cost an allocation a flush
		if r := recover(); r != nil {
			s.fail(m, &PanicError{Value: r, Stack: debug.Stack()})
		}
	}()
	m.box.Advance(s.settled)
	var more bool
	var again time.Time
	if m.catch != nil {
		if more, again = s.catchUp(m); !m.joined {
			return
		}
		switch c := m.catch; {
		case c == nil:
		case c.tip:
			m.box.Advance(c.at)
		default:
			m.box.Advance(0) // not known
		}
	}
	wake := m.sink.Flush(&m.box, s.now)
	more = more && m.box.Empty() // one chunk a round: others wait no longer for it
	if !wake.IsZero() && !wake.After(s.now) {
		more, wake = true, time.Time{}
	}
	if more {
		s.enqueue(m)
	}
	if wake.IsZero() || (!again.IsZero() && again.Before(wake)) {
		wake = again
	}
	if merged := m.box.Merged(); merged != m.merged {
		s.stats.merged.Add(merged - m.merged)
		m.merged = merged
	}
	s.schedule(m, wake)
}
