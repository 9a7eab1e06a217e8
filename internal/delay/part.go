package delay

import (
	"maps"
	"time"

	"github.com/lzstock/lzstock/market"
)

// part is a stretch of the line. Its memory goes when it has come out.
type part struct {
	entries []entry
	head    int           // entries before it have come out
	events  int           // in calls of Publish
	from    time.Duration // what it stands for came from then on, though that has given way
	raw     bool          // events have come since it was conflated
	closed  bool          // nothing is added any more
}

func (p *part) add(e entry) {
	if len(p.entries) == 0 {
		p.from = e.at
	}
	p.entries = append(p.entries, e)
	if e.op == nil {
		p.events += len(e.events)
		p.raw = true
	}
}

// pop takes the oldest entry.
func (p *part) pop() entry {
	e := p.entries[p.head]
	p.entries[p.head] = entry{}
	p.head++
	if e.op == nil {
		p.events -= len(e.events)
	}
	return e
}

func (p *part) empty() bool          { return p.head == len(p.entries) }
func (p *part) first() time.Duration { return p.entries[p.head].at }
func (p *part) last() time.Duration  { return p.entries[len(p.entries)-1].at }

// enough is how many of the events that may wait a reset leaves: were it all of
// them, each batch would need another reset.
func (l *Line) enough() int { return l.cfg.Events - l.cfg.Events/4 }

// makeRoom conflates until no more events wait than may.
func (l *Line) makeRoom() {
	for l.waiting > l.cfg.Events {
		at, pair := l.fullest()
		if at < 0 {
			if tail := l.parts[len(l.parts)-1]; !tail.closed {
				tail.closed = true
				continue
			}
			l.reset()
			return
		}
		p := l.parts[at]
		if pair {
			p.absorb(l.parts[at+1])
			copy(l.parts[at+1:], l.parts[at+2:])
			l.parts[len(l.parts)-1] = nil
			l.parts = l.parts[:len(l.parts)-1]
		}
		merged := l.scratch.conflate(p)
		l.waiting -= merged
		l.stats.Merged += uint64(merged)
		if len(l.parts) == 1 && l.waiting > l.enough() {
			l.reset()
			return
		}
	}
}

// fullest gives the closed part, or pair of neighbours, in which conflation may
// save the most events for the time within which changes become invisible; -1
// where nothing is left to save. A part that was conflated saves nothing more by
// itself, and with another no more than the smaller of the two has: so both have
// about one size, and each event is moved a few times only.
func (l *Line) fullest() (at int, pair bool) {
	at, best := -1, -1.0
	for i, p := range l.parts {
		if !p.closed {
			break
		}
		if p.raw && p.events > 1 {
			if density := float64(p.events) / float64(p.last()-p.from+1); density > best {
				at, pair, best = i, false, density
			}
		}
		if i+1 == len(l.parts) || !l.parts[i+1].closed {
			break
		}
		q := l.parts[i+1]
		if density := float64(min(p.events, q.events)) / float64(q.last()-p.from+1); density > best {
			at, pair, best = i, true, density
		}
	}
	return at, pair
}

// absorb appends the part behind p to it.
func (p *part) absorb(q *part) {
	entries := make([]entry, 0, len(p.entries)-p.head+len(q.entries)-q.head)
	entries = append(append(entries, p.entries[p.head:]...), q.entries[q.head:]...)
	*p = part{entries: entries, events: p.events + q.events, from: p.from, raw: true, closed: true}
}

// scratch is what conflation needs while it works.
type scratch struct {
	later  map[market.Topic]int // the number of the topic's event behind the place
	events []became
}

// became is what conflation makes of an event.
type became struct {
	count uint32 // how many it stands for; 0: it gave way
	prev  market.Seq
}

// conflate leaves the last event of each topic between its barriers, and gives
// how many gave way.
func (s *scratch) conflate(p *part) (merged int) {
	const most = 1 << 16 // for so many topics and events the memory is kept
	if s.later == nil || len(s.later) > most || cap(s.events) > most {
		*s = scratch{later: map[market.Topic]int{}}
	}
	clear(s.later)
	if cap(s.events) < p.events {
		s.events = make([]became, p.events)
	}
	s.events = s.events[:p.events]
	if merged = s.mark(p); merged > 0 {
		s.rewrite(p, p.events-merged)
		p.events -= merged
	}
	p.raw = false
	return merged
}

// mark goes from the newest event to the oldest and notes which give way.
func (s *scratch) mark(p *part) (merged int) {
	at := p.events
	for i := len(p.entries) - 1; i >= p.head; i-- {
		e := &p.entries[i]
		if e.op != nil {
			s.barrier(e.op)
			continue
		}
		for j := len(e.events) - 1; j >= 0; j-- {
			at--
			event := &e.events[j]
			t := event.Topic()
			if later, ok := s.later[t]; ok {
				s.events[later].count += event.Count()
				s.events[later].prev = event.Prev
				s.events[at].count = 0
				merged++
				continue
			}
			s.later[t] = at
			s.events[at] = became{count: event.Count(), prev: event.Prev}
		}
	}
	return merged
}

// barrier keeps events before op from giving way to those behind it.
func (s *scratch) barrier(op *operation) {
	if op.newEpoch() {
		clear(s.later)
		return
	}
	for _, t := range op.topics {
		if t.Symbol == market.AllSymbols {
			maps.DeleteFunc(s.later, func(u market.Topic, _ int) bool { return u.Channel == t.Channel })
		} else {
			delete(s.later, t)
		}
	}
}

// rewrite makes the part of the left events, all in memory of its own: what gave
// way is held no more, here or in an earlier rewrite.
func (s *scratch) rewrite(p *part, left int) {
	const slab = 1024 // events; its memory goes when all of them have come out
	var room []market.Event
	entries := make([]entry, 0, s.calls(p))
	fates := s.events
	for i := p.head; i < len(p.entries); i++ {
		e := p.entries[i]
		if e.op != nil {
			entries = append(entries, e)
			continue
		}
		kept, fate := 0, fates[:len(e.events)]
		fates = fates[len(e.events):]
		for j := range fate {
			if fate[j].count > 0 {
				kept++
			}
		}
		if kept == 0 {
			continue
		}
		if cap(room)-len(room) < kept {
			room = make([]market.Event, 0, max(kept, min(left, slab)))
		}
		start := len(room)
		for j := range fate {
			if n := fate[j].count; n > 0 {
				event := e.events[j]
				if n != event.Count() {
					event.Merged, event.Prev = n, fate[j].prev
				}
				room = append(room, event)
			}
		}
		e.events = room[start:len(room):len(room)]
		left -= kept
		entries = append(entries, e)
	}
	p.entries, p.head = entries, 0
}

// calls counts the entries of which something is left.
func (s *scratch) calls(p *part) (n int) {
	fates := s.events
	for i := p.head; i < len(p.entries); i++ {
		e := &p.entries[i]
		if e.op != nil {
			n++
			continue
		}
		fate := fates[:len(e.events)]
		fates = fates[len(e.events):]
		for j := range fate {
			if fate[j].count > 0 {
				n++
				break
			}
		}
	}
	return n
}
