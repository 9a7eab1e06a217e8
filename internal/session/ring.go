package session

import (
	"slices"
	"time"
)

const (
	// renewals is how often an attached session is renewed within the time after
	// which it would expire.
	renewals = 4
	// cells is into how many parts attachments are dealt; each is renewed in its
	// turn, so that ten thousand are not at once.
	cells = 30
)

// ring deals attachments into cells.
type ring struct {
	cells [cells]map[*Attachment]struct{}
	next  int
}

func (r *ring) add(a *Attachment) {
	r.next = (r.next + 1) % cells
	a.cell = r.next
	if r.cells[a.cell] == nil {
		r.cells[a.cell] = map[*Attachment]struct{}{}
	}
	r.cells[a.cell][a] = struct{}{}
}

func (r *ring) remove(a *Attachment) { delete(r.cells[a.cell], a) }

func (r *ring) len() (n int) {
	for _, c := range r.cells {
		n += len(c)
	}
	return n
}

// due gives a cell's attachments, none while the store is lost.
func (m *Manager) due(cell int) (due []*Attachment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.lost.IsZero() {
		return nil
	}
	for a := range m.ring.cells[cell] {
		due = append(due, a)
	}
	return due
}

// urgent gives the attachments that cannot wait for their turn: the store has
// lost them, or will soon. The first to expire is the first.
func (m *Manager) urgent() (due []*Attachment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	soon := time.Now().Add(m.cfg.Detached / 2)
	for _, c := range m.ring.cells {
		for a := range c {
			if a.missing || a.session.Expires.Before(soon) {
				due = append(due, a)
			}
		}
	}
	slices.SortFunc(due, func(a, b *Attachment) int { return a.session.Expires.Compare(b.session.Expires) })
	return due
}
