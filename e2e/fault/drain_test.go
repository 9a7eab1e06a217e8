package fault

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRollingDrain renews all gateways, one after the other, as a release does: no
// client loses anything or its socket before it has another, and they come to the
// others evenly.
func TestRollingDrain(t *testing.T) {
	seed := seeded(t)
	window := 3 * time.Second
	if *full {
		window = 30 * time.Second
	}
	s := build(t, seed, layout{monitors: 1, gateways: 3, gatewayArgs: []string{"--drain-window", window.String(), "--drain-grace", "200ms"}})
	s.play()
	f := newFleet(t, seed, s.addrs(), plan{clients: *clients, symbols: simSymbols(t), each: 3, wild: 20}).start(time.Second)
	for _, g := range s.gateways {
		held := f.counting(func(c *client) bool { return c.current.addr == g.addr })
		from := time.Now()
		out, err := exec.CommandContext(t.Context(), binary, "drain", "--admin", strings.TrimPrefix(g.proc.Admin, "http://"), "--stop").CombinedOutput()
		if err != nil {
			t.Fatalf("lzstock drain: %v\n%s", err, out)
		}
		<-g.proc.Done
		if code := g.proc.Cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("%s ended with %d", g.spec.Name, code)
		}
		f.await("a socket elsewhere", func(c *client) bool { return c.current != nil && c.current.addr != g.addr })
		t.Logf("fault: %s held %d clients and was drained in %s", g.spec.Name, held, round(time.Since(from)))
		f.even(t, from)
		g.start().proc.WaitReady()
	}
	s.silence()
	f.balance(readTruth(t, s.nats))
	for what, n := range map[string]int{
		"gaps announced":                    f.sum(func(c *client) int { return c.book.gaps }),
		"sockets that ended without a word": f.sum(func(c *client) int { return c.closes[1006] + c.closes[1001] }),
		"clients without a socket":          f.sum(func(c *client) int { return c.alone }),
	} {
		if n != 0 {
			t.Errorf("%d %s: want none", n, what)
		}
	}
	if f.sum(func(c *client) int { return c.notices }) < len(f.clients) {
		t.Error("not all clients were told to move")
	}
}

// even shows when clients came since a moment, and fails the test where they came more
// than twice as fast, for a while, as on average.
func (f *fleet) even(t *testing.T, from time.Time) {
	t.Helper()
	var times spread
	for _, c := range f.clients {
		c.mu.Lock()
		for _, d := range c.dials {
			if d.After(from) {
				times = append(times, d.Sub(from))
			}
		}
		c.mu.Unlock()
	}
	if len(times) < 10 {
		t.Errorf("only %d clients moved", len(times))
		return
	}
	times.sorted()
	// Buckets of some 20 clients: in smaller ones chance alone makes such peaks.
	buckets := make([]int, min(20, max(4, len(times)/20)))
	first := times[0]
	width := (times.at(1)-first)/time.Duration(len(buckets)) + 1
	for _, d := range times {
		buckets[(d-first)/width]++
	}
	mean := float64(len(times)) / float64(len(buckets))
	peak := slices.Max(buckets)
	var bars strings.Builder
	for i, n := range buckets {
		fmt.Fprintf(&bars, "\n    %6s %4d %s", round(first+time.Duration(i)*width), n, strings.Repeat("#", n*40/peak))
	}
	t.Logf("%d clients came within %s, at most %.2f times as fast as on average:%s", len(times), round(times.at(1)-first), float64(peak)/mean, &bars)
	if float64(peak) > 2*mean*(*slack) {
		t.Errorf("at the peak %d clients came at once, %.1f do on average: want less than twice that", peak, mean)
	}
}
