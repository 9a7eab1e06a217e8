package upstream

import (
	"sync"
	"time"

	"github.com/lzstock/lzstock/market"
)

// interest counts who wants which topics. A topic that nobody wants any more is
// kept for the linger.
type interest struct {
	wake chan struct{} // there are fresh topics

	mu     sync.Mutex
	topics map[market.Topic]want
	fresh  []market.Topic // known since the last take
	idle   []idleTopic    // ascending by time; those that are wanted again are skipped
}

type want struct {
	refs int
	idle time.Time // when refs became 0
}

type idleTopic struct {
	topic market.Topic
	since time.Time
}

func newInterest() *interest {
	return &interest{wake: make(chan struct{}, 1), topics: map[market.Topic]want{}}
}

func (i *interest) acquire(topics []market.Topic) {
	i.mu.Lock()
	news := false
	for _, t := range topics {
		w, known := i.topics[t]
		if !known {
			i.fresh = append(i.fresh, t)
			news = true
		}
		w.refs++
		i.topics[t] = w
	}
	i.mu.Unlock()
	if news {
		i.signal()
	}
}

// release gives topics back and reports how many of them nobody had.
func (i *interest) release(topics []market.Topic) (foreign int) {
	now := time.Now()
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, t := range topics {
		w := i.topics[t]
		if w.refs == 0 {
			foreign++
			continue
		}
		if w.refs--; w.refs == 0 {
			w.idle = now
			i.idle = append(i.idle, idleTopic{topic: t, since: now})
		}
		i.topics[t] = w
	}
	return foreign
}

// take gives the topics that became known since the last call.
func (i *interest) take() []market.Topic {
	i.mu.Lock()
	defer i.mu.Unlock()
	fresh := i.fresh
	i.fresh = nil
	return fresh
}

// expire forgets the topics that nobody has wanted since before, and gives them.
// Those that are busy are kept for another linger.
func (i *interest) expire(before, now time.Time, busy func(market.Topic) bool) []market.Topic {
	i.mu.Lock()
	defer i.mu.Unlock()
	var gone, kept []market.Topic
	n := 0
	for ; n < len(i.idle) && !i.idle[n].since.After(before); n++ {
		t := i.idle[n].topic
		w, known := i.topics[t]
		switch {
		case !known || w.refs > 0 || !w.idle.Equal(i.idle[n].since): // wanted again, perhaps released again
		case busy(t):
			kept = append(kept, t)
		default:
			delete(i.topics, t)
			gone = append(gone, t)
		}
	}
	i.idle = i.idle[n:]
	for _, t := range kept {
		i.topics[t] = want{idle: now}
		i.idle = append(i.idle, idleTopic{topic: t, since: now})
	}
	return gone
}

func (i *interest) signal() {
	select {
	case i.wake <- struct{}{}:
	default:
	}
}
