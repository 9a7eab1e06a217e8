package upstream

import (
	"context"
	"log/slog"
	"time"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/marketpb"
	"github.com/lzstock/lzstock/market"
)

// replays is how often a hole is to be filled by a replay before it is announced as
// a Gap.
const replays = 2

// place is how far one symbol of one channel has come. Each live event names the one
// before it, so that what is missing between the two is noticed.
type place struct {
	last    market.Seq // of the event, or the value, that was passed on last; 0: none
	from    market.Seq // while last is 0: it had nothing by then, or what it had is no matter
	session uint64     // that brought the last event or value
	hole    bool       // something after last is missing: a replay is under way
	tries   int8       // replays of this hole
}

// since gives the position behind which everything is still to come.
func (p *place) since() market.Seq { return max(p.last, p.from) }

// follows reports whether e is the next event behind the last one, though it names
// another before it. So it may, as the first that a stream brings where it resumes
// one before: a monitor may know of less, or of more, before the position that we
// resumed from.
func (p *place) follows(s *session, e *market.Event) bool {
	return p.session != s.id && (e.Prev == 0 || p.last == 0 && e.Prev <= p.from)
}

// batch passes on live events. What comes twice is left out. An event that does not
// follow the last one of its topic is not passed on, nor anything behind it: the
// stream ends, and the next one brings what is missing.
func (c *Client) batch(ctx context.Context, s *session, all []market.Event) error {
	if len(all) == 0 {
		return nil
	}
	c.metrics.came(all, time.Now())
	events, ignored := all[:0], 0
	for i := range all {
		e := &all[i]
		t := e.Topic()
		p := c.places[t]
		if p == nil && c.wild[t.Channel] {
			p = &place{from: c.wildFrom[t.Channel]}
			c.places[t] = p
		}
		if p == nil || e.Seq <= p.last || e.Seq <= c.at.Seq && !p.hole {
			ignored++
			continue
		}
		if e.Prev != p.last && !p.follows(s, e) {
			if p.tries < replays {
				return c.broken(ctx, s, p, e, events)
			}
			if err := c.announce(ctx, s, p, e, events); err != nil {
				return err
			}
			events = make([]market.Event, 0, len(all)-i)
			continue
		}
		if p.tries > 0 && e.Seq > c.at.Seq {
			c.filled(ctx, t, p)
		}
		p.last, p.session = e.Seq, s.id
		events = append(events, *e)
	}
	last := all[len(all)-1].Seq
	if ignored > 0 {
		c.metrics.ignored.Add(float64(ignored))
	}
	if err := c.publish(ctx, events); err != nil {
		return err
	}
	c.reached(s, last)
	return nil
}

// reached notes how far a session has come. Until all that it resumes has been
// answered, some topics are ahead of others.
func (c *Client) reached(s *session, seq market.Seq) {
	if len(s.initial) > 0 {
		s.ahead = max(s.ahead, seq)
		return
	}
	c.advance(seq)
}

func (c *Client) publish(ctx context.Context, events []market.Event) error {
	if len(events) == 0 {
		return nil
	}
	c.metrics.events.Add(float64(len(events)))
	return c.sink.Publish(ctx, events)
}

// broken ends a session whose event e does not follow. What stood before e is passed
// on, but for events of its own position, which go together.
func (c *Client) broken(ctx context.Context, s *session, p *place, e *market.Event, before []market.Event) error {
	for n := len(before) - 1; n >= 0 && before[n].Seq == e.Seq; n-- {
		back := c.places[before[n].Topic()]
		back.last, back.from, back.session = before[n].Prev, e.Seq-1, 0
		before = before[:n]
	}
	if !p.hole {
		c.metrics.holes.WithLabelValues("noticed").Inc()
	}
	p.hole = true
	p.tries++
	c.holes[e.Topic()] = p
	c.logger.LogAttrs(ctx, slog.LevelWarn, "events are missing: they are asked for again", slog.String("monitor", s.monitor),
		slog.String("topic", e.Topic().String()), slog.Uint64("after", uint64(p.since())), slog.Uint64("up_to", uint64(e.Prev)))
	if err := c.publish(ctx, before); err != nil {
		return err
	}
	c.reached(s, e.Seq-1)
	c.giveUp(s, errHole)
	return nil
}

// announce gives up what no replay has brought: a Gap, then e as the new value.
func (c *Client) announce(ctx context.Context, s *session, p *place, e *market.Event, before []market.Event) error {
	if err := c.publish(ctx, before); err != nil {
		return err
	}
	t := e.Topic()
	gap := market.Gap{
		Reason: market.GapExpired, Topics: []market.Topic{t},
		From: market.Position{Epoch: c.at.Epoch, Seq: p.since()}, To: market.Position{Epoch: c.at.Epoch, Seq: max(e.Seq-1, p.since())},
	}
	c.abandoned(t, p)
	c.tellLost(ctx, gap)
	if err := c.sink.Gap(ctx, gap); err != nil {
		return err
	}
	p.last, p.session = e.Seq, s.id
	var topics []market.Topic
	if known := c.topics[t]; known != nil && known.carried {
		topics = append(topics, t)
	}
	return c.sink.Replace(ctx, topics, []market.Event{*e})
}

// filled notes that a replay has brought what was missing.
func (c *Client) filled(ctx context.Context, t market.Topic, p *place) {
	p.hole, p.tries = false, 0
	delete(c.holes, t)
	c.metrics.holes.WithLabelValues("repaired").Inc()
	c.logger.LogAttrs(ctx, slog.LevelInfo, "what was missing has come", slog.String("topic", t.String()))
}

// abandoned notes that what is missing will not come.
func (c *Client) abandoned(t market.Topic, p *place) {
	if p.hole {
		c.metrics.holes.WithLabelValues("announced").Inc()
	}
	p.hole, p.tries = false, 0
	delete(c.holes, t)
}

// replay gives the requests that bring what is missing on topics that are carried,
// and the drops behind them for those that are carried by "*" alone. A topic that a
// stream carries by name when it is asked for "*" keeps its own replay.
func (c *Client) replay() (adds []*pb.WatchRequest, drops []market.Topic) {
	for t, p := range c.holes {
		adds = append(adds, &pb.WatchRequest{
			Add:   marketpb.Topics([]market.Topic{t}),
			Since: marketpb.Position(market.Position{Epoch: c.at.Epoch, Seq: p.since()}),
		})
		if c.topics[t] == nil {
			drops = append(drops, t)
		}
	}
	return adds, drops
}

// value notes a topic's current value, which comes ahead of the live events behind
// it.
func (c *Client) value(s *session, t market.Topic, seq market.Seq) {
	p := c.places[t]
	if p == nil {
		p = &place{}
		c.places[t] = p
	}
	if p.hole {
		c.abandoned(t, p)
	}
	p.last, p.session = seq, s.id
}

// valueless notes that a topic is carried from now on, though it has no value yet.
func (c *Client) valueless(t market.Topic) {
	if t.Symbol == market.AllSymbols {
		c.wildFrom[t.Channel] = c.at.Seq
	} else if c.places[t] == nil {
		c.places[t] = &place{from: c.at.Seq}
	}
}

// unknown forgets how far a topic has come, or all of its channel: events up to a
// position were lost.
func (c *Client) unknown(t market.Topic, to market.Seq) {
	forget := func(t market.Topic, p *place) {
		c.abandoned(t, p)
		*p = place{from: to}
	}
	if t.Symbol != market.AllSymbols {
		if p := c.places[t]; p != nil {
			forget(t, p)
		}
		return
	}
	c.wildFrom[t.Channel] = to
	for other, p := range c.places {
		if other.Channel == t.Channel {
			forget(other, p)
		}
	}
}

// drop forgets the places of a topic that is not carried any more, unless another
// topic carries them.
func (c *Client) drop(t market.Topic) {
	if t.Symbol != market.AllSymbols {
		if !c.wild[t.Channel] {
			delete(c.places, t)
			delete(c.holes, t)
		}
		return
	}
	c.wild[t.Channel] = false
	for other := range c.places {
		if known := c.topics[other]; other.Channel == t.Channel && (known == nil || !known.carried) {
			delete(c.places, other)
			delete(c.holes, other)
		}
	}
}

// forgetAll forgets all places: the values of all topics are given up.
func (c *Client) forgetAll() {
	for t, p := range c.holes {
		c.abandoned(t, p)
	}
	clear(c.places)
}

func (c *Client) tellLost(ctx context.Context, gap market.Gap) {
	c.logger.LogAttrs(ctx, slog.LevelWarn, "events were lost", slog.String("reason", gap.Reason.String()),
		slog.String("from", gap.From.String()), slog.String("to", gap.To.String()), slog.Int("topics", len(gap.Topics)))
}
