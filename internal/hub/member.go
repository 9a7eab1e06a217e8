package hub

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/market"
)

// Member is one subscriber of a hub.
type Member struct {
	shard *shard
	sink  Sink

	// Owned by the shard.
	box    mailbox.Mailbox
	catch  *catchUp                // nil: it gets what comes
	subs   []*sub                  // ascending by their topic's number
	allow  func(market.Topic) bool // what a wildcard covers; nil: everything
	wild   channels                // listens to all symbols
	snap   channels                // wants snapshots of them
	work   *task                   // nil: none waits
	dirty  bool
	joined bool
	queued bool          // in the shard's queue
	owed   bool          // a topic's snapshot has been waited for since Settled looked
	merged uint64        // of box, counted into the shard's already
	wake   time.Duration // since the hub was made
	index  int           // in the shard's timers; -1: not there
}

// channels is a set of channels.
type channels uint8

func (c channels) has(ch market.Channel) bool { return c&(1<<ch) != 0 }

func (c *channels) set(ch market.Channel, on bool) {
	*c &^= 1 << ch
	if on {
		*c |= 1 << ch
	}
}

// NewMember makes a member, of which the hub knows nothing before Join.
func (h *Hub) NewMember(sink Sink, opts mailbox.Options) *Member {
	s := h.shards[h.next.Add(1)%uint64(len(h.shards))]
	return &Member{shard: s, sink: sink, box: mailbox.New(opts, &h.rings), index: -1}
}

// find gives the place of a topic's subscription in subs, and whether there is
// one.
func (m *Member) find(t *topic) (int, bool) { return m.place(t.number) }

func (m *Member) place(number uint64) (int, bool) {
	return slices.BinarySearchFunc(m.subs, number, func(u *sub, number uint64) int { return cmp.Compare(u.topic.number, number) })
}

// subscription finds or makes a member's subscription to a topic.
func (m *Member) subscription(t *topic) *sub {
	i, has := m.find(t)
	if !has {
		m.subs = slices.Insert(m.subs, i, newSub(m, t))
	}
	return m.subs[i]
}

// subscriptions finds or makes a member's subscriptions to topics, which it sorts.
func (m *Member) subscriptions(list []*topic) []*sub {
	slices.SortFunc(list, func(a, b *topic) int { return cmp.Compare(a.number, b.number) })
	out := make([]*sub, len(list))
	var fresh []*sub
	var places []int // of those, among the others
	for i, t := range list {
		at, has := m.find(t)
		switch {
		case has:
			out[i] = m.subs[at]
		case i > 0 && list[i-1] == t:
			out[i] = out[i-1]
		default:
			out[i] = newSub(m, t)
			fresh, places = append(fresh, out[i]), append(places, at)
		}
	}
	end := len(m.subs)
	m.subs = slices.Grow(m.subs, len(fresh))[:end+len(fresh)]
	for k, u := range slices.Backward(fresh) {
		at := places[k]
		copy(m.subs[at+k+1:], m.subs[at:end])
		m.subs[at+k], end = u, at
	}
	return out
}

// of gives the subscription to a topic that the shard knows and the member has.
func (m *Member) of(t *topic) *sub {
	i, _ := m.find(t)
	return m.subs[i]
}

// Join has the member get the feed's state, and what it subscribes to, until
// Leave. Its sink may be called before Join returns.
func (m *Member) Join(ctx context.Context) error {
	if err := m.shard.send(ctx, message{do: func(s *shard) { s.join(m) }}); err != nil {
		return fmt.Errorf("join hub: %w", err)
	}
	return nil
}

// Join makes a member that has joined.
func (h *Hub) Join(ctx context.Context, sink Sink, opts mailbox.Options) (*Member, error) {
	m := h.NewMember(sink, opts)
	return m, m.Join(ctx)
}

// Epoch gives the epoch of the positions in the member's mailbox, 0 where it is
// not known. It is for the shard's goroutine, such as the sink's methods.
func (m *Member) Epoch() market.Epoch { return m.shard.epoch }

// CatchingUp reports whether the member gets what is past. It is for the shard's
// goroutine.
func (m *Member) CatchingUp() bool { return m.catch != nil }

// Settled reports whether nothing is on its way to the member beside what it gets in
// order: no topic's first value, no word of a gap. It is for the shard's goroutine.
func (m *Member) Settled() bool {
	if m.catch != nil {
		return len(m.catch.missed) == 0
	}
	for c := range m.shard.channels {
		if m.snap.has(market.Channel(c)) && !m.shard.channels[c].carried {
			return false
		}
	}
	m.owed = m.owed && slices.ContainsFunc(m.subs, func(u *sub) bool { return u.wantSnap && (u.topic.void || !m.shard.live(u.topic)) })
	return !m.owed
}

// Do runs f on the shard's goroutine, where it may use what the sink owns, and
// flushes the member. f does not run where the member has left by then. Do
// waits for room in the inbox, not for f.
func (m *Member) Do(ctx context.Context, f func(now time.Time)) error {
	return m.shard.send(ctx, message{do: func(s *shard) {
		if m.joined {
			s.guard(m, func() { f(s.now) })
			s.touch(m)
		}
	}})
}

// Subscription asks for topics.
type Subscription struct {
	Topics []market.Topic // symbols may be market.AllSymbols
	// Snapshot asks for the current value of each new topic, at once or as soon as
	// the topic is live. Topics that are subscribed already stay as they are.
	Snapshot bool
	// CatchUp, where set, asks for the events after a position instead.
	CatchUp *CatchUp
	// Listed asks for all topics of each symbol that List names from now on, too, and
	// for a Notice ahead of their first events.
	Listed bool
}

// Subscribe adds topics. then, where not nil, runs on the shard's goroutine when
// the topics are subscribed and before anything of them is flushed. Many topics are
// added in slices, between which the shard serves other members; at is the position
// at which that began.
func (m *Member) Subscribe(ctx context.Context, req Subscription, then func(at market.Seq)) error {
	return m.shard.send(ctx, message{do: func(s *shard) {
		if m.joined {
			s.guard(m, func() { s.subscribe(m, req, then) })
			s.touch(m)
		}
	}})
}

// Unsubscribe removes topics; what waits of them is not delivered. A wildcard
// leaves topics that were named, and the reverse.
func (m *Member) Unsubscribe(ctx context.Context, topics []market.Topic, then func()) error {
	return m.shard.send(ctx, message{do: func(s *shard) {
		if !m.joined {
			return
		}
		s.guard(m, func() { s.unsubscribe(m, topics, then) })
		s.touch(m)
	}})
}

// Restrict says which topics the member may have: what it has and may not is
// taken back, with what waits of it, and wildcards cover what is allowed alone,
// from now on. nil allows everything. It does not look at names that are
// subscribed later. then, where not nil, runs on the shard's goroutine when that
// holds.
func (m *Member) Restrict(ctx context.Context, allow func(market.Topic) bool, then func()) error {
	return m.shard.send(ctx, message{do: func(s *shard) {
		if !m.joined {
			return
		}
		s.guard(m, func() { s.restrict(m, allow, then) })
		s.touch(m)
	}})
}

// allowed reports whether the member's wildcards cover a topic.
func (m *Member) allowed(t market.Topic) bool { return m.allow == nil || m.allow(t) }

// SetMode changes the member's mailbox.
func (m *Member) SetMode(ctx context.Context, opts mailbox.Options) error {
	return m.shard.send(ctx, message{do: func(s *shard) {
		if !m.joined {
			return
		}
		if err := m.box.SetMode(opts, s.now); err != nil {
			s.fail(m, err)
			return
		}
		s.touch(m)
	}})
}

// Leave removes a member that has joined and waits until the shard has let go of
// it. It may be called more than once.
func (m *Member) Leave() {
	gone := make(chan struct{})
	select {
	case m.shard.inbox <- message{do: func(s *shard) { s.leave(m, func() { close(gone) }) }}:
	case <-m.shard.hub.done:
		return
	}
	select {
	case <-gone:
	case <-m.shard.hub.done:
	}
}
