package hub

import "time"

const (
	// sliceTopics is the usual Config.Slice.
	sliceTopics = 256
	// sliceTime is after how long no other member's work begins in the same round.
	sliceTime = 500 * time.Microsecond
	// workMost is how long slices go on, one after the other, before a pause. The
	// scheduler looks for what came from the network only where a processor has nothing
	// to do: to yield would not be enough.
	workMost = 2 * time.Millisecond
	// heavy is from how many events on a flush is work that takes long.
	heavy = 1024
)

// step does some of a member's work, that of n topics at most, and reports whether
// all is done.
type step func(n int) (done bool)

// task is work of a member that waits, and what waits behind it.
type task struct {
	do   step
	next *task
}

// start begins a member's work. Where that is much, or where the member has other
// work before it, it is done in slices, between which the shard serves all others;
// until then nothing is flushed to the member, so that what it gets is in order.
func (s *shard) start(m *Member, work step) {
	if m.work == nil {
		joined := m.joined
		if work(s.hub.cfg.Slice) || m.joined != joined {
			return
		}
	}
	last := &m.work
	for *last != nil {
		last = &(*last).next
	}
	*last = &task{do: work}
	s.enqueue(m)
}

// enqueue has a member's work done, after that of those who wait already. A member
// waits once, so that the queue holds no more than there are members.
func (s *shard) enqueue(m *Member) {
	if !m.queued {
		m.queued = true
		s.queue = append(s.queue, m)
		s.stats.queued.Store(int64(len(s.queue)))
	}
}

// wakeCatching has members go on that catch up.
func (s *shard) wakeCatching() {
	for m := range s.catching {
		s.enqueue(m)
	}
}

// slice does some of the work that waits: of each member in turn, until it has taken
// long enough.
func (s *shard) slice() {
	if len(s.queue) == 0 {
		return
	}
	begun := time.Now()
	for n := len(s.queue); n > 0; n-- {
		m := s.queue[0]
		s.queue[0] = nil
		s.queue = s.queue[1:]
		m.queued = false
		s.advance(m)
		if time.Since(begun) >= sliceTime {
			break
		}
	}
	s.worked += time.Since(begun)
	if len(s.queue) == 0 {
		s.queue = nil
	}
	s.stats.queued.Store(int64(len(s.queue)))
}

// advance does a slice of a member's work, and flushes it where nothing is left.
func (s *shard) advance(m *Member) {
	if m.work != nil {
		if m.joined {
			s.guard(m, func() { s.step(m) })
		} else {
			s.step(m)
		}
		if m.work != nil {
			s.enqueue(m)
			return
		}
	}
	if m.joined {
		s.flushOne(m)
	}
}

// step does a slice of what is first of a member's work.
func (s *shard) step(m *Member) {
	joined := m.joined
	if m.work.do(s.hub.cfg.Slice) && m.joined == joined { // else its departure is its work now
		m.work = m.work.next
	}
}
