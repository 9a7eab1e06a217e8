package monitor

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/marketpb"
	"github.com/lzstock/lzstock/market"
)

// GetBars answers a page of bars of the past.
func (s *service) GetBars(_ context.Context, req *pb.GetBarsRequest) (*pb.GetBarsResponse, error) {
	e, err := s.engine()
	if err != nil {
		return nil, err
	}
	q := market.BarQuery{
		Timeframe: market.Timeframe(req.GetTimeframe()), Descending: req.GetDescending(),
		Token: req.GetPageToken(), Delay: time.Duration(req.GetDelay()),
	}
	switch n := len(req.GetSymbols()); {
	case n == 0:
		return nil, status.Error(codes.InvalidArgument, "no symbols: want at least one")
	case n > s.cfg.MaxTopics:
		return nil, status.Errorf(codes.ResourceExhausted, "%d symbols are too many: at most %d", n, s.cfg.MaxTopics)
	case q.Timeframe < market.Minute || q.Timeframe > market.Day:
		return nil, status.Errorf(codes.InvalidArgument, "timeframe %d is not known", req.GetTimeframe())
	case q.Delay < 0:
		return nil, status.Errorf(codes.InvalidArgument, "delay %s must not be negative", q.Delay)
	}
	for _, symbol := range req.GetSymbols() {
		if err := market.Symbol(symbol).Validate(); err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		q.Symbols = append(q.Symbols, market.Symbol(symbol))
	}
	if q.Limit, err = sizeOf("limit", req.GetLimit(), market.DefaultPage, market.MaxPage); err != nil {
		return nil, err
	}
	if req.Start != nil {
		q.Start = time.Unix(0, req.GetStart())
	}
	if req.End != nil {
		q.End = time.Unix(0, req.GetEnd())
	}
	page, err := e.keeper.store.Page(&q, time.Now())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return marketpb.BarPage(&page), nil
}

// previousDays gives the days before those that are among some values.
func (e *engine) previousDays(values []market.Event) (out []*pb.SymbolBars) {
	for i := range values {
		if v := &values[i]; v.Channel == market.DailyBars {
			if bar, ok := e.keeper.store.PreviousDay(v.Symbol, v.Bar.Time); ok {
				out = append(out, marketpb.SymbolBars(v.Symbol, []market.Bar{bar}))
			}
		}
	}
	return out
}
