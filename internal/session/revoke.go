package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"
)

// Revoke deletes all sessions of a user, ends the sockets on every gateway, also
// those without a session (Config.OnRevoke), and leaves a mark for Config.Revoked:
// what was made before it cannot be used any more, see IsRevoked. It gives how
// many sessions it deleted. Errors: ErrUnavailable, and the cause of ctx, which
// alone bounds it: then the mark may stand and some sessions as well, which no
// gateway attaches. Revoke may be called again.
func (m *Manager) Revoke(ctx context.Context, user User) (int, error) {
	if user == "" {
		return 0, errors.New("revoke: there is no user: want a name")
	}
	n, err := m.revoke(ctx, user)
	if err != nil {
		return n, m.failed(ctx, fmt.Sprintf("revoke %q", string(user)), err)
	}
	m.count(func(s *Stats) { s.Revocations++ })
	return n, nil
}

func (m *Manager) revoke(ctx context.Context, user User) (n int, err error) {
	h := hashOf(string(user))
	mk, err := m.putMark(ctx, h, user)
	if err != nil {
		return 0, err
	}
	m.mark(h, mk)
	for s, err := range m.stored(ctx) {
		if err != nil {
			return n, err
		}
		if !mk.ends(&s.Session) {
			continue
		}
		if err := m.kv.Delete(ctx, s.hash.key(sessionKey), 0); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// putMark stores the revocation, in place of an older one.
func (m *Manager) putMark(ctx context.Context, h hash, user User) (mark, error) {
	mk := mark{Version: version, User: user, At: time.Now().UTC()}
	value, err := json.Marshal(mk)
	if err != nil {
		return mark{}, err
	}
	for range tries {
		e, err := m.kv.Get(ctx, h.key(revocationKey))
		switch {
		case err == nil:
			mk.rev, err = m.kv.Update(ctx, e.Key, value, m.cfg.Revoked, e.Rev)
		case errors.Is(err, ErrNoKey):
			mk.rev, err = m.kv.Create(ctx, h.key(revocationKey), value, m.cfg.Revoked)
		}
		if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrExists) {
			return mk, err
		}
	}
	return mark{}, errors.New("others write it all the time")
}

// IsRevoked reports whether a credential that was issued then must be refused:
// its user was revoked at that time or later. Of a credential whose time of issue
// is not known, such as an API key, no mark can say whether it is the old one or
// a new one, so it is not refused: a revocation ends its sockets and sessions
// once, and to keep it out it must be taken back where it is kept. It knows what
// Run has seen: a revocation on another gateway some milliseconds later, and
// nothing before Ready.
func (m *Manager) IsRevoked(user User, issued time.Time) bool {
	h := hashOf(string(user))
	m.mu.Lock()
	defer m.mu.Unlock()
	mk, ok := m.view.marks[h]
	return ok && mk.covers(issued)
}

func (mk *mark) covers(issued time.Time) bool { return !issued.IsZero() && !issued.After(mk.At) }

// welcome asks the store itself whether a credential was revoked.
func (m *Manager) welcome(ctx context.Context, who *Identity) error {
	if who.Issued.IsZero() {
		return nil
	}
	h := hashOf(string(who.User))
	e, err := m.kv.Get(ctx, h.key(revocationKey))
	if errors.Is(err, ErrNoKey) {
		return nil
	}
	if err != nil {
		return err
	}
	if mk, ok := m.readMark(h, e); ok && mk.covers(who.Issued) {
		return ErrRevoked
	}
	return nil
}

// ends reports whether a session is older than the revocation of its user. The
// store's revisions say so, whatever the clocks say; the clocks do where the store
// was made anew under a session, and where a clock is behind, it ends too much
// rather than too little.
func (mk *mark) ends(s *Session) bool {
	return s.Identity.User == mk.User && (s.born < mk.rev || s.Created.Before(mk.At))
}

func (m *Manager) revoked(s *Session) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.view.revoked(s)
}

func (v *view) revoked(s *Session) bool {
	if len(v.marks) == 0 {
		return false
	}
	mk, ok := v.marks[hashOf(string(s.Identity.User))]
	return ok && mk.ends(s)
}

func (m *Manager) readMark(h hash, e Entry) (mark, bool) {
	mk, err := decodeMark(e.Value, e.Rev)
	if err != nil {
		m.damaged(h, err)
		return mark{}, false
	}
	return mk, true
}

// mark takes a revocation that is new: sockets with sessions end here, the others
// by OnRevoke.
func (m *Manager) mark(h hash, mk mark) {
	var lost losses
	m.mu.Lock()
	m.max = max(m.max, mk.rev)
	known, ok := m.view.marks[h]
	fresh := !ok || known.rev < mk.rev
	if fresh {
		m.view.marks[h] = mk
		for _, sl := range m.slots {
			if a := sl.current; a != nil && mk.ends(&a.session) {
				lost.add(m.lose(a, Revoked))
			}
		}
	}
	m.mu.Unlock()
	lost.tell()
	if fresh {
		m.announce([]mark{mk})
	}
}

func (m *Manager) unmark(h hash, rev uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if mk, ok := m.view.marks[h]; ok && mk.rev < rev {
		delete(m.view.marks, h)
	}
}

func (m *Manager) announce(fresh []mark) {
	for _, mk := range fresh {
		m.logger.Info("user revoked", slog.String("user", string(mk.User)), slog.Time("at", mk.At))
		if m.cfg.OnRevoke != nil {
			m.cfg.OnRevoke(mk.User, mk.At)
		}
	}
}

// Info is a session as operators see it: they have no use for its id.
type Info struct {
	Name string // as the logs have it
	Session
}

// List gives the sessions that the store has, of one user, or where that is empty
// of all. The last pair holds an error, where there is one: ErrUnavailable, or
// the cause of ctx, which alone bounds it.
func (m *Manager) List(ctx context.Context, user User) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		for s, err := range m.stored(ctx) {
			if err != nil {
				yield(Info{}, m.failed(ctx, "list sessions", err))
				return
			}
			if (user == "" || s.Identity.User == user) && !yield(Info{Name: s.hash.name(), Session: s.Session}, nil) {
				return
			}
		}
	}
}

type storedSession struct {
	Session
	hash hash
}

// stored gives the sessions that the store has.
func (m *Manager) stored(ctx context.Context) iter.Seq2[storedSession, error] {
	return func(yield func(storedSession, error) bool) {
		for e, err := range m.kv.Watch(ctx) {
			if err != nil {
				yield(storedSession{}, err)
				return
			}
			if e.Op == OpSynced {
				return
			}
			kind, h, ok := parseKey(e.Key)
			if !ok || kind != sessionKey || e.Op != OpPut {
				continue
			}
			s, err := decode(e.Value, e.Rev)
			if err != nil {
				m.damaged(h, err)
				continue
			}
			if !yield(storedSession{Session: s, hash: h}, nil) {
				return
			}
		}
	}
}
