package tape

import (
	"time"

	"github.com/lzstock/lzstock/market"
)

// queue holds events by time, and those of equal time in the order in which they
// came: a binary heap. It is as long as the writer's window: no event is turned
// away, for a recording that leaves events out is worth less than its memory.
type queue struct {
	heap    []queued
	arrived uint64
}

type queued struct {
	e       market.Event
	at      time.Time
	arrival uint64
}

func (q *queue) less(i, j int) bool {
	a, b := &q.heap[i], &q.heap[j]
	if c := a.at.Compare(b.at); c != 0 {
		return c < 0
	}
	return a.arrival < b.arrival
}

func (q *queue) push(e market.Event, at time.Time) {
	q.arrived++
	q.heap = append(q.heap, queued{e: e, at: at, arrival: q.arrived})
	for i := len(q.heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if !q.less(i, parent) {
			return
		}
		q.heap[i], q.heap[parent] = q.heap[parent], q.heap[i]
		i = parent
	}
}

// popUntil takes the first event, where its time is not after limit.
func (q *queue) popUntil(limit time.Time) (market.Event, time.Time, bool) {
	if len(q.heap) == 0 || q.heap[0].at.After(limit) {
		return market.Event{}, time.Time{}, false
	}
	first, end := q.heap[0], len(q.heap)-1
	q.heap[0], q.heap[end] = q.heap[end], queued{}
	q.heap = q.heap[:end]
	for i := 0; ; {
		child := 2*i + 1
		if child >= end {
			break
		}
		if right := child + 1; right < end && q.less(right, child) {
			child = right
		}
		if !q.less(child, i) {
			break
		}
		q.heap[i], q.heap[child] = q.heap[child], q.heap[i]
		i = child
	}
	return first.e, first.at, true
}
