package edge

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lzstock/lzstock/internal/memnet"
)

// queue is a listener whose connections come from where the test says.
type queue struct{ conns chan net.Conn }

type arrival struct {
	net.Conn
	from net.Addr
}

func (a arrival) RemoteAddr() net.Addr { return a.from }

func (q queue) Accept() (net.Conn, error) {
	conn, ok := <-q.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (q queue) Close() error   { return nil }
func (q queue) Addr() net.Addr { return &net.TCPAddr{} }

// visitors brings connections to a gate, one at a time.
type visitors struct {
	t      *testing.T
	gate   *Gate
	queue  queue
	closed map[GateCause]int
}

func newVisitors(t *testing.T, cfg GateConfig) *visitors {
	t.Helper()
	v := &visitors{t: t, queue: queue{make(chan net.Conn, 1)}, closed: map[GateCause]int{}}
	cfg.Closed = func(why GateCause) { v.closed[why]++ }
	var err error
	v.gate, err = NewGate(v.queue, cfg)
	must(t, err)
	return v
}

// come brings a connection, and gives what Accept makes of it: nil where it was
// closed.
func (v *visitors) come(from string) (in net.Conn, peer *memnet.Conn) {
	v.t.Helper()
	peer, own := memnet.Pair()
	v.queue.conns <- arrival{own, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))}
	got := make(chan net.Conn)
	go func() {
		conn, err := v.gate.Accept()
		if err != nil && !errors.Is(err, net.ErrClosed) {
			v.t.Error(err)
		}
		got <- conn
	}()
	synctest.Wait()
	select {
	case in = <-got:
	default: // it was closed, and Accept waits for another
		close(v.queue.conns)
		<-got
		v.queue.conns = make(chan net.Conn, 1)
		v.gate.Listener = v.queue
	}
	return in, peer
}

func closedBy(peer net.Conn) bool {
	_ = peer.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := peer.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}

func TestGateLimitsWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVisitors(t, GateConfig{AddressWaiting: 2})
		one, _ := v.come("192.0.2.1:1")
		two, _ := v.come("192.0.2.1:2")
		if three, peer := v.come("192.0.2.1:3"); three != nil || !closedBy(peer) || v.closed[GateAddressWaiting] != 1 {
			t.Fatalf("a third is let in, or not closed: %v, %v", three, v.closed)
		}
		if other, _ := v.come("192.0.2.2:1"); other == nil {
			t.Fatal("another address is kept out")
		}
		must(t, one.Close())
		_ = one.Close() // counts once
		again, _ := v.come("192.0.2.1:4")
		if again == nil {
			t.Fatal("who has left still counts")
		}
		if full, _ := v.come("192.0.2.1:5"); full != nil {
			t.Fatal("who has left twice counts twice")
		}
		below, ok := two.(interface{ NetConn() net.Conn })
		if !ok || below.NetConn() == two {
			t.Fatalf("%T cannot be taken over", two)
		}
		if next, _ := v.come("192.0.2.1:6"); next == nil {
			t.Fatal("who was taken over still counts")
		}
		if n := v.gate.Waiting(); n != 3 {
			t.Errorf("%d wait, want 3", n)
		}
	})
}

// Whoever holds all places loses the oldest of them to who comes next.
func TestGateMakesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVisitors(t, GateConfig{Waiting: 2})
		first, peer := v.come("192.0.2.1:1")
		second, _ := v.come("192.0.2.1:2")
		third, _ := v.come("192.0.2.2:1")
		if third == nil || !closedBy(peer) || v.closed[GateWaiting] != 1 || v.gate.Waiting() != 2 {
			t.Fatalf("the oldest did not make way: %v, %d wait", v.closed, v.gate.Waiting())
		}
		_ = first.Close() // by its owner, who learns of the end
		must(t, second.Close())
		must(t, third.Close())
		if n := v.gate.Waiting(); n != 0 {
			t.Errorf("%d wait, want none", n)
		}
	})
}

func TestGateLimitsConnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVisitors(t, GateConfig{Connects: 10, Trusted: prefixes(t, "10.0.0.0/8")})
		let := func(from string, n int, taken bool) (in int) {
			for range n {
				conn, _ := v.come(from)
				if conn == nil {
					continue
				}
				in++
				if g, ok := conn.(*gated); ok && taken {
					conn = g.NetConn()
				}
				must(t, conn.Close())
			}
			return in
		}
		if n := let("192.0.2.1:1", 30, true); n != 20 {
			t.Errorf("%d sockets at once, want 20", n)
		}
		if n := let("192.0.2.2:1", 30, false); n != 5 {
			t.Errorf("%d at once that come to nothing, want 5: they count as four", n)
		}
		if n := let("10.0.0.1:1", 30, false); n != 30 {
			t.Errorf("%d of a proxy, want all 30", n)
		}
		time.Sleep(time.Second)
		if n := let("192.0.2.1:1", 30, true); n != 10 {
			t.Errorf("%d sockets in the next second, want 10", n)
		}
		if n := let("192.0.2.2:1", 30, false); n < 2 || n > 3 {
			t.Errorf("%d in the next second that come to nothing, want 2 or 3", n)
		}
		if v.closed[GateConnects] == 0 {
			t.Error("nobody was told")
		}
	})
}

// What an address owes is bounded: it may come again once its bucket has filled.
func TestChargeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := NewRates(RatesConfig{PerSecond: 10, Burst: 20})
		must(t, err)
		addr := netip.MustParseAddr("192.0.2.1")
		r.Charge(addr, 1000)
		r.Charge(addr, 1000)
		if ok, after := r.Allow(addr); ok || after > 100*time.Millisecond {
			t.Fatalf("allowed %t, after %v: want no, and a tenth of a second at most", ok, after)
		}
		time.Sleep(time.Second)
		n := 0
		for ok, _ := r.Allow(addr); ok; ok, _ = r.Allow(addr) {
			n++
		}
		if n != 10 {
			t.Errorf("%d a second later, want 10", n)
		}
	})
}

func TestGateConfig(t *testing.T) {
	for _, cfg := range []GateConfig{{Waiting: -1}, {AddressWaiting: -1}, {Connects: -1}} {
		if _, err := NewGate(queue{}, cfg); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
}
