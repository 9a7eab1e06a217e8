package hub

import (
	"slices"
	"sort"

	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/market"
)

// topic is what a shard knows of one topic.
type topic struct {
	name    market.Topic
	number  uint64       // of its shard's topics, ever: no two have the same; the channel is its first byte
	carried bool         // made live by name, not by a wildcard
	shown   bool         // it has had a value: the wildcard's listeners are among subs
	gone    bool         // the shard does not know it any more
	void    bool         // a gap took its value, and Replace has not said which it has now
	last    market.Event // Seq 0: no value
	subs    []*sub
	history ring
	base    market.Seq // history holds every event after it
}

// sub is one member's subscription to one topic: 48 bytes, of which a gateway
// holds hundreds of thousands.
type sub struct {
	member   *Member
	topic    *topic
	slot     mailbox.Slot
	index    int32 // in topic.subs
	named    bool  // subscribed by name
	wild     bool  // subscribed by the wildcard
	listed   bool  // subscribed because its symbol appeared; whoever asks for it has its snapshot all the same
	wantSnap bool  // waits for the topic to become live, for its snapshot
}

// record makes e the topic's current value.
func (t *topic) record(e *market.Event, history int) {
	prev := t.last.Seq
	t.last, t.void = *e, false
	if history > 0 {
		t.history.push(*e, prev, history)
	}
}

// reset forgets value and history; nothing up to at can be replayed.
func (t *topic) reset(at market.Seq) {
	t.last, t.history, t.base = market.Event{}, ring{}, at
}

// quiet reports whether the topic has had nothing after a position. Of one without a
// value that is known back to its base.
func (t *topic) quiet(after market.Seq) bool {
	return t.last.Seq <= after && (t.last.Seq > 0 || after >= t.base)
}

// held gives the position after which the history has every event.
func (t *topic) held() market.Seq { return max(t.base, t.history.dropped) }

// want has the subscription wait for the topic's snapshot, where it is wanted.
func (u *sub) want(wanted bool) {
	u.wantSnap = wanted
	u.member.owed = u.member.owed || wanted
}

// newSub subscribes a member to a topic.
func newSub(m *Member, t *topic) *sub {
	u := &sub{member: m, topic: t, index: int32(len(t.subs))}
	t.subs = append(t.subs, u)
	return u
}

func (t *topic) detach(s *sub) {
	end := len(t.subs) - 1
	t.subs[s.index] = t.subs[end]
	t.subs[s.index].index = s.index
	t.subs[end] = nil
	t.subs = shrink(t.subs[:end])
}

// shrink gives back the memory of a list that was much longer.
func shrink(subs []*sub) []*sub {
	if cap(subs) > 64 && len(subs) < cap(subs)/4 {
		return slices.Clone(subs)
	}
	return subs
}

// ring holds a topic's most recent events by value, so that it pins no batch.
type ring struct {
	events  []market.Event
	start   int
	dropped market.Seq // the greatest position that was pushed out; 0 if none
}

func (r *ring) push(e market.Event, prev market.Seq, limit int) {
	e.Prev = prev
	if len(r.events) < limit {
		r.events = append(r.events, e)
		return
	}
	r.dropped = r.events[r.start].Seq
	r.events[r.start] = e
	r.start = (r.start + 1) % limit
}

// at gives event i, the oldest being 0.
func (r *ring) at(i int) *market.Event { return &r.events[(r.start+i)%len(r.events)] }

// after gives the index of the first event behind a position.
func (r *ring) after(pos market.Seq) int {
	return sort.Search(len(r.events), func(i int) bool { return r.at(i).Seq > pos })
}
