package hub

import (
	"cmp"
	"slices"

	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/market"
)

// topic is what a shard knows of one topic.
type topic struct {
	name    market.Topic
	number  uint64       // of its shard's topics, ever: no two have the same
	carried bool         // made live by name, not by a wildcard
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

// held gives the position after which the history has every event.
func (t *topic) held() market.Seq { return max(t.base, t.history.dropped) }

// since gives the topic's events after a position, those before the history from
// elsewhere, or false where they are not all there.
func (t *topic) since(after market.Seq, before Earlier) ([]market.Event, bool) {
	if after >= t.held() {
		return t.history.after(after), true
	}
	events, known := before.Events[t.name]
	if !known || before.Through < t.held() {
		return nil, false
	}
	// What the shard has not read yet comes live.
	n, _ := slices.BinarySearchFunc(events, t.last.Seq+1, func(e market.Event, seq market.Seq) int { return cmp.Compare(e.Seq, seq) })
	return append(events[:n:n], t.history.after(before.Through)...), true
}

// lastBefore gives the position before events, the topic's newest.
func (t *topic) lastBefore(events []market.Event) market.Seq {
	if len(events) > 0 {
		return events[0].Prev
	}
	return t.last.Seq
}

// want has the subscription wait for the topic's snapshot, where it is wanted.
func (u *sub) want(wanted bool) {
	u.wantSnap = wanted
	u.member.owed = u.member.owed || wanted
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

// half reports whether more than half of what it may hold is behind a position.
func (r *ring) half(pos market.Seq, limit int) bool {
	n := len(r.events)
	i := n - 1 - limit/2
	return i >= 0 && r.events[(r.start+i)%n].Seq > pos
}

// after gives the held events behind a position, ascending.
func (r *ring) after(pos market.Seq) []market.Event {
	var out []market.Event
	for i := range r.events {
		if e := &r.events[(r.start+i)%len(r.events)]; e.Seq > pos {
			out = append(out, *e)
		}
	}
	return out
}
