package client

import (
	"maps"
	"slices"

	"github.com/lzstock/lzstock/market"
)

// book is how far a connection has brought each subscription: where the next one
// resumes. It outlives its connection. Its owner is Client.mu.
//
// Frames ascend, so that the last position of a whole frame tells all that came:
// at. That holds for all topics but those that a connection has asked to resume,
// which may still lag behind the others. They form a group, for each command
// one, until a heartbeat, which comes only when nothing waits, tells that they
// have caught up.
type book struct {
	epoch  market.Epoch
	at     market.Seq
	kept   bool // as of a group
	tracks map[market.Topic]*track
}

// track is how far one subscription is.
type track struct {
	acked   bool       // the gateway has taken it, on this connection or an earlier one
	settled bool       // its current value has come, or there is none: it can be resumed
	beats   int        // heartbeats since it was taken
	from    market.Seq // how far the book was when the gateway first took it
	group   *group     // nil: it is as far as the book
}

type group struct {
	at    market.Seq
	acked bool
	kept  bool // something behind at is missing: it stays for the next connection
}

// rewind has the next connection resume a topic at a position that was passed.
func (b *book) rewind(t market.Topic, to market.Seq) bool {
	k := b.track(t)
	switch {
	case k == nil && len(b.tracks) == 0: // the gateway holds the subscriptions, all at one position
		b.at = min(b.at, to)
		b.kept = true
	case k != nil && k.settled:
		k.group = &group{at: to, kept: true}
	default:
		return false
	}
	return true
}

// track gives what covers a topic: itself, or all symbols of its channel.
func (b *book) track(t market.Topic) *track {
	if own := b.tracks[t]; own != nil {
		return own
	}
	return b.tracks[market.Topic{Channel: t.Channel, Symbol: market.AllSymbols}]
}

// position gives where a topic can be resumed, and whether it can.
func (b *book) position(t market.Topic) (market.Seq, bool) {
	k := b.tracks[t]
	switch {
	case b.epoch == 0 || k == nil || !k.settled:
		return 0, false
	case k.group != nil:
		return k.group.at, k.group.at > 0
	}
	return b.at, b.at > 0
}

// frame takes note of a whole frame's events.
func (b *book) frame(came []came) {
	for _, e := range came {
		if !b.kept {
			b.at = max(b.at, e.seq)
		}
		if k := b.track(e.topic); k != nil {
			k.settled = true
			if k.group != nil && !k.group.kept {
				k.group.at = max(k.group.at, e.seq)
			}
		}
	}
}

type came struct {
	topic market.Topic
	seq   market.Seq
}

// beat takes note of a heartbeat, which comes when nothing waits.
func (b *book) beat(at market.Seq) {
	lag := false
	for _, k := range b.tracks {
		if k.acked && !k.settled {
			k.beats++
			k.settled = k.beats > 1 // a value that is fetched for it comes before that
		}
		if k.group != nil && k.group.acked && !k.group.kept {
			k.group = nil
		}
		lag = lag || k.group != nil
	}
	if !lag && !b.kept {
		b.at = max(b.at, at)
	}
}

// lose takes note of a gap: current values are to come, and until then nothing
// can be resumed.
func (b *book) lose() {
	for _, k := range b.tracks {
		*k = track{acked: k.acked} // whatever was current once is not to be believed
	}
}

func (b *book) topics() []market.Topic {
	return slices.Collect(maps.Keys(b.tracks))
}

// plan divides topics by the position from which they are to be resumed; those
// that cannot be are fresh.
func (b *book) plan(topics []market.Topic) (resumed map[market.Seq][]market.Topic, fresh []market.Topic) {
	resumed = make(map[market.Seq][]market.Topic)
	for _, t := range topics {
		if at, ok := b.position(t); ok {
			resumed[at] = append(resumed[at], t)
		} else {
			fresh = append(fresh, t)
		}
	}
	return resumed, fresh
}
