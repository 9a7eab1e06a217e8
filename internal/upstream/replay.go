package upstream

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/marketpb"
	"github.com/lzstock/lzstock/market"
)

const (
	replayLimit   = 2000 // events a page
	replaysAtOnce = 32   // pages that are asked for at the same time
)

// Replay asks the monitor for what some topics had after a position: a page of
// events, ascending, each with its Prev, and the place up to which it holds all of
// them but those of missed. Where no monitor answers it tries again until ctx ends.
// For any goroutine.
func (c *Client) Replay(ctx context.Context, topics []market.Topic, after market.Position) (
	events []market.Event, through market.Seq, missed []market.Topic, err error,
) {
	req := &pb.ReplayRequest{Topics: marketpb.Topics(topics), Since: marketpb.Position(after), Limit: replayLimit}
	r, err := run(ctx, c, errand{slots: c.replays, final: refusals(codes.OutOfRange)}, func(ctx context.Context, m pb.MarketMonitorClient) (*pb.ReplayResponse, error) {
		return m.Replay(ctx, req)
	})
	switch {
	case err == nil:
		return c.page(r, after)
	case status.Code(err) == codes.OutOfRange:
		return nil, 0, topics, nil
	}
	return nil, 0, nil, fmt.Errorf("replay after %s: %w", after, err)
}

func (c *Client) page(r *pb.ReplayResponse, after market.Position) ([]market.Event, market.Seq, []market.Topic, error) {
	events, err := marketpb.FromEvents(r.GetEvents())
	if err != nil {
		return nil, 0, nil, fmt.Errorf("a page of the past: %w", err)
	}
	missed, err := marketpb.FromTopics(r.GetMissed())
	if err != nil {
		return nil, 0, nil, fmt.Errorf("a page of the past: %w", err)
	}
	through := marketpb.FromPosition(r.GetThrough())
	last := after.Seq
	for i := range events {
		if e := &events[i]; e.Seq < last || e.Seq <= after.Seq || e.Seq > through.Seq {
			return nil, 0, nil, fmt.Errorf("%w: a page after %s, through %s, with an event at %d", errProtocol, after, through, e.Seq)
		}
		last = events[i].Seq
	}
	if through.Epoch != after.Epoch {
		return nil, 0, nil, fmt.Errorf("%w: a page after %s goes through %s", errProtocol, after, through)
	}
	return events, through.Seq, missed, nil
}
