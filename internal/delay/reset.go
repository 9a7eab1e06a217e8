package delay

import (
	"cmp"
	"slices"

	"github.com/lzstock/lzstock/market"
)

// carried are the topics that Replace has named and Forget has not since; "*"
// may be among them.
type carried map[market.Topic]struct{}

func (c carried) apply(op *operation) {
	for _, t := range op.topics {
		switch op.kind {
		case replace:
			c[t] = struct{}{}
		case forget:
			delete(c, t)
		case gap: // what is lost is carried still
		}
	}
}

func (c carried) has(t market.Topic) bool {
	_, named := c[t]
	_, all := c[market.Topic{Channel: t.Channel, Symbol: market.AllSymbols}]
	return named || all
}

// fold is what a stretch of the line comes to.
type fold struct {
	carried   carried
	touched   map[market.Topic]market.Event // the newest value of topics whose value changed; Seq 0: none
	gapped    [market.NumChannels]bool      // a Gap named all of the channel
	forgotten [market.NumChannels]bool      // a Forget did
}

// reset turns all that waits into two Gaps, a Forget and a Replace; see D6.
func (l *Line) reset() {
	f := fold{carried: carried{}, touched: map[market.Topic]market.Event{}}
	for t := range l.told {
		f.carried[t] = struct{}{}
	}
	for _, p := range l.parts {
		for i := p.head; i < len(p.entries); i++ {
			f.add(&p.entries[i])
		}
	}
	oldest, newest := l.parts[0].first(), l.parts[len(l.parts)-1].last()
	lost := operation{kind: gap, gap: market.Gap{Reason: market.GapExpired, From: l.out, To: l.in}}
	if lost.newEpoch() {
		lost.gap.Reason = market.GapEpoch
	}
	gone, values := operation{kind: forget}, operation{kind: replace}
	var events []market.Event
	for t, e := range f.touched {
		if l.told.has(t) {
			lost.topics = append(lost.topics, t)
		}
		if e.Seq > 0 {
			events = append(events, e)
		}
	}
	for c, gapped := range f.gapped {
		if gapped {
			lost.topics = append(lost.topics, market.Topic{Channel: market.Channel(c), Symbol: market.AllSymbols})
		}
	}
	again := func(t market.Topic) bool { return t.Symbol == market.AllSymbols && f.forgotten[t.Channel] }
	for t := range l.told {
		if _, is := f.carried[t]; !is || again(t) {
			gone.topics = append(gone.topics, t)
		}
	}
	for t := range f.carried {
		_, was := l.told[t]
		if _, changed := f.touched[t]; !was || changed || again(t) {
			values.topics = append(values.topics, t)
		}
	}
	slices.SortFunc(events, func(a, b market.Event) int { return cmp.Compare(a.Seq, b.Seq) })
	if more := len(events) - l.enough(); more > 0 {
		events = slices.Clone(events[more:])
	}
	l.stats.Resets++
	l.stats.Lost += uint64(l.waiting - len(events))
	p := &part{closed: true}
	if len(lost.topics) > 0 || lost.newEpoch() {
		// Announced at once, but for how far it goes: that nobody may know before its time.
		announced := operation{kind: gap, topics: lost.topics, gap: market.Gap{Reason: market.GapExpired, From: l.out, To: l.out}}
		p.add(entry{at: oldest, op: &announced})
		p.add(entry{at: newest, op: &lost})
	}
	if len(gone.topics) > 0 {
		p.add(entry{at: newest, op: &gone})
	}
	if len(values.topics)+len(events) > 0 {
		p.add(entry{at: newest, op: &values, events: events})
	}
	l.parts, l.waiting, l.ops, l.scratch = nil, 0, 0, scratch{}
	if !p.empty() {
		l.parts = []*part{p}
	}
	for i := range p.entries {
		l.count(&p.entries[i], 1)
	}
	l.opsLimit = max(l.cfg.Operations, 2*l.ops)
}

// add follows what an entry does to what is behind the line, as a hub would.
func (f *fold) add(e *entry) {
	if e.op == nil {
		for i := range e.events {
			f.value(e.events[i])
		}
		return
	}
	f.carried.apply(e.op)
	if e.op.newEpoch() {
		for t := range f.touched {
			f.touched[t] = market.Event{}
		}
	}
	for _, t := range e.op.topics {
		switch e.op.kind {
		case replace: // changes no values but those that it brings
		case forget:
			f.drop(t, &f.forgotten, f.carried.has)
		case gap:
			f.drop(t, &f.gapped, func(market.Topic) bool { return false })
		}
	}
	for i := range e.events {
		f.value(e.events[i])
	}
}

// value notes an event as the newest value of its topic, where that is carried.
func (f *fold) value(e market.Event) {
	t := e.Topic()
	if f.carried.has(t) && f.touched[t].Seq < e.Seq {
		e.Prev, e.Merged = 0, 0 // it will be a snapshot
		f.touched[t] = e
	}
}

// drop takes the value from a topic, or notes that all of the channel lose it,
// but not from those that keep theirs.
func (f *fold) drop(t market.Topic, channels *[market.NumChannels]bool, keeps func(market.Topic) bool) {
	if t.Symbol != market.AllSymbols {
		if !keeps(t) {
			f.touched[t] = market.Event{}
		}
		return
	}
	channels[t.Channel] = true
	for u := range f.touched {
		if u.Channel == t.Channel && !keeps(u) {
			f.touched[u] = market.Event{}
		}
	}
}
