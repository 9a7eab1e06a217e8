package mailbox

import "slices"

// fifo is a queue over a ring that grows by doubling and is given back when it
// is empty and large. Who bounds it is the mailbox.
type fifo struct {
	ring  []entry
	start int
	count int
	keep  int // the greatest ring that it holds on to while it is empty
}

func (q *fifo) len() int { return q.count }

func (q *fifo) push(e entry) {
	if q.count == len(q.ring) {
		q.resize(max(8, 2*len(q.ring)))
	}
	q.ring[(q.start+q.count)&(len(q.ring)-1)] = e
	q.count++
}

func (q *fifo) pop() (entry, bool) {
	if q.count == 0 {
		return entry{}, false
	}
	e := q.ring[q.start]
	q.ring[q.start] = entry{}
	q.start = (q.start + 1) & (len(q.ring) - 1)
	q.count--
	if q.count == 0 && len(q.ring) > q.keep {
		*q = fifo{keep: q.keep}
	}
	return e, true
}

func (q *fifo) peek() (entry, bool) {
	if q.count == 0 {
		return entry{}, false
	}
	return q.ring[q.start], true
}

// dropDead removes dead entries from the front.
func (q *fifo) dropDead() {
	for q.count > 0 && q.ring[q.start].dead() {
		q.pop()
	}
}

// sort puts the entries into ascending order of position.
func (q *fifo) sort() {
	q.resize(len(q.ring))
	slices.SortStableFunc(q.ring[:q.count], func(a, b entry) int { return bySeq(a.item, b.item) })
}

// resize moves the entries to the front of a ring of size slots, a power of two.
func (q *fifo) resize(size int) {
	ring := make([]entry, size)
	for i := range q.count {
		ring[i] = q.ring[(q.start+i)&(len(q.ring)-1)]
	}
	q.ring, q.start = ring, 0
}
