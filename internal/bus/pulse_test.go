package bus_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lzstock/lzstock/internal/bus"
	"github.com/lzstock/lzstock/market"
)

// testPulses: what sources say is heard by all who listen, also after an outage,
// and leaves nothing in the stream.
func testPulses(t *testing.T, b *twin) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(enough)
	heard := make([]chan bus.Pulse, 2)
	for i := range heard {
		c := make(chan bus.Pulse, 1000)
		heard[i] = c
		wg.Go(func() {
			if err := b.Pulses(ctx, func(p bus.Pulse) { c <- p }); !errors.Is(err, enough) {
				t.Errorf("listening ended with %v", err)
			}
		})
	}
	// Whoever begins to listen may miss some, so each is said until it is heard.
	say := func(p bus.Pulse) {
		t.Helper()
		for i, c := range heard {
			for attempt := 0; ; attempt++ {
				if attempt > 500 {
					t.Fatalf("listener %d does not hear %+v", i, p)
				}
				if err := b.Beat(t.Context(), p); err != nil && !errors.Is(err, bus.ErrLost) {
					t.Fatal(err)
				}
				got, ok := next(c, 20*time.Millisecond)
				for ok && got != p {
					got, ok = next(c, 0)
				}
				if ok {
					break
				}
			}
		}
	}
	for _, reason := range []market.FeedReason{0, market.FeedSilent, market.FeedClosed, market.FeedEnded, market.FeedLost} {
		say(bus.Pulse{Source: "sim-1", Sender: "A1", Reason: reason})
	}
	b.setDown(true)
	down := false
	for range 500 {
		if down = errors.Is(b.Beat(t.Context(), bus.Pulse{Source: "sim-1", Sender: "A1"}), bus.ErrLost); down {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if !down {
		t.Error("a lost bus takes pulses")
	}
	b.setDown(false)
	say(bus.Pulse{Source: "tape", Sender: "A2"})
	if _, last, err := b.Bounds(t.Context()); err != nil || last != 0 {
		t.Errorf("something was stored: last %d, error %v", last, err)
	}
	for _, bad := range []bus.Pulse{
		{Source: "a.b", Sender: "x"}, {Source: "a"}, {Source: "a", Sender: "x y"}, {Source: "a", Sender: "x", Reason: market.FeedBus},
	} {
		if err := b.Beat(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "want ") {
			t.Errorf("%+v: error %v", bad, err)
		}
	}
}

// next gives what comes within a time.
func next(c <-chan bus.Pulse, within time.Duration) (bus.Pulse, bool) {
	select {
	case p := <-c:
		return p, true
	default:
	}
	select {
	case p := <-c:
		return p, true
	case <-time.After(within):
		return bus.Pulse{}, false
	}
}
