package fault

import (
	"testing"
	"time"

	"github.com/lzstock/lzstock/e2e/proc"
)

// TestMonitorFails has the monitor that all gateways listen to die, hang, and lose its
// network: clients are told within a second, the other monitor takes over within two
// more, and nobody misses or gets twice what they were promised.
func TestMonitorFails(t *testing.T) {
	seed := seeded(t)
	s := build(t, seed, layout{monitors: 2, gateways: 2, linked: true})
	s.play()
	f := newFleet(t, seed, s.addrs(), plan{clients: *clients, symbols: simSymbols(t), each: 3, wild: 20}).start(time.Second)
	f.await("a live feed", func(c *client) bool { return len(c.feeds) > 0 && c.feeds[len(c.feeds)-1].state == "live" })
	for _, fault := range []struct {
		name string
		hit  func(n *node) time.Time
		heal func(n *node)
	}{
		{"killed", (*node).kill, func(n *node) { n.start() }},
		{"stopped", (*node).stop, (*node).cont},
		{"cut off", (*node).isolate, (*node).rejoin},
	} {
		n, streams := s.serving()
		before := s.reconnects()
		f.calm()
		at := fault.hit(n)
		proc.Eventually(t, "another monitor for those that listened to "+n.spec.Name, func() bool { return s.reconnects() >= before+streams })
		f.await("a live feed after monitor "+fault.name, func(c *client) bool { return c.feeds[len(c.feeds)-1].state == "live" })
		moved := time.Since(at)
		// Where another monitor takes over before the feed is stale, nobody is told.
		stale, _ := f.told(at, "stale")
		if len(stale) > 0 {
			promised(t, "monitor "+fault.name+": told stale after", stale, time.Second)
		}
		live, _ := f.told(at, "stale", "live")
		if len(live) < len(stale) {
			t.Errorf("%d of %d clients that were told stale were not told live", len(stale)-len(live), len(stale))
		}
		promised(t, "monitor "+fault.name+": live after", live, 3*time.Second)
		promised(t, "monitor "+fault.name+": longest time without any event", spread{f.longest()}, map[bool]time.Duration{true: 3 * time.Second, false: time.Second}[len(stale) > 0])
		t.Logf("all gateways had another monitor %s after the fault", round(moved))
		if *full && fault.name != "killed" {
			time.Sleep(20 * time.Second)
		}
		fault.heal(n)
		n.proc.WaitReady()
	}
	s.silence()
	f.balance(readTruth(t, s.nats))
	if gaps := f.sum(func(c *client) int { return c.book.gaps }); gaps > 0 {
		t.Errorf("%d gaps were announced, though the bus held all", gaps)
	}
}

// words gives what was told of the feed since a moment.
func (c *client) words(from time.Time) []feedWord {
	for i, w := range c.feeds {
		if !w.at.Before(from) {
			return c.feeds[i:]
		}
	}
	return nil
}

// serving gives the monitor that most gateways listen to, and how many do.
func (s *system) serving() (n *node, streams float64) {
	s.t.Helper()
	for _, m := range s.monitors {
		if has := m.proc.Metric(`lzstock_monitor_streams{method="Watch"}`); has > streams {
			n, streams = m, has
		}
	}
	if n == nil {
		s.t.Fatal("no monitor serves a gateway")
	}
	return n, streams
}

// reconnects counts the gateways' lost streams.
func (s *system) reconnects() (n float64) {
	for _, g := range s.gateways {
		n += g.proc.Metric("lzstock_upstream_reconnects_total")
	}
	return n
}
