package hub

import (
	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/market"
)

// putFetched puts events that came from elsewhere into the mailbox.
func (s *shard) putFetched(m *Member, room int) error {
	c := m.catch
	p := replay{shard: s, member: m}
	for ; c.next < c.fetched.Len(); c.next++ {
		item := c.fetched.Item(c.next)
		e := item.Event()
		if p.count() >= room && e.Seq != c.put {
			return p.put()
		}
		t := s.channels[e.Channel].topics[e.Symbol]
		if (t == nil || !t.shown) && m.wild.has(e.Channel) && s.channels[e.Channel].carried && m.allowed(e.Topic()) {
			t = s.topic(e.Topic()) // one that the shard has not seen yet
			s.show(t)
			c.asked[m.of(t)] = struct{}{}
		}
		if t != nil {
			p.add(t, item, e.Prev)
		}
		c.put = e.Seq
	}
	c.put = c.through
	c.landed()
	return p.put()
}

// putPassed puts events of the window into the mailbox.
func (s *shard) putPassed(m *Member, room int) error {
	c := m.catch
	p := replay{shard: s, member: m}
	for i := s.window.after(c.at); i < s.window.count; i++ {
		e := s.window.at(i)
		if p.count() >= room && e.seq != c.at {
			return p.put()
		}
		p.add(e.topic, e.item, e.prev)
		c.at = e.seq
	}
	c.at = s.settled
	return p.put()
}

// replay gathers events of the past for one member.
type replay struct {
	shard  *shard
	member *Member
	slots  []*mailbox.Slot
	items  []mailbox.Item
}

func (p *replay) count() int { return len(p.items) }

// add takes an event, where the member lacks it.
func (p *replay) add(t *topic, item mailbox.Item, prev market.Seq) {
	c := p.member.catch
	i, has := p.member.find(t)
	if !has || !p.shard.live(t) {
		return
	}
	u := p.member.subs[i]
	if _, asked := c.asked[u]; c.fetched != nil && !asked {
		return
	}
	if item.Event().Seq <= c.floors[u] {
		return
	}
	if _, missed := c.missed[t.name]; missed {
		return
	}
	if _, first := c.waits[u]; first {
		delete(c.waits, u)
		u.slot.Resume(prev)
	}
	p.slots, p.items = append(p.slots, &u.slot), append(p.items, item)
}

func (p *replay) put() error {
	if len(p.items) == 0 {
		return nil
	}
	s := p.shard
	s.stats.replayed.Add(uint64(len(p.items)))
	return p.member.box.AddReplay(p.slots, p.items, s.now)
}
