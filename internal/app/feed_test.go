package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lzstock/lzstock/internal/bus"
	"github.com/lzstock/lzstock/internal/feed"
	"github.com/lzstock/lzstock/internal/obs"
	"github.com/lzstock/lzstock/market"
)

// slowBus stores a batch only after a while.
type slowBus struct {
	*bus.Memory
	takes time.Duration
}

func (s slowBus) Publish(ctx context.Context, b bus.Batch) (bus.Stored, error) {
	time.Sleep(s.takes)
	return s.Memory.Publish(ctx, b)
}

// TestStoppedFeedStoresWhatItHasRead stops a feed in the middle of its source, over
// a bus that is behind: what was read is on the bus when it has ended, whole and in
// order.
func TestStoppedFeedStoresWhatItHasRead(t *testing.T) {
	const lines = 1010
	synctest.Test(t, func(t *testing.T) {
		b, err := newBuilder(Process{Logger: slog.New(slog.DiscardHandler), Build: obs.Build{}, Out: io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		m := bus.NewMemory(bus.MemoryConfig{})
		batcher, err := bus.NewBatcher(slowBus{m, time.Millisecond}, "tape", bus.BatcherConfig{})
		if err != nil {
			t.Fatal(err)
		}
		in, out := io.Pipe()
		f, err := feed.New(feed.Config{Source: feed.Source{Tape: &feed.Tape{File: "-", Speed: feed.MaxSpeed}}, Publisher: batcher, Stdin: in, Logger: b.Logger})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			w := bufio.NewWriter(out)
			_, err := fmt.Fprintln(w, "ts_ns,symbol,type,price,size,bid,bid_size,ask,ask_size")
			for i := 0; i < lines && err == nil; i++ {
				_, err = fmt.Fprintf(w, "%d,AAPL,trade,%d,100,,,,\n", 1_571_664_600_000_000_000+i, i+1)
			}
			if err := errors.Join(err, w.Flush()); err != nil {
				t.Error(err)
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		wg.Go(func() { ended <- b.play(ctx, f, batcher, false) })
		synctest.Wait() // it has read all that there is, and not yet given on the last ones
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("err = %v", err)
		}
		_ = in.Close()
		stored := market.Price(0)
		reading, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		for msg, err := range m.Read(reading, 0) {
			if err != nil {
				t.Fatalf("%d events were stored: %v", stored, err)
			}
			for _, e := range msg.Events {
				if stored++; e.Trade.Price != stored*market.Scale {
					t.Fatalf("event %d has the price %s", stored, e.Trade.Price)
				}
			}
			if stored == lines {
				break
			}
		}
		if n := f.Stats().Events(); n != lines {
			t.Errorf("%d events were given on, want %d", n, lines)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
}
