package gateway

import (
	"cmp"
	"slices"
	"unique"

	"github.com/lzstock/lzstock/market"
)

// topics are what one client is subscribed to, by channel and symbol. There are
// as many sets as clients, over few topics: a set holds eight bytes a topic, and
// pins nothing of the request that named it.
type topics []unique.Handle[market.Topic]

func byName(a unique.Handle[market.Topic], b market.Topic) int {
	t := a.Value()
	return cmp.Or(cmp.Compare(t.Channel, b.Channel), cmp.Compare(t.Symbol, b.Symbol))
}

// add gives those of list that were not there.
func (s *topics) add(list []market.Topic) []market.Topic {
	fresh := make([]market.Topic, 0, len(list))
	*s = slices.Grow(*s, len(list))
	for _, t := range list {
		if i, has := slices.BinarySearchFunc(*s, t, byName); !has {
			h := unique.Make(t)
			*s = slices.Insert(*s, i, h)
			fresh = append(fresh, h.Value())
		}
	}
	return fresh
}

// remove gives those of list that were there.
func (s *topics) remove(list []market.Topic) []market.Topic {
	var gone []market.Topic
	for _, t := range list {
		if i, has := slices.BinarySearchFunc(*s, t, byName); has {
			*s = slices.Delete(*s, i, i+1)
			gone = append(gone, t)
		}
	}
	return gone
}

// all gives them in order.
func (s topics) all() []market.Topic {
	out := make([]market.Topic, len(s))
	for i, h := range s {
		out[i] = h.Value()
	}
	return out
}

// symbols gives how many symbols there would be with list.
func (s topics) symbols(list []market.Topic) int {
	seen := make(map[market.Symbol]struct{}, len(list))
	for _, h := range s {
		seen[h.Value().Symbol] = struct{}{}
	}
	for _, t := range list {
		seen[t.Symbol] = struct{}{}
	}
	return len(seen)
}
