package monitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"google.golang.org/grpc/metadata"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/internal/marketpb"
	"github.com/lzstock/lzstock/market"
)

// progressAfter is how long a Watch stream is silent before it shows that it lives.
const progressAfter = 250 * time.Millisecond

// Watch serves one Watch stream: this goroutine sends, another one receives.
func (s *service) Watch(stream pb.MarketMonitor_WatchServer) error {
	e, err := s.engine()
	if err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(stream.Context())
	defer end(nil)
	w := &watch{engine: e, stream: stream, sink: newSink(e.epoch, end), carried: map[market.Topic]struct{}{}}
	if w.member, err = e.hub.Join(ctx, w.sink, e.queue(mailbox.Adaptive)); err != nil {
		return s.failure(ctx, err)
	}
	defer w.member.Leave()
	s.metrics.streams.WithLabelValues("Watch").Inc()
	defer s.metrics.streams.WithLabelValues("Watch").Dec()

	if err := w.welcome(ctx); err != nil {
		return s.failure(ctx, err)
	}
	// Recv returns when this handler has, so that the server waits for it, not
	// the handler.
	s.readers.Go(func() { s.guard(ctx, end, func() { end(w.receive(ctx)) }) })
	return s.failure(ctx, w.send(ctx))
}

// watch is one Watch stream.
type watch struct {
	*engine
	stream  pb.MarketMonitor_WatchServer
	sink    *sink
	member  *hub.Member
	carried map[market.Topic]struct{} // the receiver's own
}

// welcome opens the stream: whatever was announced by now comes second.
func (w *watch) welcome(ctx context.Context) error {
	asked := metadata.ValueFromIncomingContext(ctx, marketpb.ListedKey)
	lists := len(asked) > 0 && asked[0] == "1"
	return w.member.Subscribe(ctx, hub.Subscription{Listed: lists}, func(at market.Seq) {
		hello := &pb.Welcome{Position: marketpb.Position(market.Position{Epoch: w.epoch, Seq: at}), Replica: w.cfg.Replica, Lists: lists}
		if lists { // after the hub knows that it is to tell: no symbol is left out
			hello.Symbols = marketpb.Symbols(w.symbols.all())
		}
		w.sink.control = slices.Insert(w.sink.control, 0, &pb.WatchResponse{Kind: &pb.WatchResponse_Welcome{Welcome: hello}})
		w.sink.open = true
	})
}

// receive takes requests until the stream ends. A caller that has no more of
// them goes on listening, and the error is nil.
func (w *watch) receive(ctx context.Context) error {
	for {
		req, err := w.stream.Recv()
		if errors.Is(err, io.EOF) {
			<-ctx.Done()
			return nil
		}
		if err != nil {
			return err
		}
		if err := w.request(ctx, req); err != nil {
			return err
		}
	}
}

// request carries out a request. One that cannot be is refused, which ends nothing
// that is carried already.
func (w *watch) request(ctx context.Context, req *pb.WatchRequest) error {
	drop, err := marketpb.FromTopics(req.GetDrop())
	if err != nil {
		return w.refuse(ctx, req, err)
	}
	for _, t := range drop {
		delete(w.carried, t)
	}
	if len(drop) > 0 {
		if err := w.member.Unsubscribe(ctx, drop, nil); err != nil {
			return err
		}
	}
	add, err := marketpb.FromTopics(req.GetAdd())
	if err != nil {
		return w.refuse(ctx, req, err)
	}
	fresh := 0
	for _, t := range add {
		if _, has := w.carried[t]; !has {
			fresh++
		}
	}
	if n := len(w.carried) + fresh; fresh > 0 && n > w.cfg.StreamTopics {
		return w.refuse(ctx, req, fmt.Errorf("%d topics are too many for one stream: at most %d", n, w.cfg.StreamTopics))
	}
	for _, t := range add {
		w.carried[t] = struct{}{}
	}
	sub := hub.Subscription{Topics: add, Snapshot: true}
	var gap *market.Gap
	if since := marketpb.FromPosition(req.GetSince()); req.GetSince() != nil && len(add) > 0 {
		switch ok, err := w.reach(ctx, since); {
		case err != nil:
			return err
		case ok:
			sub.CatchUp, sub.Snapshot = w.catchUp(ctx, w.sink, w.member, since, watchWithin), false
		default:
			gap = &market.Gap{Reason: market.GapEpoch, From: since, Topics: add}
		}
	}
	return w.member.Subscribe(ctx, sub, func(at market.Seq) {
		s := w.sink
		if gap != nil {
			gap.To = market.Position{Epoch: w.epoch, Seq: at}
			s.control = append(s.control, gapMessage(gap))
		}
		if sub.Snapshot && len(add) > 0 {
			s.answered, s.final = append(s.answered, add...), true
		}
		s.added = append(s.added, request{id: req.GetId(), at: at})
	})
}

func (w *watch) refuse(ctx context.Context, req *pb.WatchRequest, why error) error {
	w.metrics.refused.Inc()
	return w.member.Do(ctx, func(time.Time) {
		w.sink.control = append(w.sink.control, &pb.WatchResponse{Kind: &pb.WatchResponse_Refused{
			Refused: &pb.Refused{Id: req.GetId(), Reason: why.Error()},
		}})
	})
}

// send passes frames on until ctx ends.
func (w *watch) send(ctx context.Context) error {
	silence := time.NewTimer(progressAfter)
	defer silence.Stop()
	for {
		select {
		case f := <-w.sink.frames:
			for m := range w.messages(f) {
				if err := w.stream.Send(m); err != nil {
					return err
				}
			}
			if err := w.member.Do(ctx, w.sink.release); err != nil {
				return err
			}
		case <-silence.C:
			if err := w.member.Do(ctx, w.sink.progress); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		silence.Reset(progressAfter)
	}
}

// messages gives what a frame is on a Watch stream.
func (w *watch) messages(f *frame) iter.Seq[*pb.WatchResponse] {
	return func(yield func(*pb.WatchResponse) bool) {
		for _, m := range f.control {
			if !yield(m) {
				return
			}
		}
		if len(f.snapshots) > 0 || f.final {
			topics, bodies := f.answered, make([][]byte, len(f.snapshots))
			for i, d := range f.snapshots {
				if bodies[i] = d.Item.Body(0); !f.final { // more snapshots follow: answer for those in here
					topics = append(topics, d.Item.Event().Topic())
				}
			}
			if !yield(marketpb.EncodedSnapshots(topics, bodies)) {
				return
			}
		}
		for part := range parts(f.events) {
			if !yield(batch(part)) {
				return
			}
		}
		for _, id := range f.added {
			if !yield(&pb.WatchResponse{Kind: &pb.WatchResponse_Added{Added: &pb.Added{Id: id}}}) {
				return
			}
		}
		if !f.progress.IsZero() {
			yield(&pb.WatchResponse{Kind: &pb.WatchResponse_Progress{Progress: &pb.Progress{Position: marketpb.Position(f.progress)}}})
		}
	}
}

// parts cuts events into messages, never between events of one position.
func parts(list []mailbox.Delivery) iter.Seq[[]mailbox.Delivery] {
	return func(yield func([]mailbox.Delivery) bool) {
		for len(list) > 0 {
			n := min(frameEvents, len(list))
			for n < len(list) && list[n].Item.Event().Seq == list[n-1].Item.Event().Seq {
				n++
			}
			if !yield(list[:n]) {
				return
			}
			list = list[n:]
		}
	}
}

// batch gives the message with live events. Their encoding is made once, for all
// streams, and goes into the message as it is.
func batch(list []mailbox.Delivery) *pb.WatchResponse {
	size := 0
	for _, d := range list {
		size += marketpb.BatchEventSize(d.Item.Body(0), d.Prev, standsFor(d))
	}
	data := marketpb.AppendBatchHead(nil, size)
	for _, d := range list {
		data = marketpb.AppendBatchEvent(data, d.Item.Body(0), d.Prev, standsFor(d))
	}
	return marketpb.Encoded(data)
}

// standsFor gives the protobuf form of how many events a delivery stands for.
func standsFor(d mailbox.Delivery) uint32 {
	if d.Merged > 1 {
		return d.Merged
	}
	return 0
}

// events gives the protobuf form of what leaves a mailbox.
func events(list []mailbox.Delivery) []*pb.Event {
	out := make([]*pb.Event, len(list))
	slab := make([]pb.Event, len(list))
	for i, d := range list {
		m := &slab[i]
		marketpb.Fill(m, d.Item.Event())
		m.Prev, m.Merged = uint64(d.Prev), standsFor(d)
		out[i] = m
	}
	return out
}
