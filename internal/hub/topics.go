package hub

import (
	"slices"

	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/market"
)

// numberOf gives the least number that a channel's topics may have.
func numberOf(ch market.Channel) uint64 { return uint64(ch) << 56 }

// topic finds or makes a topic.
func (s *shard) topic(name market.Topic) *topic {
	c := &s.channels[name.Channel]
	if t := c.topics[name.Symbol]; t != nil {
		return t
	}
	s.numbers++
	t := &topic{name: name, number: numberOf(name.Channel) + s.numbers, base: max(s.base, c.base)}
	c.topics[name.Symbol] = t
	c.order = append(c.order, t)
	c.known.Store(int64(len(c.topics)))
	return t
}

// show has the wildcard's listeners get what a topic has from now on. Topics that
// somebody named and that never had a value cost them nothing.
func (s *shard) show(t *topic) {
	if t.shown {
		return
	}
	t.shown = true
	ch := t.name.Channel
	for m := range s.channels[ch].wild {
		if !m.allowed(t.name) {
			continue
		}
		u := m.subscription(t)
		known := u.named || u.wild || u.listed
		if u.wild = true; known {
			continue
		}
		u.want(m.snap.has(ch))
		if m.catch != nil && m.catch.wild.has(ch) {
			m.catch.add(u, m.catch.wildSince)
		}
	}
}

// live reports whether the topic's value is current.
func (s *shard) live(t *topic) bool { return t.carried || s.channels[t.name.Channel].carried }

// release ends a subscription that is its member's no more.
func (s *shard) release(u *sub) {
	u.member.box.Clear(&u.slot)
	if c := u.member.catch; c != nil {
		delete(c.waits, u)
		delete(c.floors, u)
	}
	u.topic.detach(u)
	s.collect(u.topic)
}

// collect removes a topic that has no listeners, where it is not live, or never had
// anything that would be missed.
func (s *shard) collect(t *topic) {
	c := &s.channels[t.name.Channel]
	bare := t.last.Seq == 0 && !t.carried && !t.void && t.base <= max(s.base, c.base)
	if len(t.subs) > 0 || t.gone || (s.live(t) && !bare) {
		return
	}
	t.gone = true
	delete(c.topics, t.name.Symbol)
	if c.gone++; c.gone > len(c.order)/2+64 {
		c.order = slices.Clip(slices.DeleteFunc(slices.Clone(c.order), func(t *topic) bool { return t.gone }))
		c.gone = 0
	}
	c.known.Store(int64(len(c.topics)))
}

// each calls f for the topics that a list names, the wildcard spelt out.
func (s *shard) each(topics []market.Topic, f func(t *topic)) {
	for _, name := range topics {
		c := &s.channels[name.Channel]
		if name.Symbol != market.AllSymbols {
			if t := c.topics[name.Symbol]; t != nil {
				f(t)
			}
			continue
		}
		for _, t := range c.topics {
			f(t)
		}
	}
}

func (s *shard) replace(topics []market.Topic, b *mailbox.Batch) {
	for _, name := range topics {
		if name.Symbol == market.AllSymbols {
			s.channels[name.Channel].carried = true
			for _, t := range s.channels[name.Channel].topics {
				t.void = false
				s.collect(t)
			}
		} else {
			t := s.topic(name)
			t.carried, t.void = true, false
		}
	}
	for i := range b.Len() {
		item := b.Item(i)
		e := item.Event()
		s.position = max(s.position, e.Seq)
		t := s.topic(e.Topic())
		s.show(t)
		first := t.last.Seq == 0
		missed := !first && e.Seq > t.last.Seq
		if e.Seq > t.last.Seq {
			t.reset(e.Seq)
			t.last = *e
		}
		for _, u := range t.subs {
			if missed {
				u.member.box.Clear(&u.slot)
			}
			wanted := u.wantSnap || missed
			if c := u.member.catch; c != nil && (wanted || (first && !c.resumes(u))) {
				c.floors[u] = e.Seq
			}
			if u.wantSnap = false; wanted {
				u.member.box.AddSnapshot(&u.slot, item, s.now)
				s.touch(u.member)
			}
		}
	}
	s.wakeCatching() // perhaps for these topics
}

func (s *shard) forget(topics []market.Topic) {
	for _, name := range topics {
		c := &s.channels[name.Channel]
		if name.Symbol == market.AllSymbols {
			c.carried = s.hub.cfg.Open
		} else if t := c.topics[name.Symbol]; t != nil {
			t.carried = false
		}
	}
	s.each(topics, func(t *topic) {
		if !s.live(t) {
			t.reset(s.position)
			s.collect(t)
		}
	})
}

// enter notes the feed's epoch. The gap that brings another one's positions may
// come after its name: what has been read is not known in between.
func (s *shard) enter(epoch market.Epoch) {
	if epoch == 0 || epoch == s.epoch {
		return
	}
	if s.epoch != 0 {
		s.begin(market.Position{Epoch: epoch})
	}
	s.epoch = epoch
}

func (s *shard) gap(gap *market.Gap) {
	if gap.To.Epoch != gap.From.Epoch {
		s.begin(gap.To)
	}
	for _, name := range gap.Topics { // it may have taken all that a topic had that nobody has heard of
		if name.Symbol == market.AllSymbols {
			s.channels[name.Channel].base = gap.To.Seq
		}
	}
	told := map[*Member]struct{}{}
	s.each(gap.Topics, func(t *topic) {
		t.reset(gap.To.Seq)
		t.void = !s.hub.cfg.Open // else no Replace is to come
		for _, u := range t.subs {
			told[u.member] = struct{}{}
		}
	})
	for m := range told {
		if m.work == nil { // what came before the gap goes before it, as far as there is room
			s.flushOne(m)
		}
		if m.joined {
			s.guard(m, func() { m.sink.Announce(Notice{Gap: gap}) })
			s.touch(m)
		}
	}
	s.each(gap.Topics, func(t *topic) {
		for _, u := range t.subs {
			u.member.box.Clear(&u.slot)
			u.want(true)
			if c := u.member.catch; c != nil {
				delete(c.waits, u)
				delete(c.missed, t.name)
			}
		}
	})
}

// begin makes another epoch that of the hub. What is known of the one before is
// worth nothing, and members that catch up on it wait for the new values.
func (s *shard) begin(at market.Position) {
	s.epoch, s.position, s.settled, s.window = at.Epoch, at.Seq, at.Seq, window{}
	for m := range s.catching {
		for u := range m.catch.waits {
			u.want(true)
		}
		m.snap |= m.catch.wild
		m.catch = nil
	}
	clear(s.catching)
}
