package hub

import (
	"slices"

	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/market"
)

// topic is what a shard knows of one topic.
type topic struct {
	name    market.Topic
	carried bool         // made live by name, not by a wildcard
	last    market.Event // Seq 0: no value
	subs    []*sub
	history ring
	base    market.Seq // history holds every event after it
}

// sub is one member's subscription to one topic.
type sub struct {
	member   *Member
	topic    *topic
	index    int // in topic.subs
	slot     mailbox.Slot
	named    bool // subscribed by name
	wild     bool // subscribed by the wildcard
	wantSnap bool // waits for the topic to become live, for its snapshot
}

// record makes e the topic's current value.
func (t *topic) record(e *market.Event, history int) {
	prev := t.last.Seq
	t.last = *e
	if history > 0 {
		t.history.push(*e, prev, history)
	}
}

// reset forgets value and history; nothing up to at can be replayed.
func (t *topic) reset(at market.Seq) {
	t.last, t.history, t.base = market.Event{}, ring{}, at
}

// since gives the topic's events after a position, or false where they are not
// all held.
func (t *topic) since(after market.Seq) ([]market.Event, bool) {
	if after < t.base || (t.history.dropped > 0 && after < t.history.dropped) {
		return nil, false
	}
	return t.history.after(after), true
}

// lastBefore gives the position before events, the topic's newest.
func (t *topic) lastBefore(events []market.Event) market.Seq {
	if len(events) > 0 {
		return events[0].Prev
	}
	return t.last.Seq
}

func (t *topic) detach(s *sub) {
	end := len(t.subs) - 1
	t.subs[s.index] = t.subs[end]
	t.subs[s.index].index = s.index
	t.subs[end] = nil
	t.subs = t.subs[:end]
	if cap(t.subs) > 64 && end < cap(t.subs)/4 {
		t.subs = slices.Clone(t.subs)
	}
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
