package monitor

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"runtime/debug"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/internal/marketpb"
	"github.com/lzstock/lzstock/market"
)

// Sizes of a page of symbols.
const (
	defaultPage = 1000
	maxPage     = 10000
)

// errStopping is why calls end when their server does.
var errStopping = status.Error(codes.Unavailable, "the service is stopping")

// service is the gRPC service of a Monitor.
type service struct {
	pb.UnimplementedMarketMonitorServer
	*Monitor
}

// engine gives what serves now.
func (s *service) engine() (*engine, error) {
	if e := s.current.Load(); e != nil {
		return e, nil
	}
	return nil, status.Error(codes.Unavailable, "the service is starting: it has not caught up with the feed yet")
}

// GetSnapshots answers the current values of some topics.
func (s *service) GetSnapshots(ctx context.Context, req *pb.GetSnapshotsRequest) (*pb.GetSnapshotsResponse, error) {
	e, err := s.engine()
	if err != nil {
		return nil, err
	}
	topics, err := s.topics(req.GetTopics())
	if err != nil {
		return nil, err
	}
	values, at, err := e.hub.Snapshot(ctx, topics)
	if err != nil {
		return nil, s.failure(ctx, err)
	}
	out := marketpb.Events(values)
	for _, m := range out {
		m.Prev, m.Merged = 0, 0
	}
	answer := &pb.GetSnapshotsResponse{
		Position: marketpb.Position(market.Position{Epoch: e.epoch, Seq: at}), Events: out,
	}
	if req.GetPreviousDays() {
		answer.PreviousDays = e.previousDays(values)
	}
	return answer, nil
}

// ListSymbols answers a page of symbols. A page token is the last symbol of the
// page before.
func (s *service) ListSymbols(_ context.Context, req *pb.ListSymbolsRequest) (*pb.ListSymbolsResponse, error) {
	e, err := s.engine()
	if err != nil {
		return nil, err
	}
	size, err := sizeOf("page_size", req.GetPageSize(), defaultPage, maxPage)
	if err != nil {
		return nil, err
	}
	after := market.Symbol(req.GetPageToken())
	if after != "" && after.Validate() != nil {
		return nil, status.Error(codes.InvalidArgument, "page_token: want the one that came with the page before")
	}
	symbols, more := e.symbols.page(req.GetPrefix(), after, size)
	out := &pb.ListSymbolsResponse{Symbols: symbols, Names: map[string]string{}}
	if more {
		out.NextPageToken = symbols[len(symbols)-1]
	}
	for _, s := range symbols {
		if name := e.symbols.names[market.Symbol(s)]; name != "" {
			out.Names[s] = name
		}
	}
	return out, nil
}

// sizeOf reads how much a caller wants at the most; 0 means the usual.
func sizeOf(name string, size int32, usual, most int) (int, error) {
	switch n := int(size); {
	case n < 0 || n > most:
		return 0, status.Errorf(codes.InvalidArgument, "%s %d: want 1 to %d, or 0 for %d", name, n, most, usual)
	case n == 0:
		return usual, nil
	default:
		return n, nil
	}
}

// topics reads the topics of a call that needs some.
func (s *service) topics(list []*pb.Topics) ([]market.Topic, error) {
	topics, err := topicsOf(list)
	switch {
	case err != nil:
		return nil, err
	case len(topics) == 0:
		return nil, status.Error(codes.InvalidArgument, "no topics: want at least one channel and symbol")
	case len(topics) > s.cfg.MaxTopics:
		return nil, status.Errorf(codes.ResourceExhausted, "%d topics are too many: at most %d", len(topics), s.cfg.MaxTopics)
	}
	return topics, nil
}

func topicsOf(list []*pb.Topics) ([]market.Topic, error) {
	topics, err := marketpb.FromTopics(list)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return topics, nil
}

// failure gives the status that says why a call ended: err, or what ended ctx
// where err only echoes that.
func (s *service) failure(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if why := context.Cause(ctx); why != nil && !errors.Is(why, context.Canceled) {
		err = why
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	if p, ok := errors.AsType[*hub.PanicError](err); ok {
		return s.internal(ctx, p.Value, p.Stack)
	}
	switch {
	case errors.Is(err, mailbox.ErrOverflow):
		return status.Errorf(codes.ResourceExhausted, "the caller reads too slowly: more events wait than its queue of at most %d holds", s.cfg.Queue)
	case errors.Is(err, hub.ErrClosed):
		return status.Error(codes.Unavailable, "the service is stopping or starts over")
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, "the call was cancelled")
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, "the call took longer than its caller allows")
	}
	return s.internal(ctx, err, nil)
}

// internal logs what nobody foresaw, and gives the error that the caller sees:
// an id that leads to the log, and nothing else.
func (m *Monitor) internal(ctx context.Context, what any, stack []byte) error {
	id := rand.Text()
	m.logger.LogAttrs(ctx, slog.LevelError, "internal error", slog.String("id", id),
		slog.Any("error", what), slog.String("stack", string(stack)))
	return status.Errorf(codes.Internal, "internal error %s", id)
}

// guard runs f and makes its panic the end of the call.
func (m *Monitor) guard(ctx context.Context, end context.CancelCauseFunc, f func()) {
	defer func() {
		if r := recover(); r != nil {
			end(m.internal(ctx, r, debug.Stack()))
		}
	}()
	f()
}
