package hub

import (
	"cmp"
	"slices"

	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/market"
)

func (s *shard) snapshot(topics []market.Topic) []market.Event {
	var out []market.Event
	s.each(topics, func(t *topic) {
		if s.live(t) && t.last.Seq > 0 {
			out = append(out, t.last)
		}
	})
	slices.SortFunc(out, ascending)
	return slices.CompactFunc(out, func(a, b market.Event) bool { return a.Topic() == b.Topic() })
}

func ascending(a, b market.Event) int {
	return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.Symbol, b.Symbol))
}

func (s *shard) join(m *Member) {
	m.joined = true
	s.members[m] = struct{}{}
	s.stats.members.Add(1)
	if s.feed != nil {
		s.guard(m, func() { m.sink.Announce(Notice{Feed: s.feed}) })
	}
	s.touch(m)
}

func (s *shard) subscribe(m *Member, req Subscription, then func(at market.Seq)) {
	var current []market.Event
	if req.CatchUp != nil {
		s.catchUpOn(m, req.CatchUp)
	}
	add := func(t *topic, wild bool) {
		u := s.attach(m, t)
		known := u.wild || u.named
		if wild {
			u.wild = true
		} else {
			u.named = true
		}
		switch {
		case known:
			return
		case req.CatchUp != nil:
			m.catch.add(u, req.CatchUp.Since)
			return
		case m.catch != nil:
			m.catch.floors[u] = max(s.settled, t.last.Seq)
		}
		if !s.live(t) || t.void {
			u.want(u.wantSnap || req.Snapshot)
			return
		}
		if req.Snapshot && t.last.Seq > 0 {
			current = append(current, t.last)
		}
	}
	m.subs = slices.Grow(m.subs, len(req.Topics))
	for _, name := range req.Topics {
		if name.Symbol != market.AllSymbols {
			add(s.topic(name), false)
			continue
		}
		c := &s.channels[name.Channel]
		c.wild[m] = struct{}{}
		m.wild.set(name.Channel, true)
		switch {
		case req.CatchUp != nil:
			m.catch.wild.set(name.Channel, true)
			m.catch.wildSince = req.CatchUp.Since
		case m.catch == nil || !m.catch.wild.has(name.Channel):
			m.snap.set(name.Channel, req.Snapshot)
		}
		for _, t := range c.topics {
			if m.allowed(t.name) {
				add(t, true)
			}
		}
	}
	if then != nil {
		then(s.position)
	}
	s.addSnapshots(m, current)
}

// slot gives the place in a member's mailbox of an event's topic, which the member
// has.
func (s *shard) slot(m *Member, e *market.Event) *mailbox.Slot { return &m.of(s.topic(e.Topic())).slot }

func (s *shard) addSnapshots(m *Member, current []market.Event) {
	slices.SortFunc(current, ascending)
	batch := mailbox.NewBatch(current, s.hub.cfg.Encode)
	for i := range current {
		m.box.AddSnapshot(s.slot(m, &current[i]), batch.Item(i), s.now)
	}
}

// restrict holds a member to the topics that it may have. What its wildcards cover
// anew it gets like what it subscribes to.
func (s *shard) restrict(m *Member, allow func(market.Topic) bool) {
	m.allow = allow
	m.subs = shrink(slices.DeleteFunc(m.subs, func(u *sub) bool {
		if m.allowed(u.topic.name) {
			return false
		}
		s.release(u)
		return true
	}))
	for c := range s.channels {
		if ch := market.Channel(c); m.wild.has(ch) {
			all := []market.Topic{{Channel: ch, Symbol: market.AllSymbols}}
			s.subscribe(m, Subscription{Topics: all, Snapshot: m.snap.has(ch) || (m.catch != nil && m.catch.wild.has(ch))}, nil)
		}
	}
}

func (s *shard) unsubscribe(m *Member, topics []market.Topic) {
	for _, name := range topics {
		c := &s.channels[name.Channel]
		if name.Symbol != market.AllSymbols {
			t := c.topics[name.Symbol]
			if t == nil {
				continue
			}
			if i, has := m.find(t); has {
				u := m.subs[i]
				if u.named = false; !u.wild {
					m.subs = slices.Delete(m.subs, i, i+1)
					s.release(u)
				}
			}
			continue
		}
		delete(c.wild, m)
		m.wild.set(name.Channel, false)
		m.subs = slices.DeleteFunc(m.subs, func(u *sub) bool {
			if u.topic.name.Channel != name.Channel {
				return false
			}
			if u.wild = false; u.named {
				return false
			}
			s.release(u)
			return true
		})
	}
	m.subs = shrink(m.subs)
}
