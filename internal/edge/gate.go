package edge

import (
	"container/list"
	"fmt"
	"net"
	"net/netip"
	"sync"
)

// GateConfig configures a Gate; its zero value limits nothing.
type GateConfig struct {
	// Waiting is how many connections may wait; 0 means no limit. Above it, the one
	// that has waited longest makes way, so that whoever holds many keeps nobody
	// else out who is quick.
	Waiting int
	// AddressWaiting is how many connections of one address may wait; 0 means no
	// limit. One more is closed.
	AddressWaiting int
	// Connects is how many connections a second one address may open, twice as many
	// at once; 0 means no limit. What is above it is closed. One that comes to
	// nothing, because nobody takes it over, counts as four.
	Connects int
	// Trusted are the proxies in front, for which the limits by address do not
	// count: their connections are those of many clients.
	Trusted []netip.Prefix
	// Closed is told why connections were closed; nil means that nobody is. It must
	// not wait.
	Closed func(why GateCause)
}

// GateCause is why a Gate has closed a connection.
type GateCause string

// The causes.
const (
	GateConnects       GateCause = "address-connects"
	GateAddressWaiting GateCause = "address-waiting"
	GateWaiting        GateCause = "waiting"
)

// forNothing is what a connection that comes to nothing costs beyond its opening.
const forNothing = 3

// Gate accepts connections, and closes those that are too many before a byte is
// read of them, and before anything is made for them: that is what they cost. A
// connection waits from when it is accepted until it is closed, or until NetConn
// gives it to who takes it over as a socket.
type Gate struct {
	net.Listener
	cfg   GateConfig
	rates *Rates // nil: no limit

	mu      sync.Mutex
	waiting list.List // of *gated, the one that has waited longest in front
	from    Counts[netip.Prefix]
}

// NewGate makes a gate in front of a listener.
func NewGate(l net.Listener, cfg GateConfig) (*Gate, error) {
	if cfg.Waiting < 0 || cfg.AddressWaiting < 0 {
		return nil, fmt.Errorf("edge: waiting connections are limited to %d, of an address to %d: want 0 or more", cfg.Waiting, cfg.AddressWaiting)
	}
	g := &Gate{Listener: l, cfg: cfg}
	if cfg.Connects != 0 {
		var err error
		if g.rates, err = NewRates(RatesConfig{PerSecond: cfg.Connects}); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// Accept waits for the next connection that may come in.
func (g *Gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c, why := g.enter(conn)
		if why == "" {
			return c, nil
		}
		g.shut(conn, why)
	}
}

// enter counts a connection in, or says why not.
func (g *Gate) enter(conn net.Conn) (*gated, GateCause) {
	addr := addrOf(conn.RemoteAddr().String())
	c := &gated{Conn: conn, gate: g}
	if !within(addr, g.cfg.Trusted) {
		c.addr = addr
		if g.rates != nil {
			if ok, _ := g.rates.Allow(addr); !ok {
				return nil, GateConnects
			}
		}
		if g.cfg.AddressWaiting > 0 {
			if c.from = Network(addr); !g.from.Add(c.from, g.cfg.AddressWaiting) {
				return nil, GateAddressWaiting
			}
			c.counted = true
		}
	}
	if oldest := g.push(c); oldest != nil {
		oldest.leave()
		g.shut(oldest.Conn, GateWaiting)
	}
	return c, ""
}

// push has a connection wait, and gives the one that makes way for it, if any.
func (g *Gate) push(c *gated) (oldest *gated) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cfg.Waiting > 0 && g.waiting.Len() >= g.cfg.Waiting {
		oldest, _ = g.waiting.Front().Value.(*gated)
	}
	c.place = g.waiting.PushBack(c)
	return oldest
}

// shut closes a connection at once: the peer is told by a reset, and nothing of it
// stays behind with the system.
func (g *Gate) shut(conn net.Conn, why GateCause) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // where it fails, the connection ends a little later
	}
	_ = conn.Close() // nobody is left to be told
	if g.cfg.Closed != nil {
		g.cfg.Closed(why)
	}
}

// Waiting is how many connections wait.
func (g *Gate) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waiting.Len()
}

// gated is a connection of a Gate.
type gated struct {
	net.Conn
	gate    *Gate
	addr    netip.Addr // invalid where no limit by address counts
	from    netip.Prefix
	counted bool          // by from
	place   *list.Element // nil: it does not wait; guarded by the gate's lock
}

// leave ends the wait, and reports whether the connection waited.
func (c *gated) leave() bool {
	c.gate.mu.Lock()
	place := c.place
	if place != nil {
		c.gate.waiting.Remove(place)
		c.place = nil
	}
	c.gate.mu.Unlock()
	if place != nil && c.counted {
		c.gate.from.Remove(c.from)
	}
	return place != nil
}

// Close ends the connection.
func (c *gated) Close() error {
	if c.leave() && c.gate.rates != nil && c.addr.IsValid() {
		c.gate.rates.Charge(c.addr, forNothing)
	}
	return c.Conn.Close()
}

// NetConn gives the connection below to who takes it over: it waits no more.
func (c *gated) NetConn() net.Conn {
	c.leave()
	return c.Conn
}

// CloseWrite tells the peer that nothing more comes, where the connection below
// can.
func (c *gated) CloseWrite() error { return closeWrite(c.Conn) }
