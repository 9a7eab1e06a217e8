package monitor

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/marketpb"
	"github.com/lzstock/lzstock/market"
)

// Sizes of a page of the past.
const (
	defaultReplay = 1000
	maxReplay     = 10000
)

// Replay answers what topics had after a place.
func (s *service) Replay(ctx context.Context, req *pb.ReplayRequest) (*pb.ReplayResponse, error) {
	e, err := s.engine()
	if err != nil {
		return nil, err
	}
	topics, err := s.topics(req.GetTopics())
	if err != nil {
		return nil, err
	}
	if req.GetSince() == nil {
		return nil, status.Error(codes.InvalidArgument, "since: want the place after which events are asked for")
	}
	limit, err := sizeOf("limit", req.GetLimit(), defaultReplay, maxReplay)
	if err != nil {
		return nil, err
	}
	since := marketpb.FromPosition(req.GetSince())
	ok, err := e.reach(ctx, since)
	switch {
	case err != nil || ok:
	case since.Epoch == e.epoch && market.FeedState(e.bus.Load()) != market.FeedLive:
		err = status.Errorf(codes.Unavailable, "the bus is lost, which may have position %s", since)
	default:
		err = status.Errorf(codes.OutOfRange, "position %s is not of this feed, which is at %s", since, e.position())
	}
	if err != nil {
		return nil, s.failure(ctx, err)
	}
	page, err := e.past(ctx, topics, since.Seq, limit, limit, nil)
	if err != nil {
		return nil, s.failure(ctx, err)
	}
	page.cut(limit)
	return &pb.ReplayResponse{
		Through: marketpb.Position(market.Position{Epoch: e.epoch, Seq: page.through}),
		Events:  marketpb.Events(page.events), Missed: marketpb.Topics(page.missed),
	}, nil
}
