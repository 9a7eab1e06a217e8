package bus_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lzstock/lzstock/internal/bus"
	"github.com/lzstock/lzstock/market"
)

// slowBus takes some time for each batch.
type slowBus struct {
	takes time.Duration
	limit int // greater batches are too large; 0 for none

	mu       sync.Mutex
	inFlight int
	most     int // in flight at once
	sizes    []int
	at       []time.Duration // since start
	start    time.Time
	ids      map[string]bool
	events   []market.Event
}

func (s *slowBus) Publish(ctx context.Context, b bus.Batch) (bus.Stored, error) {
	s.mu.Lock()
	s.inFlight++
	s.most = max(s.most, s.inFlight)
	at := time.Since(s.start)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.inFlight--
		s.mu.Unlock()
	}()
	if s.limit > 0 && len(b.Events) > s.limit {
		return bus.Stored{}, bus.ErrTooLarge
	}
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return bus.Stored{}, context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids[b.ID] {
		return bus.Stored{}, errors.New("an id came twice")
	}
	s.ids[b.ID] = true
	s.sizes = append(s.sizes, len(b.Events))
	s.at = append(s.at, at)
	s.events = append(s.events, b.Events...)
	return bus.Stored{}, nil
}

// settle lets some time of the bubble pass and all that happens in it.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// inBubble runs a batcher over a slow bus.
func inBubble(t *testing.T, takes time.Duration, cfg bus.BatcherConfig, do func(t *testing.T, b *bus.Batcher, s *slowBus)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &slowBus{takes: takes, start: time.Now(), ids: map[string]bool{}}
		b, err := bus.NewBatcher(s, "tape", cfg)
		must(t, err)
		var wg sync.WaitGroup
		var ran error
		wg.Go(func() { ran = b.Run(t.Context()) })
		do(t, b, s)
		must(t, b.Close(t.Context()))
		wg.Wait()
		must(t, ran)
		if s.most > 1 {
			t.Errorf("%d batches were in flight at once", s.most)
		}
		for i, e := range s.events {
			if e.Trade.ID != int64(i) {
				t.Fatalf("event %d is trade %d", i, e.Trade.ID)
			}
		}
	})
}

func TestBatcherSendsAtOnceWhenIdle(t *testing.T) {
	inBubble(t, 20*time.Microsecond, bus.BatcherConfig{}, func(t *testing.T, b *bus.Batcher, s *slowBus) {
		t.Helper()
		for i := range 3 {
			time.Sleep(10 * time.Millisecond)
			must(t, b.Add(t.Context(), trades(i, 1)...))
		}
		settle(10 * time.Millisecond)
		for i, at := range s.at {
			if want := time.Duration(i+1) * 10 * time.Millisecond; at != want {
				t.Errorf("event %d was sent at %s, want %s", i, at, want)
			}
		}
		if len(s.at) != 3 {
			t.Errorf("%d batches, want 3", len(s.at))
		}
	})
}

func TestBatcherGathersUnderLoad(t *testing.T) {
	inBubble(t, 20*time.Microsecond, bus.BatcherConfig{}, func(t *testing.T, b *bus.Batcher, s *slowBus) {
		t.Helper()
		const n = 1000 // one each 50 µs: 20 a millisecond
		for i := range n {
			must(t, b.Add(t.Context(), trades(i, 1)...))
			time.Sleep(50 * time.Microsecond)
		}
		settle(time.Millisecond)
		if len(s.events) != n {
			t.Errorf("%d events were sent one millisecond after the last of %d", len(s.events), n)
		}
		if len(s.sizes) > n/20+3 {
			t.Errorf("%d events took %d batches: want about one a millisecond", n, len(s.sizes))
		}
	})
}

func TestBatcherFillsBatches(t *testing.T) {
	inBubble(t, 10*time.Microsecond, bus.BatcherConfig{Buffer: 3000}, func(t *testing.T, b *bus.Batcher, s *slowBus) {
		t.Helper()
		must(t, b.Add(t.Context(), trades(0, 1)...))
		synctest.Wait()
		must(t, b.Add(t.Context(), trades(1, 2000)...))
		settle(200 * time.Microsecond) // full ones do not wait for the millisecond
		for i, size := range s.sizes[1:] {
			if size != market.BatchLimit {
				t.Errorf("batch %d has %d events, want %d", i+1, size, market.BatchLimit)
			}
		}
		if len(s.sizes) != 1+2000/market.BatchLimit {
			t.Errorf("%d batches, want %d", len(s.sizes), 1+2000/market.BatchLimit)
		}
	})
}

func TestBatcherHoldsItsCallerUp(t *testing.T) {
	var out bytes.Buffer
	cfg := bus.BatcherConfig{Buffer: 512, Logger: slog.New(slog.NewTextHandler(&out, nil))}
	inBubble(t, 3*time.Second, cfg, func(t *testing.T, b *bus.Batcher, s *slowBus) {
		t.Helper()
		start := time.Now()
		must(t, b.Add(t.Context(), trades(0, 2048)...))
		if waited := time.Since(start); waited < 12*time.Second {
			t.Errorf("2,048 events had room after %s, where 512 wait and 256 take 3 s", waited)
		}
		if stats := b.Stats(); stats.Blocked < 12*time.Second || stats.Pending > 512 {
			t.Errorf("stats %+v, want at least 12 s blocked and at most 512 pending", stats)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Add(ctx, trades(2048, 600)...); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Add: %v, want the end of its context", err)
		}
	})
	if n := strings.Count(out.String(), "the bus is slow"); n < 1 || n > 3 {
		t.Errorf("the log has %d lines about it, want 1 to 3:\n%s", n, out.String())
	}
}

func TestBatcherSplitsWhatIsTooLarge(t *testing.T) {
	inBubble(t, time.Microsecond, bus.BatcherConfig{}, func(t *testing.T, b *bus.Batcher, s *slowBus) {
		t.Helper()
		s.limit = 10
		must(t, b.Add(t.Context(), trades(0, 256)...))
		settle(time.Second)
		if len(s.events) != 256 {
			t.Errorf("%d events were stored, want 256", len(s.events))
		}
	})
}

func TestBatcherRepeatsAfterALostAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := bus.NewMemory(bus.MemoryConfig{})
		b, err := bus.NewBatcher(m, "tape", bus.BatcherConfig{})
		must(t, err)
		var wg sync.WaitGroup
		wg.Go(func() { must(t, b.Run(t.Context())) })
		m.LoseAcks(2)
		for i := range 4 {
			must(t, b.Add(t.Context(), trades(i, 1)...))
			time.Sleep(2 * time.Millisecond)
		}
		must(t, b.Close(t.Context()))
		wg.Wait()
		if stats := b.Stats(); stats.Duplicates != 2 || stats.Batches != 4 {
			t.Errorf("stats %+v, want 4 batches, 2 of them recognised", stats)
		}
		if _, last, err := m.Bounds(t.Context()); err != nil || last.Batch() != 4 {
			t.Errorf("the bus holds %d batches, %v: want 4", last.Batch(), err)
		}
	})
}

func TestBatcherEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := bus.NewMemory(bus.MemoryConfig{})
		m.SetDown(true)
		b, err := bus.NewBatcher(m, "tape", bus.BatcherConfig{})
		must(t, err)
		why := errors.New("stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		var wg sync.WaitGroup
		var ran error
		wg.Go(func() { ran = b.Run(ctx) })
		must(t, b.Add(ctx, trades(0, 7)...))
		closing, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if err := b.Close(closing); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v, want the end of its context", err)
		}
		cancel(why)
		wg.Wait()
		if !errors.Is(ran, why) || !strings.Contains(ran.Error(), "7 events were not published") {
			t.Errorf("Run: %v, want %v and what was not published", ran, why)
		}
		if err := b.Add(t.Context(), trades(7, 1)...); !errors.Is(err, bus.ErrClosed) || !errors.Is(err, why) {
			t.Errorf("Add after the end: %v, want ErrClosed and the reason", err)
		}
		must(t, m.Close())
	})
}

func TestBatcherConfig(t *testing.T) {
	m := bus.NewMemory(bus.MemoryConfig{})
	for _, c := range []struct {
		source string
		cfg    bus.BatcherConfig
	}{
		{"a b", bus.BatcherConfig{}},
		{"a", bus.BatcherConfig{MaxEvents: 257}},
		{"a", bus.BatcherConfig{MaxDelay: -1}},
		{"a", bus.BatcherConfig{Buffer: 10}},
	} {
		if _, err := bus.NewBatcher(m, c.source, c.cfg); err == nil {
			t.Errorf("source %q and %+v were taken", c.source, c.cfg)
		}
	}
}
