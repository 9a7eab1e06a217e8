package session

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Failures of a Manager. They are matched with errors.Is.
var (
	// ErrNotFound says that there is no such session for whoever asks: it is
	// unknown, has expired, was deleted or revoked, or belongs to somebody else.
	// Which of these is not told.
	ErrNotFound = errors.New("no such session")
	// ErrUserQuota says that the user has as many sessions as a user may have.
	ErrUserQuota = errors.New("too many sessions of this user")
	// ErrTotalQuota says that there are as many sessions as there may be.
	ErrTotalQuota = errors.New("too many sessions")
	// ErrUserBytes says that the sessions of the user, or of the address where nobody
	// says who they are, take as many bytes as they may.
	ErrUserBytes = errors.New("the sessions of this user or address take too much memory")
	// ErrTotalBytes says that all sessions together take as many bytes as they may.
	ErrTotalBytes = errors.New("all sessions together take too much memory")
	// ErrUnavailable says that the store cannot be reached. It may return.
	ErrUnavailable = errors.New("sessions are not available")
	// ErrSuperseded says that a newer socket has the session.
	ErrSuperseded = errors.New("a newer socket has the session")
	// ErrRevoked says that the credential is older than its user's revocation.
	ErrRevoked = errors.New("the credential was revoked")
	// ErrTooLarge says that a request has more topics than can be stored.
	ErrTooLarge = errors.New("the session is too large")
)

// Defaults of Config.
const (
	DefaultUnattached = time.Minute
	DefaultDetached   = 2 * time.Minute
	DefaultRevoked    = 24 * time.Hour
	DefaultPerUser    = 16
	DefaultTotal      = 100_000
	DefaultUserBytes  = 1 << 20
	DefaultTotalBytes = 128 << 20
)

// patience is how long a call waits for a store that does not answer.
const patience = 2 * time.Second

// Config configures a Manager; its zero value works, for a gateway that stands
// alone.
type Config struct {
	// KV is what all gateways share; a Memory of its own by default.
	KV KV
	// Gateway is this gateway's name, which no other has; random by default.
	Gateway string
	// Unattached is how long a session lives before its first socket comes, and
	// Detached after its socket went; 60 s and 2 min by default.
	Unattached, Detached time.Duration
	// Revoked is how long a revocation is remembered, 24 h by default: no shorter
	// than the life of a token.
	Revoked time.Duration
	// PerUser and Total are how many sessions there may be, 16 and 100,000 by
	// default. A grant's own limit comes before PerUser. Where the gateway asks
	// for no credentials, an address is a user, and PerUser has no default.
	PerUser, Total int
	// UserBytes and TotalBytes are how many bytes the sessions of one user, and all
	// together, may take in the store and in what a gateway knows of them; 1 MiB and
	// 128 MiB by default.
	UserBytes, TotalBytes int
	// OnRevoke is called for every revocation, once, from Run or Revoke: the
	// sockets of that user that were opened with credentials issued until then
	// must end, also those without a session. It must not block.
	OnRevoke func(user User, at time.Time)
	// Logger may be nil.
	Logger *slog.Logger
}

// Stats tells what a Manager did, and what there is.
type Stats struct {
	Sessions int // there are, on all gateways, as far as is known
	Bytes    int // that these take
	Attached int // sockets of this gateway
	Live     bool

	Created, Attaches, Detaches, Deletes, Revocations uint64
	Superseded, Deleted, Revoked                      uint64 // sockets of this gateway that ended so
	UserQuota, TotalQuota, Unavailable                uint64 // refusals
	UserBytes, TotalBytes                             uint64 // refusals, too
	Renewals, Restored, Failures                      uint64 // of writes for attached sessions
	Watches, Damaged                                  uint64 // times that watching began; records that make no sense
}

// Manager makes sessions, finds them, and attaches sockets to them. Its methods
// may be called from any goroutine. Create, Attach and IsRevoked need Run to run;
// the others do not, so that a tool can use them.
type Manager struct {
	cfg    Config
	kv     KV
	logger *slog.Logger
	wake   chan struct{} // some attachment must be written now

	mu    sync.Mutex
	live  chan struct{} // closed while the view is what the store has
	lost  time.Time     // since when it is not; zero while it is
	view  *view
	max   uint64 // the greatest revision that was seen
	slots map[hash]*slot
	ring  ring
	stats Stats
}

// New makes a Manager.
func New(cfg Config) (*Manager, error) {
	for _, d := range []struct {
		name  string
		value *time.Duration
		usual time.Duration
	}{
		{"unattached", &cfg.Unattached, DefaultUnattached},
		{"detached", &cfg.Detached, DefaultDetached},
		{"revoked", &cfg.Revoked, DefaultRevoked},
	} {
		if *d.value == 0 {
			*d.value = d.usual
		}
		if *d.value < time.Second {
			return nil, fmt.Errorf("sessions: %s is %s: want at least 1s, or 0 for the default", d.name, *d.value)
		}
	}
	if cfg.PerUser < 0 || cfg.Total < 0 {
		return nil, fmt.Errorf("sessions: %d a user and %d in all: want positive numbers, or 0 for the defaults", cfg.PerUser, cfg.Total)
	}
	if cfg.UserBytes < 0 || cfg.TotalBytes < 0 {
		return nil, fmt.Errorf("sessions: %d bytes a user and %d in all: want positive numbers, or 0 for the defaults", cfg.UserBytes, cfg.TotalBytes)
	}
	cfg.Total = cmp.Or(cfg.Total, DefaultTotal)
	cfg.UserBytes, cfg.TotalBytes = cmp.Or(cfg.UserBytes, DefaultUserBytes), cmp.Or(cfg.TotalBytes, DefaultTotalBytes)
	if cfg.KV == nil {
		cfg.KV = NewMemory(MemoryConfig{})
	}
	if cfg.Gateway == "" {
		cfg.Gateway = rand.Text()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Manager{
		cfg: cfg, kv: cfg.KV, logger: cfg.Logger, wake: make(chan struct{}, 1),
		live: make(chan struct{}), lost: time.Now(), view: newView(), slots: map[hash]*slot{},
	}, nil
}

// Create makes a session that lives for Config.Unattached unless a socket comes. Where
// the gateway asks for no credentials, the user is the client's address. Errors: what is
// wrong with the request, ErrTooLarge, ErrUserQuota, ErrTotalQuota, ErrUserBytes,
// ErrTotalBytes, ErrRevoked, ErrUnavailable.
//
// Quotas count what this gateway sees, its own sessions at once and those of
// others when the store tells. So a quota is exact on one gateway, and several
// may together exceed it by what they create within the store's delay of some
// milliseconds.
func (m *Manager) Create(ctx context.Context, who Identity, req Request) (ID, Session, error) {
	if err := req.Validate(); err != nil {
		return "", Session{}, err
	}
	now := time.Now().UTC()
	s := Session{Identity: who, Request: req, Created: now, Expires: now.Add(m.cfg.Unattached)}
	value, err := s.encode()
	if err != nil {
		return "", Session{}, err
	}
	id, err := m.create(ctx, &who, value)
	if err != nil {
		return "", Session{}, m.failed(ctx, "create a session", err)
	}
	return id, s, nil
}

func (m *Manager) create(ctx context.Context, who *Identity, value []byte) (ID, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := m.await(ctx); err != nil {
		return "", err
	}
	if m.IsRevoked(who.User, who.Issued) {
		return "", ErrRevoked
	}
	id := newID()
	h := hashOf(string(id))
	if err := m.reserve(h, who, sizeOf(value)); err != nil {
		return "", err
	}
	rev, err := m.kv.Create(ctx, h.key(sessionKey), value, m.cfg.Unattached)
	if err != nil {
		m.forget(h)
		return "", err
	}
	m.wrote(h, rev, sizeOf(value))
	// A revocation that this gateway has not seen may be older than the session,
	// and has not found it then.
	if err := m.welcome(ctx, who); err != nil {
		err = errors.Join(err, m.kv.Delete(ctx, h.key(sessionKey), 0))
		m.forget(h)
		return "", err
	}
	m.count(func(s *Stats) { s.Created++ })
	return id, nil
}

// Get gives a session to the user who made it. Errors: ErrNotFound,
// ErrUnavailable. Whoever has the id of a session that was made without
// credentials is its user.
func (m *Manager) Get(ctx context.Context, id ID, user User) (Session, error) {
	call, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s, _, err := m.find(call, hashOf(string(id)))
	if err == nil && !s.belongs(user) {
		err = ErrNotFound
	}
	if err != nil {
		return Session{}, m.failed(ctx, "get session "+id.Name(), err)
	}
	return s, nil
}

func (s *Session) belongs(user User) bool {
	return s.Identity.Method == Open || s.Identity.User == user
}

// Delete ends a session of the user, and its socket, on whichever gateway that
// is. Errors: ErrNotFound, ErrUnavailable.
func (m *Manager) Delete(ctx context.Context, id ID, user User) error {
	call, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	h := hashOf(string(id))
	s, _, err := m.find(call, h)
	if err == nil && !s.belongs(user) {
		err = ErrNotFound
	}
	if err == nil {
		err = m.kv.Delete(call, h.key(sessionKey), 0)
	}
	if err != nil {
		return m.failed(ctx, "delete session "+id.Name(), err)
	}
	m.count(func(s *Stats) { s.Deletes++ })
	m.gone(h)
	return nil
}

// find reads a session that can be used: it is there, and was not revoked.
func (m *Manager) find(ctx context.Context, h hash) (Session, uint64, error) {
	e, err := m.kv.Get(ctx, h.key(sessionKey))
	if errors.Is(err, ErrNoKey) {
		return Session{}, 0, ErrNotFound
	}
	if err != nil {
		return Session{}, 0, err
	}
	s, err := decode(e.Value, e.Rev)
	if err != nil {
		m.damaged(h, err)
		return Session{}, 0, ErrNotFound
	}
	if m.revoked(&s) {
		return Session{}, 0, ErrNotFound
	}
	return s, e.Rev, nil
}

// Ready says why sessions are not available, where they are not.
func (m *Manager) Ready() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lost.IsZero() {
		return nil
	}
	return fmt.Errorf("%w: the store was not read since %s", ErrUnavailable, m.lost.Format(time.RFC3339))
}

// Stats tells what was done so far.
func (m *Manager) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stats
	s.Sessions, s.Bytes, s.Attached, s.Live = len(m.view.sessions), m.view.bytes, m.ring.len(), m.lost.IsZero()
	return s
}

func (m *Manager) count(f func(*Stats)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(&m.stats)
}

func (m *Manager) damaged(h hash, err error) {
	m.count(func(s *Stats) { s.Damaged++ })
	m.logger.Error("a stored session cannot be used", slog.String("session", h.name()), slog.Any("error", err))
}

// await waits until the view is what the store has. Where the store has been
// lost for long, it does not wait.
func (m *Manager) await(ctx context.Context) error {
	m.mu.Lock()
	live, lost := m.live, m.lost
	m.mu.Unlock()
	if !lost.IsZero() && time.Since(lost) > patience {
		return fmt.Errorf("the store was not read since %s", lost.Format(time.RFC3339))
	}
	select {
	case <-live:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// failed gives the error of a call of ours: one of the sentinels. ctx is the
// caller's.
func (m *Manager) failed(ctx context.Context, what string, err error) error {
	for _, known := range []error{ErrNotFound, ErrUserQuota, ErrTotalQuota, ErrUserBytes, ErrTotalBytes, ErrSuperseded, ErrRevoked, ErrTooLarge} {
		if errors.Is(err, known) {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
	m.count(func(s *Stats) { s.Unavailable++ })
	return fmt.Errorf("%s: %w: %w", what, ErrUnavailable, err)
}
