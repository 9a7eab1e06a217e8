package fault

import (
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/lzstock/lzstock/e2e/proc"
)

// TestClientNetworks has clients behind networks that delay, that swallow everything
// for a while, and clients that are there and say nothing more: a gateway lets go of
// those by its deadline, all that live resume, and nobody else feels it.
func TestClientNetworks(t *testing.T) {
	seed := seeded(t)
	s := build(t, seed, layout{monitors: 1, gateways: 1})
	s.play()
	g := s.gateways[0]
	far, hole := newLink(t, g.addr), newLink(t, g.addr)
	far.delay(200*time.Millisecond, 100*time.Millisecond)
	of := func(n int, addr string, size int) *fleet {
		return newFleet(t, seed+uint64(n), []string{addr}, plan{clients: size, symbols: simSymbols(t), each: 3}).start(time.Second)
	}
	third := max(6, *clients/3)
	// The lost try again all the time, and the link holds two files for each try.
	near, distant, lost := of(1, g.addr, third), of(2, far.addr, third), of(3, hole.addr, min(third, 150))
	fleets := []*fleet{near, distant, lost}
	sockets := func() int { return int(g.proc.Metric("lzstock_gateway_sockets")) }

	// Sockets that are open and have nobody behind them: the kernel acknowledges what
	// comes, and nobody answers a ping.
	const mute = 10
	before := sockets()
	for range mute {
		conn, _, _, err := ws.Dialer{Timeout: patience}.Dial(t.Context(), "ws://"+g.addr+"/v1/stream")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	opened := time.Now()
	proc.Eventually(t, "the mute sockets", func() bool { return sockets() == before+mute })
	proc.Eventually(t, "their end", func() bool { return sockets() == before })
	promised(t, "sockets without a peer gone after", spread{time.Since(opened)}, deadline)

	for _, length := range lengths() {
		at := time.Now()
		hole.blackhole()
		want := len(near.clients) + len(distant.clients)
		if length > peerTimeout+2*time.Second {
			proc.Eventually(t, "the end of the lost", func() bool { return sockets() <= want })
			promised(t, "sockets in a black hole gone after", spread{time.Since(at)}, deadline)
		}
		time.Sleep(time.Until(at.Add(length)))
		t.Logf("fault: a black hole of %s swallowed %d bytes", length, hole.heal())
		lost.await("a socket again", func(c *client) bool { return c.current != nil })
		proc.Eventually(t, "all sockets", func() bool { return sockets() == want+len(lost.clients) })
	}
	s.silence()
	tr := readTruth(t, s.nats)
	for _, f := range fleets {
		f.balance(tr)
	}
	for i, f := range fleets[:2] {
		if n := f.sum(func(c *client) int { return c.closes[1006] }); n > 0 {
			t.Errorf("%d sockets of fleet %d broke, which had no fault", n, i)
		}
	}
	if lost.sum(func(c *client) int { return c.closes[1006] }) == 0 {
		t.Error("no client noticed the black hole")
	}
}

// peerTimeout is after how long quick gateways let go of a client that is silent.
const peerTimeout = 4 * time.Second

// deadline is when it must have done so: it looks with every ping.
const deadline = peerTimeout + time.Second + 500*time.Millisecond

// lengths are the lengths of the black holes.
func lengths() []time.Duration {
	if *full {
		return []time.Duration{5 * time.Second, 30 * time.Second, 120 * time.Second}
	}
	return []time.Duration{5 * time.Second, 8 * time.Second}
}

// TestPacketLoss has a gateway's network lose two packets of a hundred.
func TestPacketLoss(t *testing.T) {
	lan := newLAN(t)
	seed := seeded(t)
	s := build(t, seed, layout{monitors: 1, gateways: 1, lan: lan})
	h := s.gateways[0].host
	h.drop(0.02, gatewayPort)
	s.play()
	f := newFleet(t, seed, s.addrs(), plan{clients: *clients, symbols: simSymbols(t), each: 3}).start(time.Second)
	wait := 6 * time.Second
	if *full {
		wait = time.Minute
	}
	time.Sleep(wait)
	s.silence()
	tr := readTruth(t, s.nats)
	f.balance(tr)
	h.heal()
	if n := f.sum(func(c *client) int { return c.closes[1006] }); n > 0 {
		t.Errorf("%d sockets broke, where TCP repeats what is lost", n)
	}
}
