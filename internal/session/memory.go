package session

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"
)

// MemoryConfig configures a Memory; its zero value works.
type MemoryConfig struct {
	// Keys is how many keys it holds at once, and how many deletes it remembers
	// for those who begin to watch; 250,000 by default. Create then fails with
	// ErrFull.
	Keys int
	// Backlog is how many changes wait for one who watches; 65,536 by default.
	// Where there are more, the watch ends with ErrBehind.
	Backlog int
}

// ErrBehind ends a Memory's watch that took its changes too slowly.
var ErrBehind = errors.New("too many changes wait to be watched")

// errDown is an injected outage.
var errDown = errors.New("an outage was injected")

// Memory is a KV within one process: for a gateway that stands alone, and for
// tests. It needs no network and starts no goroutine, so it works in a synctest
// bubble: keys expire when they are asked for, and while somebody watches.
type Memory struct {
	cfg MemoryConfig

	mu       sync.Mutex
	rev      uint64
	keys     map[string]memoryKey
	order    deadlines
	deleted  []memoryDelete // in order of time
	watchers map[*memoryWatch]struct{}
	down     bool
}

type memoryKey struct {
	value []byte
	rev   uint64
	at    *deadline
}

type memoryDelete struct {
	key string
	rev uint64
	at  time.Time
}

type memoryWatch struct {
	pending []Entry
	err     error
	wake    chan struct{}
}

// NewMemory makes an empty store.
func NewMemory(cfg MemoryConfig) *Memory {
	const usualKeys, usualBacklog = 250_000, 1 << 16
	if cfg.Keys <= 0 {
		cfg.Keys = usualKeys
	}
	if cfg.Backlog <= 0 {
		cfg.Backlog = usualBacklog
	}
	return &Memory{cfg: cfg, keys: map[string]memoryKey{}, watchers: map[*memoryWatch]struct{}{}}
}

// SetDown injects an outage, or ends it: every call fails, every watch ends, and
// time goes on.
func (m *Memory) SetDown(down bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = down
	if down {
		for w := range m.watchers {
			w.end(errDown)
		}
	}
}

// Wipe makes the store anew: all keys are gone without a word, and revisions
// begin again.
func (m *Memory) Wipe() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rev, m.order, m.deleted = 0, nil, nil
	clear(m.keys)
	for w := range m.watchers {
		w.end(errors.New("the store was made anew"))
	}
}

// Create implements KV.
func (m *Memory) Create(ctx context.Context, key string, value []byte, ttl time.Duration) (uint64, error) {
	if err := m.enter(ctx); err != nil {
		return 0, fmt.Errorf("create: %w", err)
	}
	defer m.mu.Unlock()
	if _, ok := m.keys[key]; ok {
		return 0, ErrExists
	}
	if len(m.keys) >= m.cfg.Keys {
		return 0, fmt.Errorf("%w: it holds %d keys", ErrFull, len(m.keys))
	}
	return m.put(key, value, ttl), nil
}

// Update implements KV.
func (m *Memory) Update(ctx context.Context, key string, value []byte, ttl time.Duration, rev uint64) (uint64, error) {
	if err := m.enter(ctx); err != nil {
		return 0, fmt.Errorf("update: %w", err)
	}
	defer m.mu.Unlock()
	if k, ok := m.keys[key]; !ok || k.rev != rev {
		return 0, ErrConflict
	}
	return m.put(key, value, ttl), nil
}

// Get implements KV.
func (m *Memory) Get(ctx context.Context, key string) (Entry, error) {
	if err := m.enter(ctx); err != nil {
		return Entry{}, fmt.Errorf("get: %w", err)
	}
	defer m.mu.Unlock()
	k, ok := m.keys[key]
	if !ok {
		return Entry{}, ErrNoKey
	}
	return Entry{Key: key, Value: k.value, Rev: k.rev}, nil
}

// Delete implements KV.
func (m *Memory) Delete(ctx context.Context, key string, rev uint64) error {
	if err := m.enter(ctx); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	defer m.mu.Unlock()
	k, ok := m.keys[key]
	switch {
	case rev != 0 && (!ok || k.rev != rev):
		return ErrConflict
	case !ok:
		return nil
	}
	m.remove(key, OpDelete)
	if len(m.deleted) == m.cfg.Keys {
		m.deleted = slices.Delete(m.deleted, 0, 1+len(m.deleted)/8)
	}
	m.deleted = append(m.deleted, memoryDelete{key: key, rev: m.rev, at: time.Now()})
	return nil
}

// enter takes the lock, unless the store cannot be used.
func (m *Memory) enter(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	if m.down {
		m.mu.Unlock()
		return errDown
	}
	m.sweep()
	return nil
}

// put writes a key; the caller holds the lock.
func (m *Memory) put(key string, value []byte, ttl time.Duration) uint64 {
	m.rev++
	at := time.Now().Add(ttl)
	k, ok := m.keys[key]
	if ok {
		m.order.move(k.at, at)
	} else {
		k.at = m.order.add(key, at)
	}
	k.value, k.rev = slices.Clone(value), m.rev
	m.keys[key] = k
	m.tell(Entry{Key: key, Value: k.value, Rev: k.rev})
	return k.rev
}

func (m *Memory) remove(key string, op Op) {
	m.order.drop(m.keys[key].at)
	delete(m.keys, key)
	m.rev++
	m.tell(Entry{Op: op, Key: key, Rev: m.rev})
}

// sweep removes what has expired; the caller holds the lock.
func (m *Memory) sweep() {
	now := time.Now()
	for d := m.order.first(); d != nil && !d.at.After(now); d = m.order.first() {
		m.remove(d.key, OpExpire)
	}
	n := 0
	for n < len(m.deleted) && now.Sub(m.deleted[n].at) >= DeleteKept {
		n++
	}
	m.deleted = slices.Delete(m.deleted, 0, n)
}

// tell gives an entry to all who watch; the caller holds the lock.
func (m *Memory) tell(e Entry) {
	for w := range m.watchers {
		if len(w.pending) >= m.cfg.Backlog {
			w.end(fmt.Errorf("%w: %d", ErrBehind, len(w.pending)))
			continue
		}
		w.pending = append(w.pending, e)
		signal(w.wake)
	}
}

func (w *memoryWatch) end(err error) {
	if w.err == nil {
		w.err = err
		signal(w.wake)
	}
}

// Watch implements KV.
func (m *Memory) Watch(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		w := &memoryWatch{wake: make(chan struct{}, 1)}
		state, err := m.begin(ctx, w)
		if err == nil {
			defer m.forget(w)
			for _, e := range state {
				if !yield(e, nil) {
					return
				}
			}
			var ended bool
			if ended, err = m.follow(ctx, w, yield); ended {
				return
			}
		}
		yield(Entry{}, fmt.Errorf("watch: %w", err))
	}
}

// begin gives what there is, and has later changes wait.
func (m *Memory) begin(ctx context.Context, w *memoryWatch) ([]Entry, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	state := make([]Entry, 0, len(m.deleted)+len(m.keys)+1)
	for _, d := range m.deleted {
		if _, again := m.keys[d.key]; !again {
			state = append(state, Entry{Op: OpDelete, Key: d.key, Rev: d.rev})
		}
	}
	for key, k := range maps.All(m.keys) {
		state = append(state, Entry{Key: key, Value: k.value, Rev: k.rev})
	}
	m.watchers[w] = struct{}{}
	return append(state, Entry{Op: OpSynced, Rev: m.rev}), nil
}

func (m *Memory) forget(w *memoryWatch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.watchers, w)
}

// follow gives changes as they come, and expires what is due. It reports whether
// the caller has ended the watch.
func (m *Memory) follow(ctx context.Context, w *memoryWatch, yield func(Entry, error) bool) (ended bool, err error) {
	const idle = time.Hour
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for {
		m.mu.Lock()
		if !m.down {
			m.sweep()
		}
		changes, err := w.pending, w.err
		w.pending = nil
		due := idle
		if d := m.order.first(); d != nil && !m.down {
			due = time.Until(d.at)
		}
		m.mu.Unlock()
		for _, e := range changes {
			if !yield(e, nil) {
				return true, nil
			}
		}
		if err != nil {
			return false, err
		}
		timer.Reset(due)
		select {
		case <-w.wake:
		case <-timer.C:
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

var _ KV = (*Memory)(nil)
