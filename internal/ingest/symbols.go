package ingest

import (
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/lzstock/lzstock/market"
)

const (
	// onTheWay is how long a symbol that was let in is counted before the feed has
	// carried it: after that its batch was not stored.
	onTheWay = time.Minute
	// sweepEvery is the least time between two looks at all that is on the way.
	sweepEvery = 100 * time.Millisecond
)

// Limits of new symbols, as metric labels.
const (
	limitFeed      = "feed"
	limitPublisher = "publisher"
)

// symbols bounds how many symbols publishers bring: each costs every monitor and
// gateway memory, for as long as the feed is kept.
type symbols struct {
	known           func(market.Symbol) (known bool, all int) // nil: there is no limit
	most, publisher int

	mu      sync.Mutex
	fresh   map[market.Symbol]time.Time // let in, and not known to the feed yet
	swept   time.Time
	brought map[string]int // new symbols, by the publisher that brought them since the start
}

// admit returns which limit refuses a publisher's symbol, and why; "" means that
// none does. One that the feed has carried is never refused.
func (s *symbols) admit(publisher string, symbol market.Symbol) (limit string, err error) {
	if s.known == nil {
		return "", nil
	}
	known, all := s.known(symbol)
	if known {
		return "", nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if _, ok := s.fresh[symbol]; ok {
		return "", nil
	}
	if now.Sub(s.swept) >= sweepEvery {
		s.swept = now
		maps.DeleteFunc(s.fresh, func(symbol market.Symbol, since time.Time) bool {
			known, _ := s.known(symbol)
			return known || now.Sub(since) > onTheWay
		})
	}
	switch {
	case all+len(s.fresh) >= s.most:
		return limitFeed, fmt.Errorf("symbol %s is new, and the feed has as many as it may, %d: want one of those, or a greater --symbols-most", symbol, s.most)
	case s.brought[publisher] >= s.publisher:
		return limitPublisher, fmt.Errorf("symbol %s is new, and publisher %s has brought as many new ones as it may, %d: want known ones, or a greater --publisher-symbols", symbol, publisher, s.publisher)
	}
	s.fresh[symbol] = now
	s.brought[publisher]++
	return "", nil
}
