package hub

import (
	"container/heap"
	"time"
)

// schedule sees to it that the member is flushed at wake, or earlier: a timer
// that is set for earlier is left alone.
func (s *shard) schedule(m *Member, wake time.Time) {
	at := wake.Sub(s.hub.made)
	switch {
	case wake.IsZero():
		if m.index >= 0 {
			heap.Remove(&s.timers, m.index)
		}
	case m.index < 0:
		m.wake = at
		heap.Push(&s.timers, m)
	case at < m.wake:
		m.wake = at
		heap.Fix(&s.timers, m.index)
	}
}

// timers is a heap of members by wake.
type timers []*Member

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].wake < t[j].wake }
func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].index, t[j].index = i, j
}

func (t *timers) Push(x any) {
	m := x.(*Member)
	m.index = len(*t)
	*t = append(*t, m)
}

func (t *timers) Pop() any {
	old := *t
	m := old[len(old)-1]
	old[len(old)-1] = nil
	*t = old[:len(old)-1]
	m.index = -1
	return m
}
