package session

import "fmt"

// view is what this gateway knows of all sessions: enough to count them. It
// follows the store, some milliseconds behind, and knows its own writes at once.
type view struct {
	sessions map[hash]seen
	users    map[User]*tally
	marks    map[hash]mark // by the user's hash
}

// seen is a session that is known of.
type seen struct {
	user *tally
	rev  uint64 // 0 while it is created
}

// tally counts an account's sessions.
type tally struct {
	user User
	n    int
}

func newView() *view {
	return &view{sessions: map[hash]seen{}, users: map[User]*tally{}, marks: map[hash]mark{}}
}

// add notes a session. One that is known can only be newer.
func (v *view) add(h hash, account User, rev uint64) {
	if s, ok := v.sessions[h]; ok {
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
	v.sessions[h] = seen{user: t, rev: rev}
}

func (v *view) remove(h hash) {
	s, ok := v.sessions[h]
	if !ok {
		return
	}
	delete(v.sessions, h)
	if s.user.n--; s.user.n == 0 {
		delete(v.users, s.user.user)
	}
}

// reserve counts a session that is about to be created, where there is room.
func (m *Manager) reserve(h hash, who *Identity) error {
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
	m.view.add(h, who.account(), 0)
	return nil
}

// forget stops counting a session; the store may teach better.
func (m *Manager) forget(h hash) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.view.remove(h)
}

// wrote notes a write of ours.
func (m *Manager) wrote(h hash, rev uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.max = max(m.max, rev)
	if s, ok := m.view.sessions[h]; ok {
		m.view.add(h, s.user.user, rev)
	}
}
