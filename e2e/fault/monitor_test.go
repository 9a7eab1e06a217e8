package fault

import (
	"testing"
	"time"
)

// TestMonitorFails has the monitor that all gateways listen to die, hang, and lose its
// network: clients are told within a second, the other monitor takes over within two
// more, and nobody misses or gets twice what they were promised.
func TestMonitorFails(t *testing.T) {
	seed := seeded(t)
	s := build(t, seed, layout{monitors: 2, gateways: 2, linked: true})
	s.play(30)
	f := newFleet(t, seed, s.addrs(), plan{clients: *clients, symbols: simSymbols(t, 30), each: 3, wild: 20}).start(time.Second)
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
		n := s.serving()
		before := s.reconnects()
		at := fault.hit(n)
		f.within(patience, "a feed that lives again after monitor "+fault.name, func(c *client) bool {
			words := c.words(at)
			return len(words) > 1 && words[len(words)-1].state == "live"
		})
		stale, missing := f.told(at, "stale")
		promised(t, "monitor "+fault.name+": told stale after", stale, missing, time.Second)
		live, missing := f.told(at, "stale", "live")
		promised(t, "monitor "+fault.name+": live after", live, missing, 3*time.Second)
		if now := s.reconnects(); now == before {
			t.Errorf("monitor %s: no gateway counted a lost stream", fault.name)
		}
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

// serving gives the monitor that serves the first gateway.
func (s *system) serving() *node {
	s.t.Helper()
	for _, m := range s.monitors {
		if m.proc.Metric("lzstock_monitor_streams") > 0 {
			return m
		}
	}
	s.t.Fatal("no monitor serves a gateway")
	return nil
}

// reconnects counts the gateways' lost streams.
func (s *system) reconnects() (n float64) {
	for _, g := range s.gateways {
		n += g.proc.Metric("lzstock_upstream_reconnects_total")
	}
	return n
}
