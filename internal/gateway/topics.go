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

func byName(a unique.Handle[market.Topic], b market.Topic) int { return compare(a.Value(), b) }

func compare(a, b market.Topic) int {
	return cmp.Or(cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.Symbol, b.Symbol))
}

// missing gives those of list that are not there, each once.
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
func (s *topics) add(fresh []market.Topic) {
	all := make(topics, 0, len(*s)+len(fresh))
	for _, h := range *s {
		for len(fresh) > 0 && byName(h, fresh[0]) > 0 {
			all, fresh = append(all, unique.Make(fresh[0])), fresh[1:]
		}
		all = append(all, h)
	}
	for _, t := range fresh {
		all = append(all, unique.Make(t))
	}
	*s = all
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
