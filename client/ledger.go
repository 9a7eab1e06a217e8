package client

import (
	"time"

	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// healAgain is the least time between two connections that are given up because
// events were missing. A gateway whose pq is wrong again and again is believed
// in between, and its events are marked.
const healAgain = time.Minute

// ledger is what has been handed out, whichever connection it came from. Its
// owner is Client.mu.
type ledger struct {
	epoch market.Epoch
	last  map[market.Topic]market.Seq // the position that was handed out last
	doubt map[market.Topic]market.Seq // something may be missing before the next event, unless it is a current value up to here
}

func newLedger() ledger {
	return ledger{last: make(map[market.Topic]market.Seq), doubt: make(map[market.Topic]market.Seq)}
}

// restart begins anew with another epoch, whose positions do not compare.
func (l *ledger) restart(epoch market.Epoch) {
	for t := range l.last {
		l.doubt[t] = 0
	}
	clear(l.last)
	l.epoch = epoch
}

// suspect notes that topics may have lost something; "*" stands for all that are
// known of its channel, no topics for all.
func (l *ledger) suspect(topics []market.Topic) {
	if len(topics) == 0 {
		for t := range l.last {
			l.doubt[t] = 0
		}
	}
	for _, t := range topics {
		l.doubt[t] = 0
		if t.Symbol != market.AllSymbols {
			continue
		}
		for known := range l.last {
			if known.Channel == t.Channel {
				l.doubt[known] = 0
			}
		}
	}
}

// forget lets topics begin anew that nobody wants any more.
func (l *ledger) forget(topics []market.Topic, want map[market.Topic]struct{}) {
	forget := func(t market.Topic) {
		if _, wanted := want[t]; !wanted {
			delete(l.last, t)
			delete(l.doubt, t)
		}
	}
	for _, t := range topics {
		if t.Symbol != market.AllSymbols {
			if _, wanted := want[market.Topic{Channel: t.Channel, Symbol: market.AllSymbols}]; !wanted {
				forget(t)
			}
			continue
		}
		delete(l.doubt, t)
		for known := range l.last {
			if known.Channel == t.Channel {
				forget(known)
			}
		}
	}
}

// verdict is what admit decides about an event.
type verdict struct {
	event Event
	drop  bool   // it was handed out already
	gap   *Gap   // to report
	err   *Error // the connection is given up, so that the next one brings what is missing
}

// admit decides about an event that a connection has brought, and takes note of
// it. c.mu is held.
//
// An event that continues what was handed out is handed out; one that was is
// dropped. Where the gateway says that it has sent events that never came, the
// connection is given up and the next one resumes before them: nothing is lost
// if that works, and if it does not the event is marked.
func (s *session) admit(d *wire.Data) verdict {
	c, l, topic := s.c, &s.c.ledger, d.Topic()
	var v verdict
	if s.epoch != l.epoch {
		if c.next != nil && c.next != s && c.next.begun { // a newer connection is in another epoch already
			c.stats.Duplicates++
			return verdict{drop: true}
		}
		if len(l.last) > 0 {
			v.gap = &Gap{Reason: Renumbered, From: market.Position{Epoch: l.epoch}, To: market.Position{Epoch: s.epoch, Seq: d.Seq}}
		}
		l.restart(s.epoch)
	}
	before, seen := s.chain[topic]
	last, known := l.last[topic]
	floor, doubt := l.doubt[topic]
	switch {
	case d.Snapshot && d.Seq <= floor:
		doubt = false // it was current when the subscription began
	case floor > 0 && !d.Snapshot && !known && d.Prev == 0 && s.fresh[topic] && !c.cfg.NoSnapshots:
		doubt = false // no value came before it, so there was none
	}
	s.chain[topic] = d.Seq
	if !d.Snapshot {
		s.chain[topic] = max(before, d.Seq)
	}
	if known && d.Seq <= last || seen && !d.Snapshot && d.Seq <= before {
		if d.Snapshot && d.Seq == last {
			delete(l.doubt, topic) // the current value is the one that was seen: nothing came between
		}
		c.stats.Duplicates++
		v.drop = true
		return v
	}
	broken := false
	switch {
	case d.Snapshot:
		broken = known // the gateway skips to the current value
	case seen && d.Prev != before:
		broken = d.Prev != 0 || !s.fresh[topic]
	case !seen && known:
		broken = d.Prev > last || d.Prev == 0 && !s.fresh[topic]
	}
	delete(s.fresh, topic)
	if broken && !doubt && !d.Snapshot {
		if s.heal(topic, last) {
			s.chain[topic] = before
			v.err = &Error{Op: "read", Reason: "events of " + topic.String() + " are missing", Retry: RetryNow, missing: true}
			return v
		}
		v.gap = &Gap{
			Reason: Unexplained, Topics: []market.Topic{topic},
			From: market.Position{Epoch: s.epoch, Seq: last}, To: market.Position{Epoch: s.epoch, Seq: d.Prev},
		}
	}
	l.last[topic] = d.Seq
	delete(l.doubt, topic)
	v.event = Event{Event: d.Event, Snapshot: d.Snapshot, Broken: broken || doubt}
	c.stats.Events++
	c.stats.Merged += uint64(d.Count() - 1)
	if v.event.Broken {
		c.stats.Broken++
	}
	return v
}

// heal tells whether the connection is to be given up for the sake of what is
// missing behind last, and arranges for the next one to ask for it.
func (s *session) heal(topic market.Topic, last market.Seq) bool {
	c := s.c
	c.stats.Missing++
	if s.epoch == 0 || last == 0 || !c.healed.IsZero() && time.Since(c.healed) < healAgain {
		return false
	}
	if !s.book.rewind(topic, last) {
		return false
	}
	if c.book != nil && c.book != s.book {
		c.book.rewind(topic, last)
	}
	c.healed = time.Now()
	return true
}

// report tells the user of a gap.
func (c *Client) report(g Gap) {
	c.count(func(st *Stats) { st.Gaps++ })
	if c.cfg.OnGap == nil {
		return
	}
	c.hook <- struct{}{}
	defer func() { <-c.hook }()
	c.cfg.OnGap(g)
}
