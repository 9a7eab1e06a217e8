package main

import (
	"bytes"
	"context"
	"io"
	"iter"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lzstock/lzstock/internal/bus"
	"github.com/lzstock/lzstock/internal/monitor"
	"github.com/lzstock/lzstock/market"
)

// log is a bus as a monitor reads it.
type log struct{ *bus.Memory }

func (l log) Read(ctx context.Context, after market.Seq) iter.Seq2[monitor.Message, error] {
	return func(yield func(monitor.Message, error) bool) {
		for m, err := range l.Memory.Read(ctx, after) {
			if !yield(monitor.Message{Batch: m.Batch, Epoch: m.Epoch, Source: m.Source, Events: m.Events}, err) {
				return
			}
		}
	}
}

// start runs a monitor over a bus and gives its address.
func start(t *testing.T, b *bus.Memory) string {
	t.Helper()
	m, err := monitor.New(log{b}, monitor.Config{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = m.Run(ctx) })
	wg.Go(func() {
		if err := monitor.NewServer(m, monitor.ServerConfig{}).Serve(ctx, l); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !m.Status().Serving {
		<-tick.C
	}
	return l.Addr().String()
}

func TestPrintsPrices(t *testing.T) {
	b := bus.NewMemory(bus.MemoryConfig{})
	at := time.Date(2024, 8, 8, 14, 30, 0, 0, time.UTC)
	events := []market.Event{
		{Channel: market.Trades, Symbol: "AAPL", Trade: &market.Trade{Price: 189_100_000_000, Size: 3 * market.Scale, Time: at}},
		{Channel: market.Quotes, Symbol: "AAPL", Quote: &market.Quote{BidPrice: 189 * market.Scale, AskPrice: 190 * market.Scale, Time: at}},
		{Channel: market.Statuses, Symbol: "AAPL", Status: &market.Status{Code: "H", Message: "Trading Halt", Time: at}},
		{Channel: market.Trades, Symbol: "MSFT", Trade: &market.Trade{Price: market.Scale, Size: market.Scale, Time: at}},
	}
	if _, err := b.Publish(t.Context(), bus.Batch{Source: "test", Events: events}); err != nil {
		t.Fatal(err)
	}
	address := start(t, b)
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--grpc", address, "--count", "3", "AAPL"}, &out); err != nil {
		t.Fatal(err)
	}
	want := "14:30:00.000 AAPL       trade 189.1 × 3\n14:30:00.000 AAPL       quote 189 / 190\n" +
		"14:30:00.000 AAPL       status H: Trading Halt\n"
	if out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
}

func TestEndsWhenInterrupted(t *testing.T) {
	b := bus.NewMemory(bus.MemoryConfig{})
	ctx, interrupt := context.WithCancel(t.Context())
	events := []market.Event{{Channel: market.Trades, Symbol: "A", Trade: &market.Trade{Time: time.Unix(1, 0)}}}
	if _, err := b.Publish(ctx, bus.Batch{Source: "test", Events: events}); err != nil {
		t.Fatal(err)
	}
	printed := writer(func(p []byte) { interrupt() }) // after the first line
	if err := run(ctx, []string{"--grpc", start(t, b)}, printed); err != nil {
		t.Errorf("interrupted: %v", err)
	}
}

func TestSaysWhatIsWrong(t *testing.T) {
	address := start(t, bus.NewMemory(bus.MemoryConfig{}))
	if err := run(t.Context(), []string{"--grpc", address, "not a symbol"}, io.Discard); err == nil || !strings.Contains(err.Error(), "InvalidArgument") {
		t.Errorf("a bad symbol: %v", err)
	}
	if err := run(t.Context(), []string{"--grpc", "127.0.0.1:1"}, io.Discard); err == nil || !strings.Contains(err.Error(), "Unavailable") {
		t.Errorf("nobody there: %v", err)
	}
}

type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }
