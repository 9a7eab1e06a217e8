package mailbox

import (
	"slices"
	"time"

	"github.com/lzstock/lzstock/market"
)

// Mailbox holds what waits for one subscriber. Its zero value is not ready; see
// New.
type Mailbox struct {
	rings      *Rings // where the queue's memory comes from
	limit      int32
	mode       Mode
	conflating bool
	queue      fifo     // waits, while not conflating
	head, tail *latest  // wait, while conflating: ascending by seq
	waiting    int      // in that list
	snapshots  currents // wait, to leave first
	since      time.Time
	merged     uint64
	through    market.Seq
}

// Slot is one topic's place in one mailbox. Its zero value is ready. There are
// as many as subscriptions: it is small, and what only conflation needs is apart.
type Slot struct {
	last     market.Seq // the last position that left for this topic
	latest   *latest    // made when the topic is conflated first
	life     uint32     // entries of an earlier life are dead
	snapshot int32      // 1 + its place in the mailbox's snapshots; 0: none waits
}

// latest is the latest event of a slot's topic, while it waits.
type latest struct {
	slot       *Slot
	item       Item   // waits, while linked
	merged     uint32 // how many events item stands for
	linked     bool
	prev, next *latest
}

type entry struct {
	item   Item
	slot   *Slot
	at     time.Time
	merged uint32 // how many events item stands for
	life   uint32 // of the slot, when it was added
}

func (e *entry) dead() bool { return e.life != e.slot.life }

// Delivery is one event on its way to the subscriber.
type Delivery struct {
	Item     Item
	Prev     market.Seq // the position sent before it on the same topic; 0 if none
	Merged   uint32     // how many events it stands for, at least 1
	Snapshot bool       // a current value, not a live event
}

// New makes an empty mailbox, which takes the memory of its queue from rings.
func New(opts Options, rings *Rings) Mailbox {
	m := Mailbox{rings: rings, conflating: opts.Mode == Latest}
	m.set(opts)
	return m
}

// Resume sets the position after which the topic's events are to follow.
func (s *Slot) Resume(last market.Seq) { s.last = last }

// SetMode changes how the mailbox treats what comes. What waits already is kept,
// or conflated where the new mode asks for it.
func (m *Mailbox) SetMode(opts Options, now time.Time) error {
	m.set(opts)
	switch {
	case m.mode == Latest, m.mode == Adaptive && m.queue.len() > int(m.limit):
		m.conflate(now)
	case m.conflating:
		m.conflating = false
		for m.head != nil {
			l := m.head
			m.queue.push(m.rings, entry{item: l.item, slot: l.slot, at: m.since, merged: l.merged, life: l.slot.life})
			m.unlink(l)
		}
	}
	if m.mode == Every && m.queue.len() > int(m.limit) {
		return ErrOverflow
	}
	return nil
}

// Add appends a live event, whose Seq is at least that of the one added before.
// Its error, in mode Every alone, means that the promise cannot be kept and the
// subscriber must end.
func (m *Mailbox) Add(slot *Slot, item Item, now time.Time) error {
	if m.conflating {
		m.put(slot, item, item.Event().Count(), now)
		return nil
	}
	if m.mode == Every && item.Event().Merged > 1 {
		return ErrMerged
	}
	if m.queue.len() >= int(m.limit) {
		if m.mode == Every {
			return ErrOverflow
		}
		m.conflate(now)
		m.put(slot, item, item.Event().Count(), now)
		return nil
	}
	m.queue.push(m.rings, entry{item: item, slot: slot, at: now, merged: item.Event().Count(), life: slot.life})
	return nil
}

// AddSnapshot appends a topic's current value, in place of one that still waits.
func (m *Mailbox) AddSnapshot(slot *Slot, item Item, now time.Time) {
	m.snapshots.put(entry{item: item, slot: slot, at: now})
}

// AddReplay appends events of the past, ascending among themselves, and puts all
// that wait into order.
func (m *Mailbox) AddReplay(slots []*Slot, items []Item, now time.Time) error {
	for i := range items {
		if err := m.Add(slots[i], items[i], now); err != nil {
			return err
		}
	}
	if !m.conflating {
		m.queue.sort(m.rings)
		return nil
	}
	list := make([]*latest, 0, m.waiting)
	for l := m.head; l != nil; l = l.next {
		list = append(list, l)
	}
	slices.SortStableFunc(list, func(a, b *latest) int { return bySeq(a.item, b.item) })
	m.head, m.tail, m.waiting = nil, nil, 0
	for _, l := range list {
		m.link(l)
	}
	return nil
}

func bySeq(a, b Item) int {
	switch x, y := a.Event().Seq, b.Event().Seq; {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// Clear takes back what waits of a topic, and forgets what was sent of it.
func (m *Mailbox) Clear(slot *Slot) {
	slot.life++
	slot.last = 0
	if slot.latest != nil && slot.latest.linked {
		m.unlink(slot.latest)
	}
	slot.latest = nil
	m.snapshots.remove(slot)
}

// conflate turns what waits in order into the latest of each topic.
func (m *Mailbox) conflate(now time.Time) {
	if m.conflating {
		return
	}
	m.conflating = true
	m.since = now
	if e, ok := m.queue.peek(); ok {
		m.since = e.at
	}
	for {
		e, ok := m.queue.pop(m.rings)
		if !ok {
			return
		}
		if !e.dead() {
			m.put(e.slot, e.item, e.merged, now)
		}
	}
}

func (m *Mailbox) put(s *Slot, item Item, count uint32, now time.Time) {
	l := s.latest
	if l == nil {
		l = &latest{slot: s}
		s.latest = l
	}
	if l.linked {
		if item.Event().Seq < l.item.Event().Seq { // a replay behind a newer event
			l.merged += count
			m.merged++
			return
		}
		m.merged++
		count += l.merged
		m.unlink(l)
		m.conflating = true
	} else if m.head == nil && m.queue.len() == 0 {
		m.since = now
	}
	l.item, l.merged = item, count
	m.link(l)
}

func (m *Mailbox) link(l *latest) {
	l.linked, l.prev, l.next = true, m.tail, nil
	if m.tail == nil {
		m.head = l
	} else {
		m.tail.next = l
	}
	m.tail = l
	m.waiting++
}

func (m *Mailbox) unlink(l *latest) {
	if l.prev == nil {
		m.head = l.next
	} else {
		l.prev.next = l.next
	}
	if l.next == nil {
		m.tail = l.prev
	} else {
		l.next.prev = l.prev
	}
	l.linked, l.prev, l.next = false, nil, nil
	m.waiting--
	m.conflating = m.waiting > 0 || m.mode == Latest
}

// NextSnapshot takes the next current value, in ascending order of those that
// wait.
func (m *Mailbox) NextSnapshot() (Delivery, bool) {
	e, ok := m.snapshots.pop()
	if !ok {
		return Delivery{}, false
	}
	e.slot.last = e.item.Event().Seq
	return Delivery{Item: e.item, Merged: 1, Snapshot: true}, true
}

// PeekSnapshot gives the position of the value that NextSnapshot would take.
func (m *Mailbox) PeekSnapshot() (market.Seq, bool) {
	if len(m.snapshots) == 0 {
		return 0, false
	}
	return m.snapshots[0].item.Event().Seq, true
}

// Next takes the next event.
func (m *Mailbox) Next() (Delivery, bool) {
	if !m.conflating {
		for {
			e, ok := m.queue.pop(m.rings)
			if !ok {
				return Delivery{}, false
			}
			if !e.dead() {
				return deliver(e.slot, e.item, e.merged), true
			}
		}
	}
	l := m.head
	if l == nil {
		return Delivery{}, false
	}
	item, merged := l.item, l.merged
	m.unlink(l)
	l.item = Item{}
	return deliver(l.slot, item, merged), true
}

func deliver(s *Slot, item Item, merged uint32) Delivery {
	d := Delivery{Item: item, Prev: s.last, Merged: merged}
	s.last = item.Event().Seq
	return d
}

// Peek gives the position of the event that Next would take.
func (m *Mailbox) Peek() (market.Seq, bool) {
	if m.conflating {
		if m.head == nil {
			return 0, false
		}
		return m.head.item.Event().Seq, true
	}
	m.queue.dropDead(m.rings)
	e, ok := m.queue.peek()
	if !ok {
		return 0, false
	}
	return e.item.Event().Seq, true
}

// Mode gives the mode.
func (m *Mailbox) Mode() Mode { return m.mode }

// Free gives for how many events of the past, at most n, there is room without
// crowding those that come; 0 while the mailbox conflates.
func (m *Mailbox) Free(n int) int {
	if m.conflating {
		return 0
	}
	return max(0, min(n, int(m.limit+1)/2)-m.queue.len())
}

// Advance says that everything up to a position has been added.
func (m *Mailbox) Advance(to market.Seq) { m.through = to }

// Through gives the position up to which everything has been added: once the
// mailbox is empty, everything up to it has left. 0 means that it is not known.
func (m *Mailbox) Through() market.Seq { return m.through }

// Conflating reports whether the mailbox holds the latest of each topic only.
// Whoever takes from a conflating mailbox takes all that waits: the list is in
// order of position, so a topic that changes often would else be overtaken for
// ever.
func (m *Mailbox) Conflating() bool { return m.conflating }

// Throttled reports whether an adaptive mailbox conflates at the moment.
func (m *Mailbox) Throttled() bool { return m.conflating && m.mode == Adaptive }

// Len gives how many events and snapshots wait.
func (m *Mailbox) Len() int { return m.queue.len() + m.waiting + len(m.snapshots) }

// Empty reports whether nothing waits.
func (m *Mailbox) Empty() bool { return m.Len() == 0 }

// Merged gives how many events gave way to later ones here, ever.
func (m *Mailbox) Merged() uint64 { return m.merged }

// Oldest gives the time at which the oldest of what waits was added; the zero
// time where nothing waits.
func (m *Mailbox) Oldest() time.Time {
	var oldest time.Time
	if m.head != nil {
		oldest = m.since
	} else if e, ok := m.queue.peek(); ok {
		oldest = e.at
	}
	if len(m.snapshots) > 0 {
		if at := m.snapshots[0].at; oldest.IsZero() || at.Before(oldest) {
			oldest = at
		}
	}
	return oldest
}
