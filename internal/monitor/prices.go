package monitor

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/internal/marketpb"
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
	sub := hub.Subscription{Topics: topics, Snapshot: !req.GetSkipSnapshots()}
	if req.GetSince() != nil {
		since := marketpb.FromPosition(req.GetSince())
		ok, err := e.reach(ctx, since)
		if err != nil {
			return s.failure(ctx, err)
		}
		if !ok {
			return status.Errorf(codes.OutOfRange, "position %s is not of this feed, which is at %s", since, e.position())
		}
		sub.Resume, sub.Since = true, since.Seq
	}
	p := &prices{engine: e, stream: stream, sink: newSink(e.epoch, end)}
	if p.member, err = e.hub.Join(ctx, p.sink, e.queue(mailbox.Every)); err != nil {
		return s.failure(ctx, err)
	}
	defer p.member.Leave()
	s.metrics.streams.WithLabelValues("StreamPrices").Inc()
	defer s.metrics.streams.WithLabelValues("StreamPrices").Dec()

	err = p.member.Subscribe(ctx, sub, func(r hub.Result) {
		if len(r.Missed) > 0 {
			end(status.Errorf(codes.OutOfRange, "events after %d are no longer held for %d of the topics, %s among them",
				sub.Since, len(r.Missed), r.Missed[0]))
			return
		}
		p.sink.open = true
	})
	if err == nil {
		err = p.send(ctx)
	}
	return s.failure(ctx, err)
}

// prices is one StreamPrices stream.
type prices struct {
	*engine
	stream pb.MarketMonitor_StreamPricesServer
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
		if g := m.GetGap(); g != nil {
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
