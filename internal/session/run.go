package session

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	retryFirst = 50 * time.Millisecond
	retryMost  = time.Second
	// renewers is how many attached sessions are written at once.
	renewers = 16
)

// Run follows the store and renews the sessions that sockets of this gateway
// have, until ctx ends. Where the store is lost it goes on when that returns: it
// reads all there is, ends the sockets that lost their sessions meanwhile, and
// creates again what expired under a socket. Run it once.
func (m *Manager) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.follow(ctx) })
	g.Go(func() error { return m.renew(ctx) })
	err := g.Wait()
	m.unlive()
	return err
}

// follow watches, again and again.
func (m *Manager) follow(ctx context.Context) error {
	for barren := 0; ctx.Err() == nil; barren++ {
		synced, err := m.watch(ctx)
		if synced {
			barren = 0
		}
		if first := m.unlive() || barren == 0; first && ctx.Err() == nil {
			m.logger.Warn("the store of sessions is lost", slog.Any("error", err))
		}
		select {
		case <-time.After(rand.N(min(retryMost, retryFirst<<min(barren, 10)))):
		case <-ctx.Done():
		}
	}
	return nil
}

// unlive says that the view may be behind. It reports whether that is new.
func (m *Manager) unlive() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.lost.IsZero() {
		return false
	}
	m.lost, m.live = time.Now(), make(chan struct{})
	return true
}

// watch follows the store until that ends it, and reports whether it has read
// all that there was.
func (m *Manager) watch(ctx context.Context) (synced bool, err error) {
	m.mu.Lock()
	m.stats.Watches++
	l := &loading{view: newView(), events: map[hash]event{}, before: m.max}
	m.mu.Unlock()
	for e, err := range m.kv.Watch(ctx) {
		if err != nil {
			return synced, err
		}
		switch {
		case e.Op == OpSynced:
			m.synced(l, e.Rev)
			l, synced = nil, true
		case l != nil:
			m.load(l, e)
		default:
			m.change(e)
		}
	}
	return synced, errors.New("the watch has ended without a word")
}

// loading gathers what there is when a watch begins.
type loading struct {
	view   *view
	events map[hash]event // of sessions that have a slot
	before uint64         // the greatest revision that was seen before
}

// load takes one entry of what there is.
func (m *Manager) load(l *loading, e Entry) {
	kind, h, ok := parseKey(e.Key)
	switch {
	case !ok:
	case kind == revocationKey && e.Op == OpPut:
		if mk, ok := m.readMark(h, e); ok {
			l.view.marks[h] = mk
		}
	case kind == sessionKey:
		account, ev, ok := m.read(h, e)
		if !ok {
			return
		}
		if ev.rev != 0 {
			l.events[h] = ev
		}
		if e.Op == OpPut {
			l.view.add(h, account, e.Rev, sizeOf(e.Value))
		}
	}
}

// read gives whose session an entry is, and the event where there is a slot.
// What is known and has no slot is not decoded: renewals are many.
func (m *Manager) read(h hash, e Entry) (account User, ev event, ok bool) {
	m.mu.Lock()
	s, known := m.view.sessions[h]
	slotted := m.slots[h] != nil
	m.mu.Unlock()
	if e.Op != OpPut {
		return "", event{op: e.Op, rev: e.Rev}, true
	}
	if known && !slotted {
		return s.user.user, event{}, true
	}
	stored, err := decode(e.Value, e.Rev)
	if err != nil {
		m.damaged(h, err)
		return "", event{}, false
	}
	return stored.Identity.account(), event{rev: e.Rev, fence: stored.Fence, holder: stored.Holder}, true
}

// synced makes what was loaded the view. upTo is the revision up to which it is
// complete: what is newer comes, or is a write of ours.
func (m *Manager) synced(l *loading, upTo uint64) {
	m.mu.Lock()
	anew := upTo < l.before // another store than before: its revisions say nothing
	newer := func(rev uint64) bool { return rev == 0 || (!anew && rev > upTo) }
	for h, s := range m.view.sessions {
		if newer(s.rev) {
			l.view.add(h, s.user.user, s.rev, s.bytes)
		}
	}
	for h, mk := range m.view.marks {
		if _, ok := l.view.marks[h]; !ok && newer(mk.rev) {
			l.view.marks[h] = mk
		}
	}
	old := m.view
	m.view = l.view
	if m.max = max(m.max, upTo); anew {
		m.max = upTo
	}
	var fresh []mark
	for h, mk := range m.view.marks {
		if known, ok := old.marks[h]; !ok || known.rev != mk.rev {
			fresh = append(fresh, mk)
		}
	}
	var lost losses
	for h, sl := range m.slots {
		m.compare(l, h, sl, upTo, anew, &lost)
	}
	since := m.lost
	if !since.IsZero() {
		m.lost = time.Time{}
		close(m.live)
	}
	sessions := len(m.view.sessions)
	m.mu.Unlock()
	lost.tell()
	m.announce(fresh)
	signal(m.wake)
	m.logger.Info("the store of sessions was read", slog.Int("sessions", sessions), slog.Duration("after", time.Since(since)))
}

// compare looks what became of a session with a slot while nobody watched; the
// caller holds the lock.
func (m *Manager) compare(l *loading, h hash, sl *slot, upTo uint64, anew bool, lost *losses) {
	a := sl.current
	if anew {
		sl.last = event{}
		if a != nil {
			a.rev = 0
		}
	}
	ev, ok := l.events[h]
	switch _, there := m.view.sessions[h]; {
	case a != nil && m.view.revoked(&a.session): // and so deleted
		lost.add(m.lose(a, Revoked))
	case ok:
		lost.add(m.happened(sl, ev))
	case a != nil && !there && a.rev <= upTo:
		a.missing = true
	}
}

// happened takes an event of a session with a slot, and gives the attachment
// that it ended; the caller holds the lock.
func (m *Manager) happened(sl *slot, ev event) *Attachment {
	if ev.rev > sl.last.rev {
		sl.last = ev
	}
	a := sl.current
	if a == nil || ev.rev <= a.rev {
		return nil
	}
	if cause := a.judge(ev); cause != 0 {
		return m.lose(a, cause)
	}
	return nil
}

// change takes one change of the store.
func (m *Manager) change(e Entry) {
	kind, h, ok := parseKey(e.Key)
	switch {
	case !ok:
	case kind == revocationKey && e.Op == OpPut:
		if mk, ok := m.readMark(h, e); ok {
			m.mark(h, mk)
		}
	case kind == revocationKey:
		m.unmark(h, e.Rev)
	default:
		if account, ev, ok := m.read(h, e); ok {
			m.changed(h, e, account, ev)
		}
	}
}

func (m *Manager) changed(h hash, e Entry, account User, ev event) {
	var lost losses
	missing := false
	m.mu.Lock()
	m.max = max(m.max, e.Rev)
	if e.Op == OpPut {
		m.view.add(h, account, e.Rev, sizeOf(e.Value))
	} else if s, ok := m.view.sessions[h]; ok && s.rev < e.Rev {
		m.view.remove(h)
	}
	if sl := m.slots[h]; sl != nil && ev.rev != 0 {
		lost.add(m.happened(sl, ev))
		missing = sl.current != nil && sl.current.missing
	}
	m.mu.Unlock()
	lost.tell()
	if missing {
		signal(m.wake)
	}
}

// renew writes attached sessions before they expire, spread over time.
func (m *Manager) renew(ctx context.Context) error {
	tick := time.NewTicker(max(1, m.cfg.Detached/(renewals*cells)))
	defer tick.Stop()
	for cell := 0; ; {
		var due []*Attachment
		select {
		case <-tick.C:
			cell = (cell + 1) % cells
			due = m.due(cell)
		case <-m.wake:
			due = m.urgent()
		case <-ctx.Done():
			return nil
		}
		if len(due) > 0 {
			m.renewAll(ctx, due)
		}
	}
}

// renewAll writes sessions, until one fails because the store does.
func (m *Manager) renewAll(ctx context.Context, due []*Attachment) {
	g, all := errgroup.WithContext(ctx)
	g.SetLimit(renewers)
	for _, a := range due {
		g.Go(func() error {
			err := a.write(all)
			if err == nil {
				m.count(func(s *Stats) { s.Renewals++ })
			}
			if errors.Is(err, ErrSuperseded) || errors.Is(err, ErrNotFound) {
				err = nil // its end was told
			}
			return err
		})
	}
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		m.count(func(s *Stats) { s.Failures++ })
		m.logger.Warn("sessions were not renewed", slog.Int("sessions", len(due)), slog.Any("error", err))
	}
}
