package hub

import (
	"cmp"
	"math"
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

// subscribe has a member get topics, those of a wildcard in the order of their
// numbers. then, where not nil, runs when it has them all.
func (s *shard) subscribe(m *Member, req Subscription, then func(at market.Seq)) {
	if req.CatchUp != nil {
		s.catchUpOn(m, req.CatchUp)
	}
	if req.Listed {
		s.listed[m] = struct{}{}
	}
	names, wild := make([]market.Topic, 0, len(req.Topics)), channels(0)
	for _, name := range req.Topics {
		ch := name.Channel
		if name.Symbol != market.AllSymbols {
			names = append(names, name)
			continue
		}
		wild.set(ch, true)
		s.channels[ch].wild[m] = struct{}{}
		m.wild.set(ch, true)
		switch {
		case req.CatchUp != nil:
			m.catch.wild.set(ch, true)
			m.catch.wildSince = req.CatchUp.Since
		case m.catch == nil || !m.catch.wild.has(ch):
			m.snap.set(ch, req.Snapshot)
		}
	}
	at, after := s.position, uint64(0)
	s.start(m, func(n int) bool {
		some := names[:min(n, len(names))]
		names = names[len(some):]
		list := make([]*topic, 0, len(some))
		for _, name := range some {
			list = append(list, s.topic(name))
		}
		s.add(m, &req, list, false, at)
		if len(some) == n {
			return false
		}
		list, after = s.covered(m, wild, after, n-len(some))
		s.add(m, &req, list, true, at)
		if len(some)+len(list) == n {
			return false
		}
		if then != nil {
			then(at)
		}
		return true
	})
}

// list has members who asked for it get all topics of symbols that appear.
func (s *shard) list(symbols []market.Symbol) {
	for m := range s.listed {
		s.guard(m, func() {
			topics := make([]*topic, 0, len(symbols)*len(s.channels))
			for _, ch := range market.Channels() {
				for _, symbol := range symbols {
					topics = append(topics, s.topic(market.Topic{Channel: ch, Symbol: symbol}))
				}
			}
			for _, u := range m.subscriptions(topics) {
				u.listed = true
				if m.catch != nil {
					m.catch.floors[u] = max(s.settled, u.topic.last.Seq)
				}
			}
			m.sink.Announce(Notice{Listed: symbols})
			s.touch(m)
		})
	}
}

// covered gives the next topics of wildcards that a member may have, n at most, and
// where to go on behind them.
func (s *shard) covered(m *Member, wild channels, after uint64, n int) (list []*topic, through uint64) {
	for ch := range s.channels {
		if !wild.has(market.Channel(ch)) || after >= numberOf(market.Channel(ch+1)) {
			continue
		}
		order := s.channels[ch].order
		i, _ := slices.BinarySearchFunc(order, after+1, func(t *topic, number uint64) int { return cmp.Compare(t.number, number) })
		for _, t := range order[i:] {
			if len(list) == n {
				return list, after
			}
			if after = t.number; t.shown && !t.gone && m.allowed(t.name) {
				list = append(list, t)
			}
		}
	}
	return list, after
}

// add subscribes a member to topics. What they have had since it asked comes among
// the events, not among the current values, which are those of then: so positions
// ascend, and a client may resume from each.
func (s *shard) add(m *Member, req *Subscription, list []*topic, wild bool, at market.Seq) {
	var current, since []market.Event
	for _, u := range m.subscriptions(list) {
		t, known := u.topic, u.wild || u.named
		if wild {
			u.wild = true
		} else {
			u.named = true
		}
		switch {
		case known:
			continue
		case req.CatchUp != nil:
			m.catch.add(u, req.CatchUp.Since)
			continue
		case m.catch != nil:
			m.catch.floors[u] = max(s.settled, t.last.Seq)
		}
		switch {
		case !s.live(t) || t.void:
			u.want(u.wantSnap || req.Snapshot)
		case !req.Snapshot || t.last.Seq == 0:
		case t.last.Seq > at && m.catch == nil:
			since = append(since, t.last)
			since[len(since)-1].Merged = 0
		default:
			current = append(current, t.last)
		}
	}
	s.addSnapshots(m, current)
	if len(since) == 0 {
		return
	}
	slices.SortFunc(since, ascending)
	batch := mailbox.NewBatch(since, s.hub.cfg.Encode)
	slots, items := make([]*mailbox.Slot, len(since)), make([]mailbox.Item, len(since))
	for i := range since {
		slots[i], items[i] = s.slot(m, &since[i]), batch.Item(i)
	}
	if err := m.box.AddReplay(slots, items, s.now); err != nil {
		s.fail(m, err)
	}
}

// slot gives the place in a member's mailbox of an event's topic, which the member
// has.
func (s *shard) slot(m *Member, e *market.Event) *mailbox.Slot { return &m.of(s.topic(e.Topic())).slot }

// addSnapshots puts current values into a member's mailbox. They are encoded a few at
// a time, as they leave.
func (s *shard) addSnapshots(m *Member, current []market.Event) {
	few := len(current)
	if few > 64 {
		few = max(4, s.hub.cfg.Slice/256)
	}
	for some := range slices.Chunk(current, max(few, 1)) {
		batch := mailbox.NewBatch(some, s.hub.cfg.Encode)
		for i := range some {
			m.box.AddSnapshot(s.slot(m, &some[i]), batch.Item(i), s.now)
		}
	}
}

// restrict holds a member to the topics that it may have. What its wildcards cover
// anew it gets like what it subscribes to.
func (s *shard) restrict(m *Member, allow func(market.Topic) bool, then func()) {
	m.allow = allow
	s.remove(m, 0, math.MaxUint64, func(u *sub) bool { return !m.allowed(u.topic.name) })
	for c := range s.channels {
		if ch := market.Channel(c); m.wild.has(ch) {
			all := []market.Topic{{Channel: ch, Symbol: market.AllSymbols}}
			s.subscribe(m, Subscription{Topics: all, Snapshot: m.snap.has(ch) || (m.catch != nil && m.catch.wild.has(ch))}, nil)
		}
	}
	s.start(m, func(int) bool {
		if then != nil {
			then()
		}
		return true
	})
}

func (s *shard) unsubscribe(m *Member, topics []market.Topic, then func()) {
	var names []market.Topic
	for _, name := range topics {
		if name.Symbol != market.AllSymbols {
			names = append(names, name)
			continue
		}
		delete(s.channels[name.Channel].wild, m)
		m.wild.set(name.Channel, false)
		s.remove(m, numberOf(name.Channel), numberOf(name.Channel+1), func(u *sub) bool {
			u.wild = false
			return !u.named && !u.listed
		})
	}
	s.start(m, func(n int) bool {
		some := names[:min(n, len(names))]
		names = names[len(some):]
		var gone []int
		for _, name := range some {
			if t := s.channels[name.Channel].topics[name.Symbol]; t != nil {
				if i, has := m.find(t); has {
					if u := m.subs[i]; u.named || u.listed {
						if u.named, u.listed = false, false; !u.wild {
							gone = append(gone, i)
						}
					}
				}
			}
		}
		s.cut(m, gone)
		if len(some) == n {
			return false
		}
		m.subs = shrink(m.subs)
		if then != nil {
			then()
		}
		return true
	})
}

// remove takes back those of a member's subscriptions for which over reports true, of
// topics whose number is at least from, and less than to.
func (s *shard) remove(m *Member, from, to uint64, over func(u *sub) bool) {
	s.start(m, func(n int) bool {
		i, _ := m.place(from)
		end, _ := m.place(to)
		some := m.subs[i:min(i+n, end)]
		var gone []int
		for j, u := range some {
			if from = u.topic.number + 1; over(u) {
				gone = append(gone, i+j)
			}
		}
		s.cut(m, gone)
		if len(some) == n {
			return false
		}
		m.subs = shrink(m.subs)
		return true
	})
}

// cut takes back the subscriptions at some places.
func (s *shard) cut(m *Member, places []int) {
	if len(places) == 0 {
		return
	}
	slices.Sort(places)
	to := places[0]
	for k, i := range places {
		s.release(m.subs[i])
		end := len(m.subs)
		if k+1 < len(places) {
			end = places[k+1]
		}
		to += copy(m.subs[to:], m.subs[i+1:end])
	}
	clear(m.subs[to:])
	m.subs = m.subs[:to]
}
