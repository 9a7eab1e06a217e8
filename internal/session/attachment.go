package session

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Name gives what operators and logs call the session.
func (a *Attachment) Name() string { return a.name }

// Session gives the session as it is now.
func (a *Attachment) Session() Session {
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	return a.session
}

// Update remembers what the client asks for now. Errors: what is wrong with the
// request, ErrTooLarge, ErrUserBytes, ErrTotalBytes; ErrSuperseded and ErrNotFound, where the session was
// lost; ErrUnavailable, where the store cannot be reached: then the next renewal
// stores it.
func (a *Attachment) Update(ctx context.Context, req Request) error {
	if err := req.Validate(); err != nil {
		return err
	}
	req.Topics = slices.Clone(req.Topics)
	next := a.Session()
	next.Request = req
	value, err := next.encode()
	if err == nil {
		err = a.m.grow(a.hash, next.Identity.account(), sizeOf(value))
	}
	if err != nil {
		return err
	}
	a.m.mu.Lock()
	a.session.Request = req
	a.m.mu.Unlock()
	if err := a.write(ctx); err != nil {
		return a.m.failed(ctx, "update session "+a.name, err)
	}
	return nil
}

// Detach lets the session go, for the next socket that comes within
// Config.Detached. It does nothing where the session was lost before. end is not
// called afterwards, unless it is being called. The error is ErrUnavailable:
// then the session lives at most as long. ctx must outlive the socket's.
func (a *Attachment) Detach(ctx context.Context) error {
	m := a.m
	m.mu.Lock()
	if a.done {
		m.mu.Unlock()
		return nil
	}
	m.release(a)
	m.stats.Detaches++
	m.mu.Unlock()
	err := a.detach(ctx)
	if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrSuperseded) {
		return nil
	}
	return m.failed(ctx, "detach session "+a.name, err)
}

func (a *Attachment) detach(ctx context.Context) error {
	return a.store(ctx, func(s *Session) { s.Holder = Holder{} })
}

// write stores the session as it should be, while the attachment lasts.
func (a *Attachment) write(ctx context.Context) error {
	return a.store(ctx, nil)
}

// store writes the session, changed, unless another has it. Without a change it
// does so only while the attachment lasts: a renewal that comes late must not
// attach again what was detached.
func (a *Attachment) store(ctx context.Context, change func(*Session)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case a.busy <- struct{}{}:
		defer func() { <-a.busy }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	m := a.m
	for range tries {
		m.mu.Lock()
		s, rev, missing, over, done := a.session, a.rev, a.missing, a.over, a.done
		m.mu.Unlock()
		switch {
		case over != 0 || (done && change == nil):
			return over.err()
		case change != nil:
			change(&s)
		}
		s.Expires = time.Now().UTC().Add(m.cfg.Detached)
		value, err := s.encode()
		if err != nil {
			return err
		}
		if missing {
			rev, err = m.kv.Create(ctx, a.hash.key(sessionKey), value, m.cfg.Detached)
		} else {
			rev, err = m.kv.Update(ctx, a.hash.key(sessionKey), value, m.cfg.Detached, rev)
		}
		switch {
		case err == nil:
			a.stored(rev, s.Expires, sizeOf(value))
			return nil
		case errors.Is(err, ErrConflict), errors.Is(err, ErrExists):
			if err := a.reread(ctx); err != nil {
				return err
			}
		default:
			return err
		}
	}
	return errors.New("others write it all the time")
}

func (a *Attachment) stored(rev uint64, expires time.Time, bytes int) {
	m := a.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if a.missing {
		m.stats.Restored++
	}
	a.rev, a.missing, a.session.Expires = max(a.rev, rev), false, expires
	m.max = max(m.max, rev)
	if !a.done {
		m.view.add(a.hash, a.session.Identity.account(), rev, bytes)
	}
}

// reread looks who was faster: a write of its own whose answer was lost, an older
// holder, or one that has the session now.
func (a *Attachment) reread(ctx context.Context) error {
	m := a.m
	e, err := m.kv.Get(ctx, a.hash.key(sessionKey))
	if errors.Is(err, ErrNoKey) {
		return ErrNotFound // the store tells why
	}
	if err != nil {
		return err
	}
	s, err := decode(e.Value, e.Rev)
	if err != nil {
		return err
	}
	m.mu.Lock()
	cause := a.judge(event{rev: e.Rev, fence: s.Fence, holder: s.Holder})
	var lost losses
	if cause != 0 {
		lost.add(m.lose(a, cause))
	} else {
		a.rev, a.missing = e.Rev, false
	}
	m.mu.Unlock()
	lost.tell()
	if cause != 0 {
		return cause.err()
	}
	return nil
}
