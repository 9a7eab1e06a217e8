package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/marketpb"
	"github.com/lzstock/lzstock/market"
)

// Reasons of ours to end a stream, or not to begin one. Their texts are metric
// labels.
var (
	errUnresolved = errors.New("unresolved")
	errNotServing = errors.New("not_serving")
	errNoWelcome  = errors.New("no_welcome")
	errBehind     = errors.New("behind")
	errSilent     = errors.New("silent")
	errHole       = errors.New("hole")
	errMoved      = errors.New("rebalanced")
	errProtocol   = errors.New("protocol")
	errFirst      = fmt.Errorf("%w: the welcome must be the first message, and the only one", errProtocol)
)

// session is one attempt to watch one monitor, from dialling to the end.
type session struct {
	id       uint64
	monitor  string // its address
	target   target
	last     bool          // of its round: no other monitor is untried
	alone    bool          // there is no other monitor
	patience time.Duration // until it is welcomed
	started  time.Time
	end      context.CancelCauseFunc
	out      chan *pb.WatchRequest // what the sender sends next
	synced   atomic.Bool           // it has been of use
	next     string                // where to go next; empty: anywhere

	// Owned by the upstream goroutine.
	heard    time.Time // when the last message was handled
	welcomed bool
	since    bool                      // symbols that it tells of, and that we did not know, had nothing before at
	asked    bool                      // for all that is wanted
	begun    time.Time                 // when it was welcomed
	ahead    market.Seq                // how far some topics have come while initial is not answered
	feed     market.Feed               // the monitor's word; State 0 before it came
	queue    []*pb.WatchRequest        // to be sent first
	initial  map[uint64]struct{}       // requests to be answered before the session is synced
	adds     map[uint64][]market.Topic // what requests that are not answered add
	ended    bool
}

func newSession(m target, id uint64) *session {
	return &session{
		id: id, monitor: m.addr, target: m, started: time.Now(),
		out: make(chan *pb.WatchRequest, 1), initial: map[uint64]struct{}{}, adds: map[uint64][]market.Topic{},
	}
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
	read   bool // by the codec: events are its
	events []market.Event
	topics []market.Topic
	listed []market.Symbol
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
func (n *connector) watch(parent context.Context, s *session) error {
	conn, done, err := n.open(s.target)
	if err != nil {
		return fmt.Errorf("make the connection: %w", err)
	}
	defer done()
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	s.end = cancel
	patience := time.AfterFunc(s.patience, func() { cancel(errNoWelcome) })
	defer patience.Stop()
	if err = serving(ctx, conn); err == nil {
		monitor := pb.NewMarketMonitorClient(conn)
		err = n.exchange(ctx, s, monitor, func() {
			if patience.Stop() {
				n.monitor.Store(&monitor)
			}
		})
		n.monitor.Store(nil)
	}
	if why := context.Cause(ctx); why != nil {
		return why
	}
	return err
}

// exchange receives until the stream ends, and has other tasks send, and look for
// another monitor from time to time.
func (n *connector) exchange(ctx context.Context, s *session, monitor pb.MarketMonitorClient, first func()) error {
	ctx, cancel := context.WithCancel(ctx)
	var others sync.WaitGroup
	defer others.Wait()
	defer cancel()
	stream, err := monitor.Watch(metadata.AppendToOutgoingContext(ctx, marketpb.ListedKey, "1"), reading())
	if err != nil {
		return err
	}
	others.Go(func() { n.send(ctx, s, stream) })
	if !s.alone {
		others.Go(func() { n.rebalance(ctx, s) })
	}
	if !n.tell(ctx, happening{session: s, opened: true}) {
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
		if !n.tell(ctx, happening{session: s, message: m}) {
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
		} else {
			m.listed, err = marketpb.FromSymbols(k.Welcome.GetSymbols())
		}
	case *pb.WatchResponse_Listed:
		m.listed, err = marketpb.FromSymbols(k.Listed.GetSymbols())
	case *pb.WatchResponse_Snapshots:
		if !m.read {
			m.events, err = marketpb.FromEvents(k.Snapshots.GetEvents())
		}
		if err == nil {
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
		err = marketpb.CheckFeed(k.Feed)
	case *pb.WatchResponse_Added, *pb.WatchResponse_Progress, *pb.WatchResponse_Refused:
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
	for _, own := range []error{
		errUnresolved, errNotServing, errNoWelcome, errBehind, errSilent, errHole, errMoved, errProtocol,
	} {
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
