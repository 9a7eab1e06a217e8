package session

import "fmt"

// view is what this gateway knows of all sessions: enough to count them. It
// follows the store, some milliseconds behind, and knows its own writes at once.
type view struct {
	sessions map[hash]seen
	users    map[User]*tally
	marks    map[hash]mark // by the user's hash
	bytes    int           // that all sessions take
}

// seen is a session that is known of.
type seen struct {
	user  *tally
	rev   uint64 // 0 while it is created
	bytes int
}

// overhead is what a store in memory and a view hold of a session beside its record, in
// bytes.
const overhead = 400

// sizeOf returns how many bytes a session takes whose record is value.
func sizeOf(value []byte) int { return len(value) + overhead }

// tally counts an account's sessions.
type tally struct {
	user  User
	n     int
	bytes int
}

func newView() *view {
	return &view{sessions: map[hash]seen{}, users: map[User]*tally{}, marks: map[hash]mark{}}
}

// add notes a session and its size. One that is known can only be newer.
func (v *view) add(h hash, account User, rev uint64, bytes int) {
	if s, ok := v.sessions[h]; ok {
		if rev >= s.rev {
			v.resize(&s, bytes)
		}
		s.rev = max(s.rev, rev)
		v.sessions[h] = s
		return
	}
	t := v.users[account]
	if t == nil {
		t = &tally{user: account}
		v.users[account] = t
	}
	t.n++
	s := seen{user: t, rev: rev}
	v.resize(&s, bytes)
	v.sessions[h] = s
}

func (v *view) resize(s *seen, bytes int) {
	more := bytes - s.bytes
	v.bytes += more
	s.user.bytes += more
	s.bytes = bytes
}

func (v *view) remove(h hash) {
	s, ok := v.sessions[h]
	if !ok {
		return
	}
	delete(v.sessions, h)
	v.resize(&s, 0)
	if s.user.n--; s.user.n == 0 {
		delete(v.users, s.user.user)
	}
}

// reserve counts a session that is about to be created, where there is room.
func (m *Manager) reserve(h hash, who *Identity, bytes int) error {
	limit := who.Grant.Limits.Sessions
	if limit == 0 {
		limit = m.cfg.PerUser
	}
	if limit == 0 && who.Method != Open {
		limit = DefaultPerUser
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.view.sessions); n >= m.cfg.Total {
		m.stats.TotalQuota++
		return fmt.Errorf("%w: there are %d of at most %d", ErrTotalQuota, n, m.cfg.Total)
	}
	if t := m.view.users[who.account()]; t != nil && limit > 0 && t.n >= limit {
		m.stats.UserQuota++
		return fmt.Errorf("%w: there are %d of at most %d", ErrUserQuota, t.n, limit)
	}
	if err := m.fits(who.account(), bytes); err != nil {
		return err
	}
	m.view.add(h, who.account(), 0, bytes)
	return nil
}

// fits reports whether there is room for so many more bytes of an account; the caller
// holds the lock.
func (m *Manager) fits(account User, more int) error {
	if n := m.view.bytes + more; n > m.cfg.TotalBytes {
		m.stats.TotalBytes++
		return fmt.Errorf("%w: %d bytes, want at most %d", ErrTotalBytes, n, m.cfg.TotalBytes)
	}
	n := more
	if t := m.view.users[account]; t != nil {
		n += t.bytes
	}
	if n > m.cfg.UserBytes {
		m.stats.UserBytes++
		return fmt.Errorf("%w: %d bytes, want at most %d", ErrUserBytes, n, m.cfg.UserBytes)
	}
	return nil
}

// grow counts a session as it is about to be stored, where there is room. One that
// becomes smaller always has.
func (m *Manager) grow(h hash, account User, bytes int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.view.sessions[h]
	if !ok {
		return nil // it counts when it is stored
	}
	if more := bytes - s.bytes; more > 0 {
		if err := m.fits(account, more); err != nil {
			return err
		}
	}
	m.view.resize(&s, bytes)
	m.view.sessions[h] = s
	return nil
}

// forget stops counting a session; the store may teach better.
func (m *Manager) forget(h hash) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.view.remove(h)
}

// wrote notes a write of ours.
func (m *Manager) wrote(h hash, rev uint64, bytes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.max = max(m.max, rev)
	if s, ok := m.view.sessions[h]; ok {
		m.view.add(h, s.user.user, rev, bytes)
	}
}
