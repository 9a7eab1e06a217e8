package gateway

import "sync"

// turn serializes what is done for one client. Most of it comes from the reader,
// one call at a time; some takes long and runs on a goroutine of its own, and some
// comes from others.
type turn struct {
	mu      sync.Mutex
	taken   bool
	waiting *queued // in order; nil: nobody waits
}

// queued is what waits for its turn.
type queued struct {
	act
	next *queued
}

// act is something done in a turn. It reports whether it keeps the turn: then
// somebody else gives it later.
type act func() (kept bool)

// do runs f now, or has whoever holds the turn run it later.
func (t *turn) do(f act) {
	t.mu.Lock()
	if t.taken {
		last := &t.waiting
		for *last != nil {
			last = &(*last).next
		}
		*last = &queued{act: f}
		t.mu.Unlock()
		return
	}
	t.taken = true
	t.mu.Unlock()
	if !f() {
		t.give()
	}
}

// free begins a turn where nobody holds it.
func (t *turn) free() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.taken {
		return false
	}
	t.taken = true
	return true
}

// wait gives how many wait.
func (t *turn) wait() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for q := t.waiting; q != nil; q = q.next {
		n++
	}
	return n
}

// give ends a turn, when all that waited has run.
func (t *turn) give() {
	for kept := false; !kept; {
		t.mu.Lock()
		if t.waiting == nil {
			t.taken = false
			t.mu.Unlock()
			return
		}
		f := t.waiting.act
		t.waiting = t.waiting.next
		t.mu.Unlock()
		kept = f()
	}
}
