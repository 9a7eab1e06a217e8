package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/marketpb"
	"github.com/lzstock/lzstock/market"
)

// Reasons of ours to end a stream. Their texts are metric labels.
var (
	errSilent    = errors.New("silent")
	errNoWelcome = errors.New("no_welcome")
	errProtocol  = errors.New("protocol")
	errFirst     = fmt.Errorf("%w: the welcome must be the first message, and the only one", errProtocol)
)

// session is one attempt to watch one monitor, from dialling to the end.
type session struct {
	monitor string
	end     context.CancelCauseFunc
	out     chan *pb.WatchRequest // what the sender sends next
	synced  atomic.Bool           // it has been of use

	// Owned by the upstream goroutine.
	heard    time.Time // when the last message was handled
	welcomed bool
	asked    bool                // for all that is wanted
	begun    time.Time           // when it was welcomed
	feed     market.Feed         // the monitor's word; State 0 before it came
	queue    []*pb.WatchRequest  // to be sent first
	initial  map[uint64]struct{} // requests to be answered before the session is synced
	ended    bool
}

// happening is what a session tells the upstream goroutine. One field is set
// beside session.
type happening struct {
	session *session
	opened  bool
	message *message
	closed  error
}

// message is what came, read as far as it can be away from the upstream
// goroutine.
type message struct {
	*pb.WatchResponse
	read   bool // by the codec: a batch, and events are its
	events []market.Event
	topics []market.Topic
}

// connect watches one monitor after the other until ctx ends.
func (c *Client) connect(ctx context.Context) {
	failures := 0
	for i := 0; ctx.Err() == nil; i++ {
		s := &session{monitor: c.cfg.Monitors[i%len(c.cfg.Monitors)], out: make(chan *pb.WatchRequest, 1), initial: map[uint64]struct{}{}}
		start := time.Now()
		err := c.watch(ctx, s)
		if !c.tell(ctx, happening{session: s, closed: err}) {
			return
		}
		if s.synced.Load() && time.Since(start) >= c.cfg.BackoffMax {
			failures = 0
		}
		wait := time.NewTimer(c.backoff(failures))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
		}
		failures++
	}
}

// backoff gives a random time, whose limit doubles with each failure.
func (c *Client) backoff(failures int) time.Duration {
	limit := c.cfg.BackoffMax
	if d := c.cfg.BackoffMin << min(failures, 16); d < limit {
		limit = d
	}
	return rand.N(limit) + time.Millisecond
}

func (c *Client) tell(ctx context.Context, h happening) bool {
	select {
	case c.in <- h:
		return true
	case <-ctx.Done():
		return false
	}
}

// watch holds one stream until it ends, and says why it did.
func (c *Client) watch(parent context.Context, s *session) error {
	conn, err := grpc.NewClient(c.scheme+s.monitor, c.dial...)
	if err != nil {
		return fmt.Errorf("make the connection: %w", err)
	}
	defer func() { _ = conn.Close() }() // fails where it was closed before, and nobody else does
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	s.end = cancel
	patience := time.AfterFunc(c.cfg.Welcome, func() { cancel(errNoWelcome) })
	defer patience.Stop()
	monitor := pb.NewMarketMonitorClient(conn)
	err = c.exchange(ctx, s, monitor, func() {
		if patience.Stop() {
			c.monitor.Store(&monitor)
		}
	})
	c.monitor.Store(nil)
	if why := context.Cause(ctx); why != nil {
		return why
	}
	return err
}

// exchange receives until the stream ends, and has a second task send.
func (c *Client) exchange(ctx context.Context, s *session, monitor pb.MarketMonitorClient, first func()) error {
	ctx, cancel := context.WithCancel(ctx)
	var sender sync.WaitGroup
	defer sender.Wait()
	defer cancel()
	stream, err := monitor.Watch(ctx, reading())
	if err != nil {
		return err
	}
	sender.Go(func() { c.send(ctx, s, stream) })
	if !c.tell(ctx, happening{session: s, opened: true}) {
		return context.Cause(ctx)
	}
	for {
		m := &message{}
		if err := stream.RecvMsg(m); err != nil {
			return err
		}
		first()
		if err := m.decode(); err != nil {
			return err
		}
		if !c.tell(ctx, happening{session: s, message: m}) {
			return context.Cause(ctx)
		}
	}
}

// send sends what the upstream goroutine wants sent. That Send fails means that
// the stream has ended, which Recv reports with the reason.
func (c *Client) send(ctx context.Context, s *session, stream grpc.BidiStreamingClient[pb.WatchRequest, pb.WatchResponse]) {
	for {
		select {
		case r := <-s.out:
			if stream.Send(r) != nil {
				return
			}
			c.metrics.requests.Inc()
			c.interest.signal() // there is room for the next
		case <-ctx.Done():
			return
		}
	}
}

// decode reads the parts of a message, and refuses what cannot be right.
func (m *message) decode() error {
	var err error
	switch k := m.GetKind().(type) {
	case *pb.WatchResponse_Welcome:
		if k.Welcome.GetPosition().GetEpoch() == 0 {
			err = errors.New("a welcome without an epoch")
		}
	case *pb.WatchResponse_Snapshots:
		if m.events, err = marketpb.FromEvents(k.Snapshots.GetEvents()); err == nil {
			m.topics, err = marketpb.FromTopics(k.Snapshots.GetTopics())
		}
	case *pb.WatchResponse_Batch:
		if !m.read {
			m.events, err = marketpb.FromEvents(k.Batch.GetEvents())
		}
	case *pb.WatchResponse_Gap:
		m.topics, err = marketpb.FromTopics(k.Gap.GetTopics())
		if r := k.Gap.GetReason(); err == nil && r != pb.Gap_REASON_EXPIRED && r != pb.Gap_REASON_EPOCH {
			err = fmt.Errorf("a gap of reason %s", r)
		}
	case *pb.WatchResponse_Feed:
		if s := k.Feed.GetState(); s < pb.FeedState_STATE_LIVE || s > pb.FeedState_STATE_DOWN {
			err = fmt.Errorf("a feed of state %s", s)
		}
	case *pb.WatchResponse_Added, *pb.WatchResponse_Progress:
	default:
		err = errors.New("a message of no kind that is known")
	}
	var last market.Seq
	for i := range m.events {
		if e := &m.events[i]; err == nil && (e.Seq == 0 || e.Seq < last) {
			err = fmt.Errorf("event %d is at %d, after one at %d: want ascending positions", i, e.Seq, last)
		}
		last = m.events[i].Seq
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	return nil
}

// reasonOf gives the metric's label for the end of a session.
func reasonOf(err error) string {
	for _, own := range []error{errSilent, errNoWelcome, errProtocol} {
		if errors.Is(err, own) {
			return own.Error()
		}
	}
	if errors.Is(err, io.EOF) {
		return "ended"
	}
	switch status.Code(err) {
	case codes.Unavailable:
		return "unavailable"
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange:
		return "refused"
	case codes.ResourceExhausted:
		return "limit"
	case codes.Unauthenticated, codes.PermissionDenied:
		return "denied"
	case codes.Unimplemented:
		return "not_a_monitor"
	default:
		return "error"
	}
}
