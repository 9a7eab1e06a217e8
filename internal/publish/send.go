package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/marketpb"
	"github.com/lzstock/lzstock/market"
)

// batch is on its way until it is acknowledged.
type batch struct {
	req   *pb.PublishRequest
	lines []int
}

// errProtocol says that the service does not do what ingest.proto says.
var errProtocol = errors.New("the service broke the protocol")

// send publishes the chunks over one connection after the other.
func (p *publisher) send(ctx context.Context) error {
	var failing time.Time // since when nothing went well
	for attempt := 0; ; attempt++ {
		begun := time.Now()
		answers, err := p.session(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case fatal(err):
			return fmt.Errorf("publish to %s: %w", p.cfg.Target, err)
		}
		now := time.Now()
		if answers > 0 || len(p.pending) == 0 && now.Sub(begun) > time.Second {
			attempt, failing = 0, time.Time{}
		}
		if failing.IsZero() {
			failing = now
		}
		pause := jitter(attempt)
		if now.Add(pause).Sub(failing) > p.cfg.GiveUp {
			return fmt.Errorf("publish to %s: given up after %s: %w", p.cfg.Target, now.Sub(failing).Round(time.Millisecond), err)
		}
		p.note(fmt.Sprintf("no connection to %s: %s; next try in %s", p.cfg.Target, status.Convert(err).Message(), pause.Round(time.Millisecond)))
		p.cfg.Logger.LogAttrs(ctx, slog.LevelDebug, "connection lost", slog.String("target", p.cfg.Target),
			slog.String("error", err.Error()), slog.Duration("retry_in", pause), slog.Int("unacknowledged", len(p.pending)))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		p.tally.change(func(s *Summary) { s.Reconnects++ })
	}
}

// jitter gives how long to wait before the next attempt: anything up to a limit
// that doubles, so that a thousand publishers do not come back at once.
func jitter(attempt int) time.Duration {
	const first, most = 100 * time.Millisecond, 5 * time.Second
	return rand.N(min(first<<min(attempt, 10), most)) + time.Millisecond
}

// fatal reports whether trying again cannot help.
func fatal(err error) bool {
	if errors.Is(err, errProtocol) {
		return true
	}
	switch status.Code(err) {
	case codes.InvalidArgument, codes.Unimplemented, codes.Unauthenticated, codes.PermissionDenied, codes.NotFound:
		return true
	default:
		return false
	}
}

// session sends what is pending, and then what comes, over one connection. It
// gives the number of answers, and nil where all is done.
func (p *publisher) session(ctx context.Context) (answers int, err error) {
	conn, err := grpc.NewClient(p.cfg.Target, p.cfg.dialOptions()...)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	stream, err := pb.NewIngestClient(conn).Publish(ctx)
	if err != nil {
		cancel()
		return 0, err
	}
	// There are never more answers than batches in flight, so the receiver does not
	// wait for the sender, which may wait for the service.
	acks := make(chan *pb.PublishResponse, p.cfg.InFlight)
	var ended error
	var receiver sync.WaitGroup
	defer receiver.Wait()
	defer cancel()
	receiver.Go(func() {
		defer close(acks)
		ended = receive(ctx, stream, acks)
	})
	err = p.converse(stream, acks, &answers)
	if errors.Is(err, io.EOF) { // the stream is broken; the receiver knows why
		for ack := range acks {
			if err := p.acknowledged(ack); err != nil {
				return answers, err
			}
			answers++
		}
		if err = ended; errors.Is(err, io.EOF) {
			err = nil
			if !p.done() {
				err = status.Error(codes.Unavailable, "the service ended the stream")
			}
		}
	}
	if err != nil && p.done() {
		err = nil // all is stored; the rest is ceremony
	}
	return answers, err
}

// receive passes answers on until the stream ends, and gives why.
func receive(ctx context.Context, stream grpc.BidiStreamingClient[pb.PublishRequest, pb.PublishResponse], acks chan<- *pb.PublishResponse) error {
	for {
		ack, err := stream.Recv()
		if err != nil {
			return err
		}
		select {
		case acks <- ack:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// converse sends batches and takes answers. io.EOF means that the stream has
// ended.
func (p *publisher) converse(stream grpc.BidiStreamingClient[pb.PublishRequest, pb.PublishResponse], acks <-chan *pb.PublishResponse, answers *int) error {
	for _, b := range p.pending {
		if err := stream.Send(b.req); err != nil {
			return err
		}
	}
	closed := false
	for {
		full := len(p.pending) >= p.cfg.InFlight
		if !full && len(p.rest.events) > 0 {
			if err := stream.Send(p.next().req); err != nil {
				return err
			}
			continue
		}
		if p.done() && !closed {
			closed = true
			if err := stream.CloseSend(); err != nil {
				return err
			}
		}
		in := p.chunks
		if full || p.ended {
			in = nil
		}
		select {
		case ack, ok := <-acks:
			if !ok {
				return io.EOF
			}
			if err := p.acknowledged(ack); err != nil {
				return err
			}
			*answers++
		case c, ok := <-in:
			p.ended = !ok
			p.rest.add(c)
		}
	}
}

// done reports whether all of the input is acknowledged.
func (p *publisher) done() bool {
	return p.ended && len(p.rest.events) == 0 && len(p.pending) == 0
}

// next makes a batch of what waits.
func (p *publisher) next() *batch {
	for len(p.rest.events) < market.BatchLimit && !p.ended {
		select {
		case c, ok := <-p.chunks:
			p.ended = !ok
			p.rest.add(c)
			continue
		default:
		}
		break
	}
	c := p.rest.cut(market.BatchLimit)
	if len(p.rest.events) == 0 {
		p.rest = chunk{} // its memory belongs to the batch
	}
	b := &batch{
		req:   &pb.PublishRequest{Publisher: p.cfg.Publisher, Number: p.number, Events: marketpb.Events(c.events)},
		lines: c.lines,
	}
	p.number++
	p.pending = append(p.pending, b)
	p.tally.change(func(s *Summary) { s.Sent += len(c.events) })
	return b
}

// acknowledged takes an answer, which is to the first batch that waits for one.
func (p *publisher) acknowledged(ack *pb.PublishResponse) error {
	if len(p.pending) == 0 || ack.GetNumber() != p.pending[0].req.GetNumber() {
		return fmt.Errorf("%w: it answered batch %d out of turn", errProtocol, ack.GetNumber())
	}
	b := p.pending[0]
	p.pending = p.pending[1:]
	refused := len(ack.GetRefused())
	p.tally.change(func(s *Summary) {
		stored := len(b.lines) - refused
		s.Refused += refused
		s.Stored += stored
		if ack.GetDuplicate() {
			s.Duplicates += stored
		}
	})
	for _, r := range ack.GetRefused() {
		if i := int(r.GetIndex()); i < len(b.lines) {
			p.complain(fmt.Sprintf("line %d: refused: %s", b.lines[i], r.GetReason()))
		}
	}
	return nil
}
