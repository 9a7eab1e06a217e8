package fault

import (
	"testing"
	"time"

	"github.com/lzstock/lzstock/e2e/proc"
)

// TestGatewayKilled plays a recorded day and kills one gateway after the other: their
// clients go on elsewhere, and those who want every event end with exactly the tape.
func TestGatewayKilled(t *testing.T) {
	file := proc.Tape(t, "../..", "us-equities.csv.gz")
	seed := seeded(t)
	s := build(t, seed, layout{monitors: 1, gateways: 3})
	rows, _ := tapeRows(t, file)
	f := newFleet(t, seed, s.addrs(), plan{clients: *clients, symbols: busiest(rows, 100), each: 5, wild: 5}).start(time.Second)
	s.playTape(file, 2000) // 12 s
	for _, g := range s.gateways {
		time.Sleep(2 * time.Second)
		sockets := int(g.proc.Metric("lzstock_gateway_sockets"))
		at := g.kill()
		if sockets == 0 {
			t.Errorf("%s held no socket when it was killed", g.spec.Name)
		}
		f.await("a socket elsewhere", func(c *client) bool { return c.current != nil && c.current.addr != g.addr })
		var times spread
		for _, c := range f.clients {
			c.mu.Lock()
			if last := c.dials[len(c.dials)-1]; last.After(at) {
				times = append(times, last.Sub(at))
			}
			c.mu.Unlock()
		}
		t.Logf("%d clients lost their sockets; back after %s", sockets, times.sorted())
		g.start().proc.WaitReady()
	}
	<-s.feed.proc.Done
	tr := readTruth(t, s.nats)
	tr.isTape(t, file)
	f.balance(tr)
	if n := f.sum(func(c *client) int { return c.closes[1006] }); n == 0 {
		t.Error("nobody lost a socket")
	}
}
