package bus

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"sort"
	"sync"
	"time"

	"github.com/lzstock/lzstock/market"
)

// MemoryConfig configures a Memory. Its zero value holds everything for 24 h.
type MemoryConfig struct {
	MaxAge   time.Duration // DefaultMaxAge by default
	MaxBytes int64         // of envelopes; DefaultMaxBytesMemory by default
}

// Memory is a bus within one process, for tests: it behaves as JetStream does,
// needs no network and starts no goroutine, so it works in a synctest bubble.
type Memory struct {
	cfg    MemoryConfig
	health *health

	mu          sync.Mutex
	held        []held // ascending by batch
	last        uint64 // the last batch ever stored
	bytes       int64
	ids         map[string]uint64 // the batch of each id that is recognised
	recent      []known           // the same, in order of time
	lostAcks    int
	changed     chan struct{} // closed when a batch was stored
	checkpoints map[string][]byte
	bars        [][]byte // records; number 1 is the first
	listeners   map[chan Pulse]struct{}
}

type held struct {
	batch  uint64
	source string
	at     time.Time
	data   []byte
}

type known struct {
	id string
	at time.Time
}

// NewMemory makes an empty bus.
func NewMemory(cfg MemoryConfig) *Memory {
	if cfg.MaxAge <= 0 {
		cfg.MaxAge = DefaultMaxAge
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = DefaultMaxBytesMemory
	}
	return &Memory{
		cfg: cfg, health: newHealth(market.Epoch(time.Now().UnixMilli())),
		ids: map[string]uint64{}, changed: make(chan struct{}), checkpoints: map[string][]byte{},
		listeners: map[chan Pulse]struct{}{},
	}
}

// Epoch works as JetStream's.
func (m *Memory) Epoch() market.Epoch { return m.health.currentEpoch() }

// Health works as JetStream's.
func (m *Memory) Health() Health { return m.health.get() }

// Healthy works as JetStream's.
func (m *Memory) Healthy() bool { return m.health.get().OK }

// Close works as JetStream's.
func (m *Memory) Close() error {
	m.health.lost(ErrClosed)
	return nil
}

// SetDown injects an outage, or ends it.
func (m *Memory) SetDown(down bool) {
	if down {
		m.health.lost(fmt.Errorf("%w: an outage was injected", ErrLost))
		return
	}
	m.health.up(m.Epoch())
}

// LoseAcks makes the next n batches be stored without an acknowledgement, so
// that Publish repeats them.
func (m *Memory) LoseAcks(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lostAcks = n
}

// Delete removes one batch, as an operator could.
func (m *Memory) Delete(batch uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := m.find(batch); i < len(m.held) && m.held[i].batch == batch {
		m.bytes -= int64(len(m.held[i].data))
		m.held = append(m.held[:i:i], m.held[i+1:]...)
	}
}

// Recreate makes the stream anew: all batches and checkpoints are gone, and the
// epoch is another.
func (m *Memory) Recreate() {
	m.mu.Lock()
	m.held, m.last, m.bytes, m.recent = nil, 0, 0, nil
	m.ids, m.checkpoints, m.bars = map[string]uint64{}, map[string][]byte{}, nil
	m.mu.Unlock()
	m.health.up(max(m.Epoch()+1, market.Epoch(time.Now().UnixMilli())))
}

// Publish works as JetStream's.
func (m *Memory) Publish(ctx context.Context, b Batch) (Stored, error) {
	if err := ValidateSource(b.Source); err != nil {
		return Stored{}, fmt.Errorf("publish: %w", err)
	}
	data, err := EncodeBatch(nil, b.Events)
	if err != nil {
		return Stored{}, fmt.Errorf("publish: %w", err)
	}
	if b.ID == "" {
		b.ID = rand.Text()
	}
	for {
		_, done, err := m.health.await(ctx)
		if err == nil {
			done()
			err = context.Cause(ctx)
		}
		if err != nil {
			return Stored{}, fmt.Errorf("publish %d events of %s: %w", len(b.Events), b.Source, err)
		}
		if batch, duplicate, acked := m.store(b.Source, b.ID, data); acked {
			return place(batch, len(b.Events), duplicate), nil
		}
	}
}

func (m *Memory) store(source, id string, data []byte) (batch uint64, duplicate, acked bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.expire(now)
	if batch, ok := m.ids[id]; ok {
		return batch, true, true
	}
	m.last++
	m.held = append(m.held, held{batch: m.last, source: source, at: now, data: data})
	m.bytes += int64(len(data))
	m.ids[id] = m.last
	m.recent = append(m.recent, known{id: id, at: now})
	m.expire(now)
	close(m.changed)
	m.changed = make(chan struct{})
	if m.lostAcks > 0 {
		m.lostAcks--
		return 0, false, false
	}
	return m.last, false, true
}

// expire forgets what is too old or too much; the caller holds the lock.
func (m *Memory) expire(now time.Time) {
	n := 0
	for n < len(m.held) && (m.bytes > m.cfg.MaxBytes || now.Sub(m.held[n].at) >= m.cfg.MaxAge) {
		m.bytes -= int64(len(m.held[n].data))
		n++
	}
	m.held = m.held[n:]
	for len(m.recent) > 0 && now.Sub(m.recent[0].at) >= dedup(m.cfg.MaxAge) {
		delete(m.ids, m.recent[0].id)
		m.recent = m.recent[1:]
	}
}

// find gives the index of the batch, or of the first after it.
func (m *Memory) find(batch uint64) int {
	return sort.Search(len(m.held), func(i int) bool { return m.held[i].batch >= batch })
}

func (m *Memory) bounds() (first, last uint64) {
	m.expire(time.Now())
	if len(m.held) == 0 {
		return m.last + 1, m.last
	}
	return m.held[0].batch, m.last
}

// Bounds works as JetStream's.
func (m *Memory) Bounds(ctx context.Context) (first, last market.Seq, err error) {
	if err := m.check(ctx); err != nil {
		return 0, 0, fmt.Errorf("bounds: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	head, tail := m.bounds()
	return market.MakeSeq(head, 0), market.MakeSeq(tail, 0), nil
}

// check gives the error of a call that does not wait for a lost bus.
func (m *Memory) check(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return m.health.get().Err
}

// Read works as JetStream's.
func (m *Memory) Read(ctx context.Context, after market.Seq) iter.Seq2[Message, error] {
	epoch := m.Epoch()
	return func(yield func(Message, error) bool) {
		bound, cancel, err := m.health.await(ctx)
		if err == nil {
			defer cancel()
			if m.Epoch() != epoch {
				err = ErrEpoch
			} else {
				err = m.read(bound, epoch, after, yield)
			}
		}
		if !errors.Is(err, errStopped) {
			yield(Message{}, fmt.Errorf("read after %d: %w", after, err))
		}
	}
}

func (m *Memory) read(ctx context.Context, epoch market.Epoch, after market.Seq, yield func(Message, error) bool) error {
	for next := after.Batch() + 1; ; {
		h, changed, err := m.next(next, after)
		if why := context.Cause(ctx); why != nil {
			return why
		}
		if err != nil {
			return err
		}
		if changed != nil {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		events, err := DecodeBatch(h.data)
		if err != nil {
			return fmt.Errorf("batch %d: %w", h.batch, err)
		}
		number(h.batch, events)
		if !yield(Message{Batch: h.batch, Epoch: epoch, Source: h.source, Stored: h.at, Events: events}, nil) {
			return errStopped
		}
		after = market.MakeSeq(next, market.BatchLimit-1)
		next++
	}
}

// next gives a batch, or what to wait for.
func (m *Memory) next(batch uint64, after market.Seq) (held, <-chan struct{}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	first, last := m.bounds()
	switch {
	case batch > last+1:
		return held{}, nil, fmt.Errorf("%w: it ends at %d", ErrEpoch, market.MakeSeq(last, 0))
	case batch < first:
		return held{}, nil, &ExpiredError{After: after, First: market.MakeSeq(first, 0)}
	case batch == last+1:
		return held{}, m.changed, nil
	}
	switch i := m.find(batch); {
	case i == len(m.held):
		return held{}, nil, &ExpiredError{After: after, First: market.MakeSeq(last+1, 0)}
	case m.held[i].batch != batch:
		return held{}, nil, &ExpiredError{After: after, First: market.MakeSeq(m.held[i].batch, 0)}
	default:
		return m.held[i], nil, nil
	}
}

// SaveCheckpoint works as JetStream's.
func (m *Memory) SaveCheckpoint(ctx context.Context, name string, data []byte) error {
	_, done, err := m.health.await(ctx)
	if err != nil {
		return fmt.Errorf("save checkpoint %s: %w", name, err)
	}
	defer done()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.checkpoints[name] = bytes.Clone(data)
	return nil
}

// LoadCheckpoint works as JetStream's.
func (m *Memory) LoadCheckpoint(ctx context.Context, name string) ([]byte, error) {
	_, done, err := m.health.await(ctx)
	if err != nil {
		return nil, fmt.Errorf("load checkpoint %s: %w", name, err)
	}
	defer done()
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.checkpoints[name]
	if !ok {
		return nil, fmt.Errorf("load checkpoint %s: %w", name, ErrNotFound)
	}
	return bytes.Clone(data), nil
}
