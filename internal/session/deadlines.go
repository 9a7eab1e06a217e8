package session

import (
	"container/heap"
	"time"
)

// deadlines keeps keys by the time at which they expire, the next one first.
type deadlines []*deadline

type deadline struct {
	key string
	at  time.Time
	i   int
}

func (d *deadlines) first() *deadline {
	if len(*d) == 0 {
		return nil
	}
	return (*d)[0]
}

func (d *deadlines) add(key string, at time.Time) *deadline {
	x := &deadline{key: key, at: at}
	heap.Push(d, x)
	return x
}

func (d *deadlines) move(x *deadline, at time.Time) {
	x.at = at
	heap.Fix(d, x.i)
}

func (d *deadlines) drop(x *deadline) { heap.Remove(d, x.i) }

// Len implements heap.Interface, as do Less, Swap, Push and Pop.
func (d *deadlines) Len() int { return len(*d) }

// Less puts the next one first.
func (d *deadlines) Less(i, j int) bool { return (*d)[i].at.Before((*d)[j].at) }

// Swap keeps each one's place.
func (d *deadlines) Swap(i, j int) {
	s := *d
	s[i], s[j] = s[j], s[i]
	s[i].i, s[j].i = i, j
}

// Push takes a *deadline.
func (d *deadlines) Push(x any) {
	if n, ok := x.(*deadline); ok {
		n.i = len(*d)
		*d = append(*d, n)
	}
}

// Pop gives the last.
func (d *deadlines) Pop() any {
	s := *d
	last := s[len(s)-1]
	s[len(s)-1] = nil
	*d = s[:len(s)-1]
	return last
}
