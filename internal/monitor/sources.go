package monitor

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lzstock/lzstock/market"
)

const (
	lostAfter   = 3 * time.Second // without a pulse; they come every second
	returnGrace = 2 * time.Second // more, for sources that come back with the bus
	forgetAfter = time.Hour
	maxSources  = 256
	maxSenders  = 16 // of one source
)

// Pulse is what a source says of itself, about once a second.
type Pulse struct {
	Source, Sender string // the sender is one life of one process that publishes the source
	// Reason is 0 while it sends by its schedule; else FeedSilent or FeedClosed, or
	// FeedEnded or FeedLost, after which this sender says no more.
	Reason market.FeedReason
}

// sources is what is known of where the feed comes from. It belongs to one
// goroutine at a time.
type sources struct {
	known map[string]*source
}

// source is one source, and who publishes it.
type source struct {
	senders map[string]*sender
	shown   market.FeedSource
}

type sender struct {
	heard  time.Time
	reason market.FeedReason
}

// gone reports whether the sender has ended, or will not be heard again.
func (s *sender) gone() bool { return s.reason == market.FeedEnded || s.reason == market.FeedLost }

// hear takes in a pulse.
func (s *sources) hear(p Pulse, now time.Time) {
	of := s.known[p.Source]
	if of == nil {
		if len(s.known) >= maxSources {
			return
		}
		if s.known == nil {
			s.known = map[string]*source{}
		}
		of = &source{senders: map[string]*sender{}, shown: market.FeedSource{Name: p.Source}}
		s.known[p.Source] = of
	}
	from := of.senders[p.Sender]
	if from == nil {
		of.replace()
		if len(of.senders) >= maxSenders {
			return
		}
		from = &sender{}
		of.senders[p.Sender] = from
	}
	from.heard, from.reason = now, p.Reason
}

// replace forgets who is gone, because somebody else is there.
func (of *source) replace() {
	maps.DeleteFunc(of.senders, func(_ string, s *sender) bool { return s.gone() })
}

// deaf says that nothing can be heard now, so that silence tells nothing.
func (s *sources) deaf(now time.Time) {
	for _, of := range s.known {
		for _, from := range of.senders {
			if !from.gone() {
				from.heard = now.Add(returnGrace)
			}
		}
	}
}

// preferred orders reasons: a source is what the first of its senders is. Two of
// one source stand in for each other.
func preferred() []market.FeedReason {
	return []market.FeedReason{0, market.FeedClosed, market.FeedSilent, market.FeedLost, market.FeedEnded}
}

// review gives the state of each source, by name. The slice is new.
func (s *sources) review(now time.Time) []market.FeedSource {
	var out []market.FeedSource
	preferred := preferred()
	for name, of := range s.known {
		best, since, there := len(preferred), now, false
		for _, from := range of.senders {
			if !from.gone() && now.Sub(from.heard) >= lostAfter {
				from.reason = market.FeedLost
			}
			there = there || !from.gone()
		}
		if there {
			of.replace()
		}
		for id, from := range of.senders {
			if from.gone() && now.Sub(from.heard) >= forgetAfter {
				delete(of.senders, id)
				continue
			}
			if at := slices.Index(preferred, from.reason); at >= 0 && at < best {
				best, since = at, from.heard
			}
		}
		if best == len(preferred) {
			delete(s.known, name)
			continue
		}
		of.show(preferred[best], since, now)
		out = append(out, of.shown)
	}
	slices.SortFunc(out, func(a, b market.FeedSource) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// show changes what is shown of the source; heard is when it was heard last.
func (of *source) show(reason market.FeedReason, heard, now time.Time) {
	f := &of.shown
	state := market.FeedLive
	if reason == market.FeedSilent || reason == market.FeedLost {
		state = market.FeedStale
	}
	if reason != f.Reason || f.State == 0 {
		f.Reason, f.Since = reason, now
		if reason == market.FeedLost {
			f.Since = heard
		}
	}
	if f.State = state; reason == market.FeedLost && now.Sub(f.Since) >= downAfter {
		f.State = market.FeedDown
	}
}

// overall gives what the sources make of the feed: one that is lost or silent
// makes it stale; where all that have something to send have been lost for long,
// it is down.
func overall(list []market.FeedSource) (market.FeedState, market.FeedReason) {
	state, reason, down, due := market.FeedLive, market.FeedReason(0), 0, 0
	for _, f := range list {
		if f.State == market.FeedLive {
			if f.Reason == 0 {
				due++
			}
			continue
		}
		due++
		if f.State == market.FeedDown {
			down++
		}
		if state = market.FeedStale; reason != market.FeedLost {
			reason = f.Reason
		}
	}
	if due > 0 && down == due {
		state = market.FeedDown
	}
	return state, reason
}
