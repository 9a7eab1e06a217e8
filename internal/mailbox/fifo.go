package mailbox

import (
	"math/bits"
	"slices"
	"sync"
)

// fifo is a queue over a ring that grows by doubling. Who bounds it is the
// mailbox. An empty one holds no memory.
type fifo struct {
	ring  *ring
	start int32
	count int32
}

type ring struct{ entries []entry }

// Rings lends queues their memory, so that those which are empty, nearly all at
// nearly all times, hold none. What is not lent for a while goes to the
// collector. All mailboxes of a process may share one. Its zero value is ready.
type Rings struct {
	free [7]sync.Pool // of *ring, with 8, 16, … 512 zero entries
}

const least = 8 // entries of the smallest ring

// take gives a ring of size entries, a power of two.
func (r *Rings) take(size int) *ring {
	if i := class(size); i < len(r.free) {
		if got, ok := r.free[i].Get().(*ring); ok {
			return got
		}
	}
	return &ring{make([]entry, size)}
}

// put takes back a ring whose entries are zero; large ones are left to the
// collector.
func (r *Rings) put(old *ring) {
	if i := class(len(old.entries)); i < len(r.free) {
		r.free[i].Put(old)
	}
}

func class(size int) int { return bits.Len(uint(size/least)) - 1 }

func (q *fifo) len() int { return int(q.count) }

func (q *fifo) push(rings *Rings, e entry) {
	switch {
	case q.ring == nil:
		q.ring = rings.take(least)
	case q.len() == len(q.ring.entries):
		q.move(rings, 2*q.len())
	}
	list := q.ring.entries
	list[int(q.start+q.count)&(len(list)-1)] = e
	q.count++
}

func (q *fifo) pop(rings *Rings) (entry, bool) {
	if q.count == 0 {
		return entry{}, false
	}
	list := q.ring.entries
	e := list[q.start]
	list[q.start] = entry{}
	q.start = (q.start + 1) & int32(len(list)-1)
	q.count--
	if q.count == 0 {
		rings.put(q.ring)
		*q = fifo{}
	}
	return e, true
}

func (q *fifo) peek() (entry, bool) {
	if q.count == 0 {
		return entry{}, false
	}
	return q.ring.entries[q.start], true
}

// dropDead removes dead entries from the front.
func (q *fifo) dropDead(rings *Rings) {
	for q.count > 0 && q.ring.entries[q.start].dead() {
		q.pop(rings)
	}
}

// sort puts the entries into ascending order of position.
func (q *fifo) sort(rings *Rings) {
	if q.count == 0 {
		return
	}
	q.move(rings, len(q.ring.entries))
	slices.SortStableFunc(q.ring.entries[:q.count], func(a, b entry) int { return bySeq(a.item, b.item) })
}

// move brings the entries to the front of another ring, of size entries.
func (q *fifo) move(rings *Rings, size int) {
	old, to := q.ring, rings.take(size)
	n := copy(to.entries, old.entries[q.start:min(int(q.start+q.count), len(old.entries))])
	copy(to.entries[n:], old.entries[:q.len()-n])
	clear(old.entries)
	rings.put(old)
	q.ring, q.start = to, 0
}
