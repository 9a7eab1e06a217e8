package past

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lzstock/lzstock/internal/monitor/bars"
	"github.com/lzstock/lzstock/market"
)

// Defaults of Config.
const (
	DefaultKeep = 7 * 24 * time.Hour
	DefaultMost = 1_000_000
)

// Config configures a Store. Its zero value works.
type Config struct {
	// Zone is where days begin; nil means UTC.
	Zone *time.Location
	// Keep is for how long minutes are kept, by the time of the symbol's newest one;
	// 0 means 7 days.
	Keep time.Duration
	// Most is how many minutes of all symbols are kept; 0 means 1,000,000.
	Most int
}

// Store keeps minutes.
type Store struct {
	cfg   Config
	count atomic.Int64

	mu      sync.RWMutex
	symbols map[market.Symbol]*series
	sources map[string]uint32 // who adds knows them; queries do not
}

// series are the minutes of one symbol.
type series struct {
	mu      sync.RWMutex
	minutes []minute // ascending by start and source
}

// minute is one source's.
type minute struct {
	source uint32
	stored int64 // when the bus stored what has made it what it is, Unix nanoseconds
	sum    bars.Sum
}

// New makes an empty Store.
func New(cfg Config) *Store {
	if cfg.Zone == nil {
		cfg.Zone = time.UTC
	}
	if cfg.Keep <= 0 {
		cfg.Keep = DefaultKeep
	}
	if cfg.Most <= 0 {
		cfg.Most = DefaultMost
	}
	return &Store{cfg: cfg, symbols: map[market.Symbol]*series{}, sources: map[string]uint32{}}
}

// Len gives how many minutes are kept.
func (s *Store) Len() int { return int(s.count.Load()) }

// Add keeps a minute, in place of the one of the same source, symbol and start.
// stored is when the bus stored what completed or corrected it.
func (s *Store) Add(m *bars.Minute, stored time.Time) {
	id, ok := s.sources[m.Source]
	if !ok {
		id = uint32(len(s.sources))
		s.sources[m.Source] = id
	}
	s.count.Add(int64(s.series(m.Symbol).add(minute{id, stored.UnixNano(), m.Sum}, &s.cfg)))
	if s.Len() > s.cfg.Most {
		s.evict()
	}
}

// Clear forgets everything.
func (s *Store) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.symbols = map[market.Symbol]*series{}
	s.count.Store(0)
}

// series gives those of a symbol, and makes them where there are none. It is for
// who adds.
func (s *Store) series(symbol market.Symbol) *series {
	se := s.symbols[symbol] // nobody else writes
	if se == nil {
		se = &series{}
		s.mu.Lock()
		s.symbols[symbol] = se
		s.mu.Unlock()
	}
	return se
}

// add puts a minute in its place, lets those go that are too old, and gives how
// many more there are than before.
func (se *series) add(m minute, cfg *Config) int {
	se.mu.Lock()
	defer se.mu.Unlock()
	before := len(se.minutes)
	i, found := before, false
	if before > 0 && !less(se.minutes[before-1], m) {
		i, found = slices.BinarySearchFunc(se.minutes, m, func(a, b minute) int {
			return cmp.Or(cmp.Compare(a.sum.Start(), b.sum.Start()), cmp.Compare(a.source, b.source))
		})
	}
	if found {
		se.minutes[i] = m
		return 0
	}
	se.minutes = slices.Insert(se.minutes, i, m)
	oldest := se.minutes[len(se.minutes)-1].sum.Start() - int64(cfg.Keep)
	if se.minutes[0].sum.Start() < oldest {
		day, _ := bars.Day(cfg.Zone, oldest)
		se.drop(day)
	}
	return len(se.minutes) - before
}

func less(a, b minute) bool {
	return a.sum.Start() < b.sum.Start() || a.sum.Start() == b.sum.Start() && a.source < b.source
}

// drop lets the minutes go that start before t.
func (se *series) drop(t int64) { se.minutes = slices.Delete(se.minutes, 0, se.before(t)) }

// before gives how many minutes start before t.
func (se *series) before(t int64) int {
	i, _ := slices.BinarySearchFunc(se.minutes, t, func(m minute, t int64) int { return cmp.Compare(m.sum.Start(), t) })
	return i
}

// evict lets the oldest day of all symbols go, or the oldest hour of the only day.
func (s *Store) evict() {
	first, last := int64(0), int64(0)
	for _, se := range s.symbols {
		if n := len(se.minutes); n > 0 { // nobody else writes
			a, b := se.minutes[0].sum.Start(), se.minutes[n-1].sum.Start()
			if last == 0 {
				first, last = a, b
			}
			first, last = min(first, a), max(last, b)
		}
	}
	_, until := bars.Day(s.cfg.Zone, first)
	if until > last {
		until = bars.Floor(first, time.Hour) + int64(time.Hour)
	}
	for _, se := range s.symbols {
		se.mu.Lock()
		n := len(se.minutes)
		se.drop(until)
		s.count.Add(int64(len(se.minutes) - n))
		se.mu.Unlock()
	}
}
