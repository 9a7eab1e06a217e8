package ingest_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/ingest"
	"github.com/lzstock/lzstock/internal/memnet"
	"github.com/lzstock/lzstock/market"
)

// feed is what the feed has carried.
type feed struct {
	mu   sync.Mutex
	seen map[market.Symbol]bool
}

func (f *feed) known(s market.Symbol) (known bool, all int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen[s], len(f.seen)
}

func (f *feed) carry(symbols ...market.Symbol) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range symbols {
		f.seen[s] = true
	}
}

// TestNewSymbolsAreBounded: of the feed 5, of a publisher 3. What is known always
// passes, and takes no other event with it.
func TestNewSymbolsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := &store{}, &feed{seen: map[market.Symbol]bool{"OLD": true}}
		var log bytes.Buffer
		srv := &server{t: t, lis: memnet.Listen(), metrics: prometheus.NewRegistry(), grpc: grpc.NewServer(grpc.WaitForHandlers(true))}
		var err error
		srv.service, err = ingest.New(ingest.Config{
			Store: s, Registry: srv.metrics, Known: f.known, Symbols: 5, PublisherSymbols: 3, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		srv.service.Register(srv.grpc)
		srv.serving.Go(func() { _ = srv.grpc.Serve(srv.lis) })
		defer srv.stop()
		number := uint64(0)
		// publish sends a trade of each symbol, and returns why some were refused.
		publish := func(st stream, publisher string, symbols ...string) string {
			t.Helper()
			number++
			req := &pb.PublishRequest{Publisher: publisher, Number: number}
			for _, symbol := range symbols {
				e := trade(1)
				e.Symbol = symbol
				req.Events = append(req.Events, e)
			}
			send(t, st, req)
			var refused strings.Builder
			for _, r := range receive(t, st).GetRefused() {
				refused.WriteString(symbols[r.GetIndex()] + ": " + r.GetReason() + "\n")
			}
			return refused.String()
		}
		want := func(what, got string, parts ...string) {
			t.Helper()
			if len(parts) == 0 && got != "" {
				t.Errorf("%s: %s", what, got)
			}
			for _, p := range parts {
				if !strings.Contains(got, p) {
					t.Errorf("%s: no %q in %q", what, p, got)
				}
			}
		}
		one, hangUp := srv.dial()
		defer hangUp()
		two, hangUpTwo := srv.dial()
		defer hangUpTwo()
		want("three new ones", publish(one, "one", "OLD", "A", "B", "C", "A"))
		want("a fourth", publish(one, "one", "A", "D", "OLD", "E"), "D: symbol D is new, and publisher one has brought as many new ones as it may, 3", "E: ", "--publisher-symbols")
		want("another publisher", publish(two, "two", "A", "D"))
		want("beyond the feed's", publish(two, "two", "E", "D"), "E: symbol E is new, and the feed has as many as it may, 5", "--symbols-most")
		f.carry("A", "B", "C", "D")
		time.Sleep(time.Second)
		want("known by now", publish(one, "one", "A", "B", "C", "D", "OLD"))
		want("still full", publish(two, "two", "E"), "--symbols-most")
		if n := srv.metric("lzstock_ingest_new_symbol_refusals_total"); n != 4 {
			t.Errorf("%v refusals are counted, want 4", n)
		}
		if n := strings.Count(log.String(), "new symbols are refused"); n != 2 {
			t.Errorf("%d lines, want one a stream: %s", n, &log)
		}
	})
}

// TestSymbolsOfWhatWasNotStored take no room for ever.
func TestSymbolsOfWhatWasNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := &store{}, &feed{seen: map[market.Symbol]bool{}}
		srv := &server{t: t, lis: memnet.Listen(), metrics: prometheus.NewRegistry(), grpc: grpc.NewServer(grpc.WaitForHandlers(true))}
		var err error
		if srv.service, err = ingest.New(ingest.Config{Store: s, Known: f.known, Symbols: 1, PublisherSymbols: 9}); err != nil {
			t.Fatal(err)
		}
		srv.service.Register(srv.grpc)
		srv.serving.Go(func() { _ = srv.grpc.Serve(srv.lis) })
		defer srv.stop()
		st, hangUp := srv.dial()
		defer hangUp()
		for i, c := range []struct {
			symbol  string
			refused int
		}{{"LOST", 0}, {"NEW", 1}, {"NEW", 0}} {
			if i == 2 {
				time.Sleep(2 * time.Minute)
			}
			e := trade(1)
			e.Symbol = c.symbol
			send(t, st, &pb.PublishRequest{Publisher: "p", Number: uint64(i + 1), Events: []*pb.Event{e}})
			if got := receive(t, st); len(got.GetRefused()) != c.refused {
				t.Errorf("%d, %s: refused %v", i, c.symbol, got.GetRefused())
			}
		}
	})
}
