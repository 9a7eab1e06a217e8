package hub

import (
	"context"
	"sort"
	"time"

	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/market"
)

// Want names what a hub lacks: the events of Topics, which may hold "*", after a
// position.
type Want struct {
	Topics []market.Topic
	After  market.Position
	turn   int // of the member's wants
}

// Refill answers a Want.
type Refill struct {
	Events  []market.Event // ascending, each with its Prev; the hub takes them over
	Through market.Seq     // Events hold all up to here, of topics that are not in Missed
	Missed  []market.Topic // their events cannot be had
}

// Refill answers a Want; one that comes too late is ignored.
func (m *Member) Refill(ctx context.Context, want Want, r Refill) error {
	return m.shard.send(ctx, message{do: func(s *shard) {
		if c := m.catch; m.joined && c != nil && c.wanted && c.turn == want.turn {
			s.refill(m, r)
			s.touch(m)
		}
	}})
}

// want asks for what the shard lacks. A member in a hurry goes without.
func (s *shard) want(m *Member, hurry bool) {
	c := m.catch
	if hurry || c.Fetch == nil || (!c.vain.IsZero() && s.now.Sub(c.vain) >= aheadLimit) {
		c.vain = time.Time{}
		for _, u := range m.subs {
			if s.live(u.topic) && !s.holds(u.topic, c.from(u)) {
				c.missed[u.topic.name] = struct{}{}
			}
		}
		return
	}
	s.ask(m, Want{Topics: s.wanted(m), After: market.Position{Epoch: s.epoch, Seq: c.low}})
}

// wanted names all topics that are caught up on, so that what comes is all there is
// up to its end.
func (s *shard) wanted(m *Member) (topics []market.Topic) {
	c := m.catch
	clear(c.asked)
	for _, u := range m.subs {
		if _, missed := c.missed[u.topic.name]; missed || !s.live(u.topic) {
			continue
		}
		if c.asked[u] = struct{}{}; u.named || u.listed {
			topics = append(topics, u.topic.name)
		}
	}
	for _, ch := range market.Channels() {
		if m.wild.has(ch) {
			topics = append(topics, market.Topic{Channel: ch, Symbol: market.AllSymbols})
		}
	}
	return topics
}

func (s *shard) ask(m *Member, w Want) {
	c := m.catch
	c.turn++
	c.wanted, c.until, w.turn = true, s.position, c.turn
	s.stats.fetches.Add(1)
	c.Fetch(w)
}

func (s *shard) refill(m *Member, r Refill) {
	c := m.catch
	c.wanted = false
	if c.asks {
		c.asks, c.sure = false, len(r.Missed) == 0
		if !c.sure && !s.behind() { // else it is asked again, once the feed is not
			s.giveUp(m)
		}
		return
	}
	for _, t := range r.Missed {
		if t.Symbol != market.AllSymbols {
			c.missed[t] = struct{}{}
			continue
		}
		for _, u := range m.subs {
			if u.topic.name.Channel == t.Channel && !s.holds(u.topic, c.from(u)) {
				c.missed[u.topic.name] = struct{}{}
			}
		}
	}
	end := min(r.Through, c.until)
	if end > c.low || len(r.Missed) > 0 {
		c.vain = time.Time{}
	} else { // whoever was asked is not as far as we are
		if c.vain.IsZero() {
			c.vain = s.now
		}
		c.again = s.now.Add(aheadPoll)
	}
	n := sort.Search(len(r.Events), func(i int) bool { return r.Events[i].Seq > end })
	c.fetched, c.next, c.put, c.through = mailbox.NewBatch(r.Events[:n], s.hub.cfg.Encode), 0, c.low, end
}
