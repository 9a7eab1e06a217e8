package gateway

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"github.com/lzstock/lzstock/market"
)

// topicTable holds each topic that sockets are subscribed to once, for as long as one
// is. Its zero value is ready.
type topicTable struct {
	mu    sync.Mutex
	known map[market.Topic]*sharedTopic
}

type sharedTopic struct {
	market.Topic
	sockets int
}

// take counts one more socket for each of a list of topics.
func (t *topicTable) take(list []market.Topic) []*sharedTopic {
	out := make([]*sharedTopic, len(list))
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known == nil {
		t.known = map[market.Topic]*sharedTopic{}
	}
	for i, name := range list {
		s := t.known[name]
		if s == nil {
			name.Symbol = market.Symbol(strings.Clone(string(name.Symbol))) // it pins no request
			s = &sharedTopic{Topic: name}
			t.known[name] = s
		}
		s.sockets++
		out[i] = s
	}
	return out
}

// release takes take back.
func (t *topicTable) release(list []*sharedTopic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range list {
		if s.sockets--; s.sockets == 0 {
			delete(t.known, s.Topic)
		}
	}
}

// topics are what one client is subscribed to, by channel and symbol. There are as
// many sets as clients, over few topics: a set holds eight bytes a topic, of a table.
type topics []*sharedTopic

func byName(a *sharedTopic, b market.Topic) int { return compare(a.Topic, b) }

func compare(a, b market.Topic) int {
	return cmp.Or(cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.Symbol, b.Symbol))
}

// missing gives those of list that are not there, each once and in order.
func (s topics) missing(list []market.Topic) []market.Topic {
	fresh := make([]market.Topic, 0, len(list))
	for _, t := range list {
		if _, has := slices.BinarySearchFunc(s, t, byName); !has {
			fresh = append(fresh, t)
		}
	}
	slices.SortFunc(fresh, compare)
	return slices.Compact(fresh)
}

// add adds topics that are not there, in order.
func (s *topics) add(fresh []*sharedTopic) {
	all := make(topics, 0, len(*s)+len(fresh))
	for _, t := range *s {
		for len(fresh) > 0 && byName(t, fresh[0].Topic) > 0 {
			all, fresh = append(all, fresh[0]), fresh[1:]
		}
		all = append(all, t)
	}
	*s = append(all, fresh...)
}

// remove takes out those of list that are there.
func (s *topics) remove(list []market.Topic) (gone []*sharedTopic) {
	for _, t := range list {
		if i, has := slices.BinarySearchFunc(*s, t, byName); has {
			gone = append(gone, (*s)[i])
		}
	}
	slices.SortFunc(gone, func(a, b *sharedTopic) int { return compare(a.Topic, b.Topic) })
	gone = slices.Compact(gone)
	left := gone
	*s = slices.DeleteFunc(*s, func(t *sharedTopic) bool {
		if len(left) == 0 || left[0] != t {
			return false
		}
		left = left[1:]
		return true
	})
	return gone
}

// all gives them in order.
func (s topics) all() []market.Topic {
	out := make([]market.Topic, len(s))
	for i, t := range s {
		out[i] = t.Topic
	}
	return out
}

// symbols gives how many symbols there would be with list.
func (s topics) symbols(list []market.Topic) int {
	seen := make(map[market.Symbol]struct{}, len(list))
	for _, t := range s {
		seen[t.Symbol] = struct{}{}
	}
	for _, t := range list {
		seen[t.Symbol] = struct{}{}
	}
	return len(seen)
}
