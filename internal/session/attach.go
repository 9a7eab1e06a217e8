package session

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Cause is why a socket lost its session.
type Cause uint8

// The causes. The zero Cause is none.
const (
	_          Cause = iota
	Superseded       // a newer socket has it
	Deleted          // it was deleted
	Revoked          // its user was revoked
)

// String names the cause in logs and metrics.
func (c Cause) String() string {
	switch c {
	case Superseded:
		return "superseded"
	case Deleted:
		return "deleted"
	case Revoked:
		return "revoked"
	}
	return fmt.Sprintf("cause(%d)", uint8(c))
}

func (c Cause) err() error {
	if c == Superseded {
		return ErrSuperseded
	}
	return ErrNotFound
}

// Attachment is a socket's hold on a session. While it lasts, the session is
// renewed and does not expire.
type Attachment struct {
	m    *Manager
	hash hash
	name string
	end  func(Cause)
	busy chan struct{} // held by the one who writes

	// Under m.mu.
	session Session // as it should be stored
	rev     uint64  // as which it was stored last
	missing bool    // the store has lost it: it must be created again
	over    Cause   // why it ended; 0 while it lasts
	done    bool    // Detach was called, or it ended
	cell    int     // of the ring
}

// slot is what a gateway has to do with one session: a socket, and others that
// are about to be attached.
type slot struct {
	claims  int
	current *Attachment
	last    event // the newest that was seen while there was a claim
}

// event is what the store says of a session that has a slot.
type event struct {
	op     Op
	rev    uint64
	fence  uint64
	holder Holder
}

// Attach gives a session to a socket, which conn names, and takes it away from
// the one that has it, on whichever gateway that is. Of several that attach at
// once, one remains. Errors: ErrNotFound; ErrSuperseded, where a newer socket was
// faster; ErrUnavailable.
//
// end is called once, where the session is lost before Detach was called: at
// once where the cause is on this gateway, and otherwise when the store tells,
// some milliseconds later. It may be called before Attach has returned, not
// where Attach returns an error, and must not block. While the store cannot be
// reached, sockets keep their sessions.
func (m *Manager) Attach(ctx context.Context, id ID, conn string, end func(Cause)) (*Attachment, error) {
	a, err := m.attach(ctx, hashOf(string(id)), conn, end)
	if err != nil {
		return nil, m.failed(ctx, "attach session "+id.Name(), err)
	}
	return a, nil
}

// tries is how often a write is repeated that others were faster than. Each time
// some write took place, so it is enough.
const tries = 16

func (m *Manager) attach(ctx context.Context, h hash, conn string, end func(Cause)) (*Attachment, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := m.await(ctx); err != nil {
		return nil, err
	}
	sl := m.claim(h)
	defer m.unclaim(h, sl)
	for range tries {
		s, rev, err := m.find(ctx, h)
		if err != nil {
			return nil, err
		}
		now := time.Now().UTC()
		s.Fence++
		s.Holder = Holder{Gateway: m.cfg.Gateway, Conn: conn, Since: now}
		s.Expires = now.Add(m.cfg.Detached)
		value, err := s.encode()
		if err != nil {
			return nil, err
		}
		rev, err = m.kv.Update(ctx, h.key(sessionKey), value, m.cfg.Detached, rev)
		if errors.Is(err, ErrConflict) {
			continue
		}
		if err != nil {
			return nil, err
		}
		m.wrote(h, rev, sizeOf(value))
		a := &Attachment{m: m, hash: h, name: h.name(), end: end, busy: make(chan struct{}, 1), session: s, rev: rev}
		return a, m.settle(sl, a)
	}
	return nil, errors.New("others write it all the time")
}

// claim has events of the session noted, from before it is written until the
// attachment is known.
func (m *Manager) claim(h hash) *slot {
	m.mu.Lock()
	defer m.mu.Unlock()
	sl := m.slots[h]
	if sl == nil {
		sl = &slot{}
		m.slots[h] = sl
	}
	sl.claims++
	return sl
}

func (m *Manager) unclaim(h hash, sl *slot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	sl.claims--
	m.tidy(h, sl)
}

// tidy drops a slot that nobody needs; the caller holds the lock.
func (m *Manager) tidy(h hash, sl *slot) {
	if sl.claims == 0 && sl.current == nil && m.slots[h] == sl {
		delete(m.slots, h)
	}
}

// settle makes the attachment the one of this gateway, unless something newer
// than its write has been seen meanwhile.
func (m *Manager) settle(sl *slot, a *Attachment) error {
	m.mu.Lock()
	cause := Cause(0)
	if sl.last.rev > a.rev {
		cause = a.judge(sl.last)
	}
	before := sl.current
	switch {
	case m.view.revoked(&a.session):
		cause = Revoked
	case before != nil && before.session.Fence > a.session.Fence:
		cause = Superseded
	}
	if cause != 0 {
		a.done = true
		m.mu.Unlock()
		return cause.err()
	}
	var lost losses
	if before != nil {
		lost.add(m.lose(before, Superseded))
	}
	sl.current = a
	m.ring.add(a)
	m.stats.Attaches++
	m.mu.Unlock()
	lost.tell()
	return nil
}

// judge says whether an event takes the session away. One of its own writes does
// not, nor one of an older holder, nor that it has expired: then it is created
// again.
func (a *Attachment) judge(ev event) Cause {
	switch {
	case ev.op == OpDelete:
		return Deleted
	case ev.op == OpExpire:
		a.missing = true
		return 0
	case ev.fence == a.session.Fence && ev.holder.same(a.session.Holder):
		a.rev = ev.rev
		return 0
	case ev.fence >= a.session.Fence:
		return Superseded
	}
	return 0
}

func (h Holder) same(other Holder) bool { return h.Gateway == other.Gateway && h.Conn == other.Conn }

// losses are attachments that ended, to be told without the lock.
type losses []*Attachment

func (l *losses) add(a *Attachment) {
	if a != nil {
		*l = append(*l, a)
	}
}

func (l losses) tell() {
	for _, a := range l {
		a.end(a.over)
	}
}

// lose ends an attachment; the caller holds the lock, and tells it afterwards
// where it was not over before.
func (m *Manager) lose(a *Attachment, cause Cause) *Attachment {
	if a.done {
		return nil
	}
	a.over = cause
	switch cause {
	case Superseded:
		m.stats.Superseded++
	case Deleted:
		m.stats.Deleted++
	case Revoked:
		m.stats.Revoked++
	}
	m.release(a)
	return a
}

// release takes an attachment out; the caller holds the lock.
func (m *Manager) release(a *Attachment) {
	a.done = true
	m.ring.remove(a)
	if sl := m.slots[a.hash]; sl != nil && sl.current == a {
		sl.current = nil
		m.tidy(a.hash, sl)
	}
}

// gone ends this gateway's socket of a session that was deleted.
func (m *Manager) gone(h hash) {
	m.mu.Lock()
	m.view.remove(h)
	var lost losses
	if sl := m.slots[h]; sl != nil && sl.current != nil {
		lost.add(m.lose(sl.current, Deleted))
	}
	m.mu.Unlock()
	lost.tell()
}
