package upstream

import (
	"context"
	"log/slog"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/market"
)

// learn takes in which symbols a monitor says, at the beginning of a stream, that the
// feed has had. Topics that were awaited are asked for: those that appeared since the
// position that we have reached from there on, so that nothing of them is missing.
func (c *Client) learn(ctx context.Context, s *session, lists bool, symbols []market.Symbol, epoch market.Epoch) error {
	found := c.interest.trust(!lists)
	if lists {
		found = append(found, c.interest.learn(symbols)...)
	}
	s.since = c.complete && lists && c.at.Epoch == epoch
	c.complete = lists
	return c.found(ctx, s, found)
}

// listed takes in that symbols appear: the stream carries all their topics from here
// on, and those that nobody wants are dropped. Before anything was asked for all are:
// what is wanted of them is resumed with the rest.
func (c *Client) listed(ctx context.Context, s *session, symbols []market.Symbol) error {
	if err := c.found(ctx, s, c.interest.learn(symbols)); err != nil {
		return err
	}
	var begin []market.Topic // asked for, and not answered yet
	for _, symbol := range symbols {
		for _, ch := range market.Channels() {
			t := market.Topic{Channel: ch, Symbol: symbol}
			switch known := c.topics[t]; {
			case !s.asked, known == nil:
				c.drops = append(c.drops, t)
			case !known.carried:
				begin = append(begin, t)
			}
		}
	}
	return c.carry(ctx, begin)
}

// found has topics asked for whose symbols have appeared: where they had nothing before
// the position that we have reached, from there on.
func (c *Client) found(ctx context.Context, s *session, topics []market.Topic) error {
	since := s.asked || s.since
	for _, t := range topics {
		c.topics[t] = &topic{asked: s.asked}
		if !since {
			c.adds = append(c.adds, t)
		}
	}
	c.metrics.topics.Set(float64(len(c.topics)))
	if !since {
		return nil
	}
	return c.carry(ctx, topics)
}

// carry has topics be carried from the position that we have reached, where they had
// nothing yet.
func (c *Client) carry(ctx context.Context, topics []market.Topic) error {
	if len(topics) == 0 {
		return nil
	}
	for _, t := range topics {
		c.topics[t].carried = true
		c.valueless(t)
	}
	return c.sink.Replace(ctx, topics, nil)
}

// refused gives up what a monitor refused, until the next stream. It should not come
// to that: our limits are below those of a monitor.
func (c *Client) refused(ctx context.Context, s *session, r *pb.Refused) error {
	topics := s.adds[r.GetId()]
	delete(s.adds, r.GetId())
	c.metrics.refused.Inc()
	c.logger.LogAttrs(ctx, slog.LevelError, "the monitor refused a request: its topics get no prices", slog.String("monitor", s.monitor),
		slog.Int("topics", len(topics)), slog.String("reason", r.GetReason()))
	for _, t := range topics {
		if known := c.topics[t]; known != nil {
			*known = topic{}
			c.drop(t)
		}
	}
	delete(s.initial, r.GetId())
	c.sync(ctx, s)
	return c.sink.Forget(ctx, topics)
}
