package upstream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/marketpb"
	"github.com/lzstock/lzstock/market"
)

const (
	callsAtOnce = 64                      // calls that go on at the same time
	leastRetry  = 50 * time.Millisecond   // the least limit of the time between two attempts
	callTime    = 1500 * time.Millisecond // that a monitor may take for one before it is asked again, or another is
)

// errand is a kind of calls.
type errand struct {
	slots  chan struct{} // as many of them go on at the same time
	within time.Duration // that a monitor may take before it is asked again, or another is; 0: any
	final  []codes.Code  // that asking again would not change
}

// refusals are the codes of what no monitor will do, and more.
func refusals(more codes.Code) []codes.Code {
	return []codes.Code{codes.InvalidArgument, codes.ResourceExhausted, codes.Unimplemented, codes.PermissionDenied, more}
}

// run asks the monitor in use, and another one where the stream has moved to it,
// until one answers or ctx ends. What asking again would not change is returned at
// once. For any goroutine.
func run[R any](ctx context.Context, c *Client, e errand, ask func(context.Context, pb.MarketMonitorClient) (R, error)) (answer R, err error) {
	select {
	case e.slots <- struct{}{}:
		defer func() { <-e.slots }()
	case <-ctx.Done():
		return answer, context.Cause(ctx)
	}
	err = errNoMonitor
	for limit := leastRetry; ; limit = min(2*limit, time.Second) {
		if monitor := c.monitor.Load(); monitor != nil {
			bound, cancel := ctx, context.CancelFunc(func() {})
			if e.within > 0 {
				bound, cancel = context.WithTimeout(ctx, e.within)
			}
			answer, err = ask(bound, *monitor)
			cancel()
			if err == nil || slices.Contains(e.final, status.Code(err)) {
				return answer, err
			}
		}
		wait := time.NewTimer(rand.N(limit) + time.Millisecond)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return answer, err
		}
	}
}

var errNoMonitor = errors.New("there is no monitor")

// call is for what clients ask for over REST, who do not wait long.
func call[R any](ctx context.Context, c *Client, what string, ask func(context.Context, pb.MarketMonitorClient) (R, error)) (answer R, err error) {
	if answer, err = run(ctx, c, errand{slots: c.calls, within: callTime, final: refusals(codes.Internal)}, ask); err != nil {
		return answer, fmt.Errorf("%s: %w", what, err)
	}
	return answer, nil
}

// Bars gives a page of bars of the past. The error is market.ErrPageToken where the
// query's token is none.
func (c *Client) Bars(ctx context.Context, q *market.BarQuery) (market.BarPage, error) {
	r, err := call(ctx, c, "ask for bars", func(ctx context.Context, m pb.MarketMonitorClient) (*pb.GetBarsResponse, error) {
		return m.GetBars(ctx, marketpb.BarQuery(q))
	})
	if err != nil {
		return market.BarPage{}, ofToken(q.Token, err)
	}
	page, err := marketpb.FromBarPage(r)
	if err != nil {
		return market.BarPage{}, fmt.Errorf("%w: a page of bars: %w", errProtocol, err)
	}
	return page, nil
}

// ofToken blames the token of a page, if there was one, for a bad request.
func ofToken(token string, err error) error {
	if token != "" && status.Code(err) == codes.InvalidArgument {
		return fmt.Errorf("%w: %w", market.ErrPageToken, err)
	}
	return err
}

// Values gives the current values of topics, all at one moment of the feed, and the
// day before of each symbol whose day bar is among them.
func (c *Client) Values(ctx context.Context, topics []market.Topic) ([]market.Event, map[market.Symbol]market.Bar, error) {
	r, err := call(ctx, c, "ask for current values", func(ctx context.Context, m pb.MarketMonitorClient) (*pb.GetSnapshotsResponse, error) {
		return m.GetSnapshots(ctx, &pb.GetSnapshotsRequest{Topics: marketpb.Topics(topics), PreviousDays: true})
	})
	if err != nil {
		return nil, nil, err
	}
	values, err := marketpb.FromEvents(r.GetEvents())
	if err != nil {
		return nil, nil, fmt.Errorf("%w: current values: %w", errProtocol, err)
	}
	days := map[market.Symbol]market.Bar{}
	for _, m := range r.GetPreviousDays() {
		day, err := marketpb.FromSymbolBars(m)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: previous days: %w", errProtocol, err)
		}
		if len(day.Bars) > 0 {
			days[day.Symbol] = day.Bars[0]
		}
	}
	return values, days, nil
}

// Listings gives a page of the symbols that the feed has carried, of those that
// begin with prefix or whose name has a word that does.
func (c *Client) Listings(ctx context.Context, prefix, token string, limit int) (market.ListingPage, error) {
	r, err := call(ctx, c, "ask for symbols", func(ctx context.Context, m pb.MarketMonitorClient) (*pb.ListSymbolsResponse, error) {
		return m.ListSymbols(ctx, &pb.ListSymbolsRequest{Prefix: prefix, PageToken: token, PageSize: int32(limit)})
	})
	if err != nil {
		return market.ListingPage{}, ofToken(token, err)
	}
	page := market.ListingPage{Next: r.GetNextPageToken()}
	for _, s := range r.GetSymbols() {
		page.Listings = append(page.Listings, market.Listing{Symbol: market.Symbol(s), Name: r.GetNames()[s]})
	}
	return page, nil
}
