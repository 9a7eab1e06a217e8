package upstream_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/upstream"
	"github.com/lzstock/lzstock/market"
)

// GetBars answers one bar, or refuses a token.
func (m *monitor) GetBars(_ context.Context, req *pb.GetBarsRequest) (*pb.GetBarsResponse, error) {
	if req.GetPageToken() != "" {
		return nil, status.Error(codes.InvalidArgument, "bad token")
	}
	b := &pb.Bar{Open: req.GetStart(), Time: req.GetEnd()}
	return &pb.GetBarsResponse{Symbols: []*pb.SymbolBars{{Symbol: req.GetSymbols()[0], Bars: []*pb.Bar{b}}}, NextPageToken: "next"}, nil
}

// ListSymbols answers one symbol with a name.
func (m *monitor) ListSymbols(_ context.Context, req *pb.ListSymbolsRequest) (*pb.ListSymbolsResponse, error) {
	return &pb.ListSymbolsResponse{Symbols: []string{req.GetPrefix()}, Names: map[string]string{req.GetPrefix(): "a name"}}, nil
}

// GetSnapshots answers something that is no event.
func (m *monitor) GetSnapshots(context.Context, *pb.GetSnapshotsRequest) (*pb.GetSnapshotsResponse, error) {
	return &pb.GetSnapshotsResponse{Events: []*pb.Event{{Symbol: "A"}}}, nil
}

func query() *market.BarQuery {
	return &market.BarQuery{Symbols: []market.Symbol{"A"}, Timeframe: market.Day, Start: time.Unix(0, 7), End: time.Unix(1, 0), Limit: 10}
}

// TestCallsFollowTheStream has calls answered by another monitor within seconds after
// the one in use has gone silent.
func TestCallsFollowTheStream(t *testing.T) {
	inBubble(t, 2, func(w *world) {
		lost := established(w)
		page, err := w.client.Bars(w.t.Context(), query())
		if err != nil || page.Next != "next" || page.Symbols[0].Bars[0].Open != 7 || !page.Symbols[0].Bars[0].Time.Equal(time.Unix(1, 0)) {
			t.Fatalf("page %+v, error %v", page, err)
		}
		w.cut(lost)
		ctx, cancel := context.WithTimeout(w.t.Context(), 4*time.Second)
		defer cancel()
		if _, err := w.client.Bars(ctx, query()); err != nil {
			t.Errorf("while a monitor is silent: %v", err)
		}
		if w.inUse() == lost {
			t.Error("the monitor that is cut off has answered")
		}
		list, err := w.client.Listings(w.t.Context(), "AB", "", 10)
		if err != nil || len(list.Listings) != 1 || list.Listings[0] != (market.Listing{Symbol: "AB", Name: "a name"}) {
			t.Errorf("listings %+v, error %v", list, err)
		}
	})
}

// TestCallsEnd are calls that cannot be answered.
func TestCallsEnd(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		name := established(w)
		q := query()
		q.Token = "x"
		if _, err := w.client.Bars(w.t.Context(), q); !errors.Is(err, market.ErrPageToken) {
			t.Errorf("a bad token: %v", err)
		}
		if _, _, err := w.client.Values(w.t.Context(), []market.Topic{aapl}); err == nil {
			t.Error("what is no event is taken for one")
		}
		w.cut(name)
		ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Second)
		defer cancel()
		began := time.Now()
		if _, err := w.client.Bars(ctx, query()); err == nil || time.Since(began) != 2*time.Second {
			t.Errorf("without a monitor: error %v after %v", err, time.Since(began))
		}
	})
	c, err := upstream.New(upstream.Config{Monitors: []string{"a:1"}}, &recorder{}, nil, nil)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Listings(ctx, "", "", 1); err == nil {
		t.Error("a call whose context has ended is answered")
	}
}
