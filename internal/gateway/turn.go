package gateway

import "sync"

// turn serializes what is done for one client. Most of it comes from the reader,
// one call at a time; some takes long and runs on a goroutine of its own, and some
// comes from others.
type turn struct {
	mu      sync.Mutex
	taken   bool
	waiting []act
}

// act is something done in a turn. It reports whether it keeps the turn: then
// somebody else gives it later.
type act func() (kept bool)

// do runs f now, or has whoever holds the turn run it later.
func (t *turn) do(f act) {
	t.mu.Lock()
	if t.taken {
		t.waiting = append(t.waiting, f)
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

// queued gives how many wait.
func (t *turn) queued() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.waiting)
}

// give ends a turn, when all that waited has run.
func (t *turn) give() {
	for kept := false; !kept; {
		t.mu.Lock()
		if len(t.waiting) == 0 {
			t.taken, t.waiting = false, nil
			t.mu.Unlock()
			return
		}
		f := t.waiting[0]
		t.waiting = t.waiting[1:]
		t.mu.Unlock()
		kept = f()
	}
}
