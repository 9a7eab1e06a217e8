package monitor

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/internal/marketpb"
	"github.com/lzstock/lzstock/market"
)

// StreamPrices serves one StreamPrices stream.
func (s *service) StreamPrices(req *pb.StreamPricesRequest, stream pb.MarketMonitor_StreamPricesServer) error {
	e, err := s.engine()
	if err != nil {
		return err
	}
	topics, err := s.topics(req.GetTopics())
	if err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(stream.Context())
	defer end(nil)
	since := marketpb.FromPosition(req.GetSince())
	if req.GetSince() != nil {
		ok, err := e.reach(ctx, since)
		if err != nil {
			return s.failure(ctx, err)
		}
		if !ok {
			return status.Errorf(codes.OutOfRange, "position %s is not of this feed, which is at %s", since, e.position())
		}
	}
	p := &prices{engine: e, stream: stream, sink: newSink(e.epoch, end)}
	if p.member, err = e.hub.Join(ctx, p.sink, e.queue(mailbox.Every)); err != nil {
		return s.failure(ctx, err)
	}
	defer p.member.Leave()
	s.metrics.streams.WithLabelValues("StreamPrices").Inc()
	defer s.metrics.streams.WithLabelValues("StreamPrices").Dec()

	sub := hub.Subscription{Topics: topics, Snapshot: !req.GetSkipSnapshots()}
	if req.GetSince() != nil {
		sub.CatchUp, sub.Snapshot = e.catchUp(ctx, p.sink, p.member, since, 0), false
		p.since = sub.CatchUp.Since
	}
	if err = p.member.Subscribe(ctx, sub, func(market.Seq) { p.sink.open = true }); err == nil {
		err = p.send(ctx)
	}
	return s.failure(ctx, err)
}

// prices is one StreamPrices stream.
type prices struct {
	*engine
	stream pb.MarketMonitor_StreamPricesServer
	since  market.Position // that it resumes from; zero: none
	sink   *sink
	member *hub.Member
}

// send passes frames on until ctx ends.
func (p *prices) send(ctx context.Context) error {
	for {
		select {
		case f := <-p.sink.frames:
			if err := p.frame(f); err != nil {
				return err
			}
			if err := p.member.Do(ctx, p.sink.release); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// frame sends what a frame is on a StreamPrices stream, which has no place for
// news: the feed's state is left out, a gap ends it.
func (p *prices) frame(f *frame) error {
	for _, m := range f.control {
		switch g := m.GetGap(); {
		case g == nil:
		case marketpb.FromPosition(g.GetFrom()) == p.since:
			topics, err := marketpb.FromTopics(g.GetTopics())
			if err != nil {
				return err
			}
			return status.Errorf(codes.OutOfRange, "events after %d are no longer held for %d of the topics, %s among them",
				p.since.Seq, len(topics), topics[0])
		default:
			return status.Errorf(codes.Unavailable, "the service lost the events from %d to %d: resume elsewhere",
				g.GetFrom().GetSeq(), g.GetTo().GetSeq())
		}
	}
	for part := range parts(f.snapshots) {
		m := &pb.StreamPricesResponse{Epoch: uint64(p.epoch), Snapshot: true, Events: events(part)}
		if err := p.stream.Send(m); err != nil {
			return err
		}
	}
	for part := range parts(f.events) {
		m := &pb.StreamPricesResponse{Epoch: uint64(p.epoch), Events: events(part)}
		if err := p.stream.Send(m); err != nil {
			return err
		}
	}
	return nil
}
