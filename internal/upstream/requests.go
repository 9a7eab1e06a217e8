package upstream

import (
	"log/slog"
	"slices"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/marketpb"
	"github.com/lzstock/lzstock/market"
)

// want takes in what has been acquired.
func (c *Client) want() {
	fresh := c.interest.take()
	for _, t := range fresh {
		if t.Channel < market.Trades || int(t.Channel) >= market.NumChannels || (t.Symbol != market.AllSymbols && t.Symbol.Validate() != nil) {
			// One bad topic would have the monitor refuse all.
			c.logger.Error("a topic that cannot exist was acquired", slog.String("topic", t.String()))
			continue
		}
		c.topics[t] = &topic{}
		c.adds = append(c.adds, t)
	}
	if len(fresh) > 0 {
		c.metrics.topics.Set(float64(len(c.topics)))
	}
}

// request hands what is to be changed to the sender, as one request, once it
// has sent the one before.
func (c *Client) request() {
	s := c.session
	if s == nil || !s.asked || s.ended {
		return
	}
	if len(s.queue) == 0 {
		if r := c.change(); r != nil {
			s.queue = append(s.queue, r)
		}
	}
	for len(s.queue) > 0 {
		select {
		case s.out <- s.queue[0]:
			s.queue = s.queue[1:]
		default:
			return
		}
	}
}

// change gives a request for what is new, nil where nothing is.
func (c *Client) change() *pb.WatchRequest {
	adds := c.adds[:0]
	for _, t := range c.adds {
		if known := c.topics[t]; known != nil && !known.asked {
			known.asked = true
			adds = append(adds, t)
		}
	}
	drops := c.drops
	c.adds, c.drops = nil, nil
	if len(adds)+len(drops) == 0 {
		return nil
	}
	c.requestID++
	if len(adds) > 0 {
		c.session.adds[c.requestID] = slices.Clone(adds)
	}
	return &pb.WatchRequest{Id: c.requestID, Add: marketpb.Topics(adds), Drop: marketpb.Topics(drops)}
}
