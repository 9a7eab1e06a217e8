package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/lzstock/lzstock/internal/ingest"
	"github.com/lzstock/lzstock/internal/leak"
	"github.com/lzstock/lzstock/market"
)

func TestMain(m *testing.M) { leak.Main(m) }

// store remembers what was published.
type store struct {
	mu     sync.Mutex
	events []market.Event
	added  func(n int)
}

func (s *store) Epoch() market.Epoch { return 1 }

func (s *store) Publish(_ context.Context, _, _ string, events []market.Event) (first, last market.Seq, duplicate bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, events...)
	n := len(s.events)
	s.added(n)
	return market.MakeSeq(uint64(n), 0), market.MakeSeq(uint64(n), len(events)-1), false, nil
}

// serve gives the address of an Ingest service over s.
func serve(t *testing.T, s *store) string {
	t.Helper()
	if s.added == nil {
		s.added = func(int) {}
	}
	service, err := ingest.New(ingest.Config{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.WaitForHandlers(true))
	service.Register(server)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(lis); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		server.Stop()
		service.Wait()
		serving.Wait()
	})
	return lis.Addr().String()
}

func TestMadeUpTrades(t *testing.T) {
	s := &store{}
	var out bytes.Buffer
	err := run(t.Context(), []string{"--grpc", serve(t, s), "--count", "5", "--every", "1ms"}, &out)
	if err != nil || out.String() != "5 events stored\n" {
		t.Errorf("%v, %q", err, &out)
	}
	for _, e := range s.events {
		if e.Symbol != "DEMO" || e.Trade.Price < 99*market.Scale || e.Trade.Price > 101*market.Scale || e.Trade.Size <= 0 {
			t.Errorf("%+v", e.Trade)
		}
	}
}

func TestRefusalsAreShown(t *testing.T) {
	s := &store{}
	var out bytes.Buffer
	err := run(t.Context(), []string{"--grpc", serve(t, s), "--count", "1", "--every", "1ms", "--symbol", "A!"}, &out)
	if err != nil || !strings.Contains(out.String(), "refused: bad symbol") || !strings.Contains(out.String(), "0 events stored") {
		t.Errorf("%v, %q", err, &out)
	}
}

func TestARefusedStreamIsAnError(t *testing.T) {
	err := run(t.Context(), []string{"--grpc", serve(t, &store{}), "--every", "1ms", "--name", "a b"}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "publisher is") {
		t.Errorf("got %v", err)
	}
}

func TestAnInterruptEndsIt(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := &store{added: func(n int) {
		if n == 3 {
			cancel()
		}
	}}
	var out bytes.Buffer
	if err := run(ctx, []string{"--grpc", serve(t, s), "--every", "1ms"}, &out); err != nil || ctx.Err() != context.Canceled {
		t.Errorf("ended with %v, %v", err, ctx.Err())
	}
}
