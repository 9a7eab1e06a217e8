package monitor_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lzstock/lzstock/internal/bus"
	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/monitor"
	"github.com/lzstock/lzstock/market"
)

// town is a monitor that hears sources.
type town struct {
	*fixture
	w     *watch
	start time.Time
	stops map[string]context.CancelFunc
}

func newTown(t *testing.T) *town {
	t.Helper()
	log := memory()
	f := begin(t, log, monitor.Config{Pulses: func(ctx context.Context, hear func(monitor.Pulse)) error {
		return log.Memory.Pulses(ctx, func(p bus.Pulse) { hear(monitor.Pulse{Source: p.Source, Sender: p.Sender, Reason: p.Reason}) })
	}}).live()
	w := f.watch()
	w.take()
	return &town{fixture: f, w: w, start: time.Now(), stops: map[string]context.CancelFunc{}}
}

// beat sends a source's pulses every second, until quiet.
func (c *town) beat(source, sender string, reason market.FeedReason) {
	c.quiet(sender)
	ctx, stop := context.WithCancel(c.t.Context())
	ended := make(chan struct{})
	c.w.wg.Go(func() {
		defer close(ended)
		for ctx.Err() == nil {
			_ = c.bus.Beat(ctx, bus.Pulse{Source: source, Sender: sender, Reason: reason}) // fails while the bus is down
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	})
	c.stops[sender] = func() { stop(); <-ended }
}

func (c *town) quiet(sender string) {
	if stop := c.stops[sender]; stop != nil {
		stop()
		delete(c.stops, sender)
	}
}

func (c *town) end() {
	for sender := range c.stops {
		c.quiet(sender)
	}
}

// say sends one pulse.
func (c *town) say(source, sender string, reason market.FeedReason) {
	c.t.Helper()
	if err := c.bus.Beat(c.t.Context(), bus.Pulse{Source: source, Sender: sender, Reason: reason}); err != nil {
		c.t.Fatal(err)
	}
}

func word[T fmt.Stringer](v T, prefix string) string {
	return strings.ToLower(strings.TrimPrefix(v.String(), prefix))
}

// told gives what the stream was told since the last call.
func (c *town) told() (out []string) {
	c.t.Helper()
	for _, m := range c.w.take() {
		f := m.GetFeed()
		if f == nil {
			continue
		}
		line := word(f.GetState(), "STATE_")
		if f.GetReason() != 0 {
			line += " (" + word(f.GetReason(), "REASON_") + ")"
		}
		words := []string{line}
		for _, s := range f.GetSources() {
			of := s.GetName() + " " + word(s.GetState(), "STATE_")
			if s.GetReason() != pb.FeedState_REASON_UNSPECIFIED {
				of += " (" + word(s.GetReason(), "REASON_") + ")"
			}
			words = append(words, of)
		}
		out = append(out, strings.Join(words, "; "))
	}
	return out
}

func (c *town) after(d time.Duration, want ...string) {
	c.t.Helper()
	time.Sleep(d)
	if diff := cmp.Diff(want, c.told()); diff != "" {
		c.t.Errorf("%v after the start (-want +got)\n%s", time.Since(c.start), diff)
	}
}

func TestSourceIsLostAndReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTown(t)
		defer c.end()
		c.beat("sim", "one", 0)
		c.after(0, "live; sim live")
		c.beat("tape", "two", 0)
		c.after(time.Minute, "live; sim live; tape live")
		c.quiet("one")
		c.after(2500 * time.Millisecond)
		c.after(time.Second, "stale (lost); sim stale (lost); tape live")
		if s := c.monitor.Status(); s.Feed.State != market.FeedStale {
			t.Errorf("status %+v", s)
		}
		c.after(8*time.Second, "stale (lost); sim down (lost); tape live")
		c.beat("sim", "three", 0)
		c.after(time.Minute, "live; sim live; tape live")

		// One that has died stands in nobody's way.
		c.beat("sim", "four", 0)
		c.quiet("three")
		c.after(time.Minute)

		c.quiet("four")
		c.quiet("two")
		time.Sleep(time.Minute)
		got := c.told()
		if last := got[len(got)-1]; last != "down (lost); sim down (lost); tape down (lost)" {
			t.Errorf("all are gone: %q", got)
		}
		c.beat("tape", "two", 0) // the same one can be heard again
		time.Sleep(time.Minute)
		got = c.told()
		if last := got[len(got)-1]; last != "stale (lost); sim down (lost); tape live" {
			t.Errorf("one is back: %q", got)
		}
		c.after(time.Hour, "live; tape live") // forgotten
	})
}

func TestSourcesOwnWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTown(t)
		defer c.end()
		c.beat("nyse", "one", 0)
		c.after(time.Second, "live; nyse live")
		c.beat("nyse", "one", market.FeedSilent)
		c.after(2*time.Minute, "stale (silent); nyse stale (silent)")
		c.beat("nyse", "one", market.FeedClosed)
		c.after(2*time.Minute, "live; nyse live (closed)")
		c.beat("nyse", "other", 0) // another one who sends it stands in
		c.after(time.Second, "live; nyse live")
		c.quiet("other")
		c.after(time.Minute, "live; nyse live (closed)")
		c.quiet("one")
		c.say("nyse", "one", market.FeedEnded)
		c.after(time.Minute, "live; nyse live (ended)")
		c.say("tool", "two", market.FeedLost) // a word is enough
		c.after(time.Second, "stale (lost); nyse live (ended); tool stale (lost)")
		// What has ended is not waited for.
		c.after(20*time.Second, "down (lost); nyse live (ended); tool down (lost)")
		c.after(time.Hour+time.Minute, "down (lost); tool down (lost)", "live")
	})
}

// TestLostBusIsNoLostSource: while the bus is lost nothing can be heard, and that
// is not held against sources.
func TestLostBusIsNoLostSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTown(t)
		defer c.end()
		c.beat("sim", "one", 0)
		c.after(time.Minute, "live; sim live")
		c.bus.SetDown(true)
		c.after(5*time.Second, "stale (bus); sim live")
		c.after(time.Minute, "down (bus); sim live")
		c.bus.SetDown(false)
		c.after(time.Minute, "live; sim live")
		c.bus.SetDown(true)
		c.after(time.Minute, "stale (bus); sim live", "down (bus); sim live")
		c.quiet("one") // dies meanwhile
		c.bus.SetDown(false)
		c.after(7*time.Second, "live; sim live", "stale (lost); sim stale (lost)")
	})
}

// TestLaggingMonitor: a monitor that reads less than the bus holds says so.
func TestLaggingMonitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memory()
		var slow atomic.Bool
		slow.Store(true)
		log.mangle = func(*monitor.Message) bool {
			if slow.Load() {
				time.Sleep(700 * time.Millisecond)
			}
			return true
		}
		f := begin(t, log, monitor.Config{}).live()
		c := &town{fixture: f, w: f.watch(), start: time.Now()}
		c.told()
		for i := range market.Price(50) {
			publish(t, f.bus, trade("A", time.Duration(i), i))
			time.Sleep(100 * time.Millisecond)
		}
		c.after(0, "stale (lagging)")
		slow.Store(false)
		c.after(5*time.Second, "live")
		for i := range market.Price(50) {
			publish(t, f.bus, trade("A", time.Duration(i), i))
			time.Sleep(100 * time.Millisecond)
		}
		c.after(5 * time.Second)
	})
}
