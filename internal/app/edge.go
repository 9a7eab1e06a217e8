package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lzstock/lzstock/internal/auth"
	"github.com/lzstock/lzstock/internal/bus"
	"github.com/lzstock/lzstock/internal/edge"
	"github.com/lzstock/lzstock/internal/gateway"
	"github.com/lzstock/lzstock/internal/obs"
	"github.com/lzstock/lzstock/internal/session"
	"github.com/lzstock/lzstock/web"
)

// The limits that count by user or by address where clients say who they are; where
// they do not, there are none.
const (
	usualUserSockets    = 5
	usualOpens          = 20
	usualRequests       = 20
	usualUserTopics     = 5000
	usualAddressWaiting = 64
)

// connectsFactor is how many connections an address may open, by usual, for each
// request that it may send: up to there it is told that it is too fast.
const connectsFactor = 2

// Usual as a limit by user or address is the usual one where clients say who they
// are, and none where they do not.
const Usual = -1

// EdgeConfig says how clients get to a gateway, and who they must be.
type EdgeConfig struct {
	Listen        string // where clients connect
	ReusePort     bool   // another process may listen there, too, to take over
	TLS           TLS
	Auth          auth.Config
	InsecureOpen  bool     // nobody is asked, also on other addresses than loopback
	Proxies       []string // addresses or networks whose word counts for a client's address
	ProxyProtocol bool     // the proxies speak the PROXY protocol, version 2
	Origins       []string // of pages that may connect, beside the gateway's own
	Hosts         []string // that the gateway answers for, beside those that edge.Hosts knows
	Sessions      session.Config
	SessionBus    bus.Config      // where sessions are kept for all gateways; without a URL, in memory
	UserSockets   int             // or Usual
	Opens         int             // or Usual
	Requests      int             // or Usual
	UserTopics    int             // or Usual
	Topics        int             // that a monitor is asked for; 0 means the usual
	Delayed       []time.Duration // how late prices may be had by those who may not see them earlier
	Dashboard     bool            // the page at / is served

	Waiting        int // connections that are no sockets yet; 0 is no limit
	AddressWaiting int // of one address; or Usual
	Connects       int // connections a second of one address; or Usual
}

// clients opens the listener for clients and completes the gateway's configuration.
// It listens once nothing is wrong with who may come.
func (b *builder) clients(ctx context.Context, c EdgeConfig, g *gateway.Config) (net.Listener, error) {
	a, err := auth.New(c.Auth, b.Logger, b.registry)
	if err != nil {
		return nil, err
	}
	if err := guard(c, a.Open()); err != nil {
		return nil, err
	}
	g.Auth = a
	if c.Dashboard {
		if g.Dashboard, err = web.Dashboard(); err != nil {
			return nil, fmt.Errorf("--dashboard: %w", err)
		}
	}
	g.UserSockets, g.Opens = limit(c.UserSockets, usualUserSockets, a.Open()), limit(c.Opens, usualOpens, a.Open())
	g.Requests, g.UserWork = limit(c.Requests, usualRequests, a.Open()), limit(c.UserTopics, usualUserTopics, a.Open())
	if g.Addresses.Proxies, err = edge.ParsePrefixes(c.Proxies); err != nil {
		return nil, fmt.Errorf("--trusted-proxies: %w", err)
	}
	if c.ProxyProtocol && len(g.Addresses.Proxies) == 0 {
		return nil, errors.New("--proxy-protocol needs --trusted-proxies: who else is to be believed?")
	}
	if g.Origins.Allow, err = edge.ParseOrigins(c.Origins); err != nil {
		return nil, fmt.Errorf("--origins: %w", err)
	}
	g.Origins.Addresses = g.Addresses
	names, err := edge.ParseHosts(c.Hosts)
	if err != nil {
		return nil, fmt.Errorf("--hosts: %w", err)
	}
	secure, err := c.TLS.layer(b.Logger)
	if err != nil {
		return nil, err
	}
	l, err := b.port(ctx, c, g)
	if err != nil {
		return nil, err
	}
	b.owns(l)
	if a.Open() {
		b.warn(ctx, "clients", l.Addr(), "read all prices", "take out --insecure-open, and add --auth keys or --auth jwt")
	}
	g.Hosts = hosts(l.Addr(), a.Open(), names)
	if g.Sessions, err = b.sessions(ctx, c); err != nil {
		return nil, err
	}
	if l, err = b.gate(l, c, g, a.Open()); err != nil {
		return nil, err
	}
	if !a.Open() {
		b.add(part{name: "auth", run: a.Run})
		b.checks = append(b.checks, obs.Check{Name: "auth", Ready: a.Ready})
	}
	return secure(l), nil
}

// port opens the listener for clients, alone or beside other processes.
func (b *builder) port(ctx context.Context, c EdgeConfig, g *gateway.Config) (net.Listener, error) {
	if !c.ReusePort {
		return listen(ctx, "listen", c.Listen, UsualListen)
	}
	p, err := listenShared(ctx, c.Listen, b.Logger)
	if err != nil {
		return nil, err
	}
	g.Handover = p.handover
	return p.l, nil
}

// gate puts in front of a listener what closes connections before they cost
// anything, and counts them.
func (b *builder) gate(l net.Listener, c EdgeConfig, g *gateway.Config, open bool) (net.Listener, error) {
	closed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "lzstock_edge_closed_total", Help: "Connections that were closed before anything was read of them, or in favor of others.",
	}, []string{"cause"})
	gate, err := edge.NewGate(l, edge.GateConfig{
		Waiting: c.Waiting, AddressWaiting: limit(c.AddressWaiting, usualAddressWaiting, open),
		Connects: limit(c.Connects, connectsFactor*g.Opens, open), Trusted: g.Addresses.Proxies,
		Closed: func(why edge.GateCause) { closed.WithLabelValues(string(why)).Inc() },
	})
	if err != nil {
		return nil, err
	}
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "lzstock_edge_waiting", Help: "Connections that are no sockets yet.",
	}, func() float64 { return float64(gate.Waiting()) })
	for _, m := range []prometheus.Collector{closed, waiting} {
		if err := b.registry.Register(m); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	if !c.ProxyProtocol {
		return gate, nil
	}
	behind := edge.ProxyProtocol(gate, g.Addresses.Proxies)
	behind.Refused = func(net.Addr, error) { closed.WithLabelValues("proxy-header").Inc() }
	return behind, nil
}

// guard refuses a gateway that the world reaches and that asks nobody.
func guard(c EdgeConfig, open bool) error {
	switch {
	case !open || onLoopback(c.Listen):
	case !c.InsecureOpen:
		return fmt.Errorf("clients on %s would need no credentials: want --auth keys or --auth jwt, an address on loopback, or --insecure-open where that is meant", c.Listen)
	}
	return nil
}

// onLoopback tells, before anybody listens, whether only this machine will reach
// addr. What is no address is nobody's: listening says what is wrong with it.
func onLoopback(addr string) bool {
	if addr == Auto {
		return true
	}
	a, err := net.ResolveTCPAddr("tcp", addr)
	return err != nil || isLoopback(a)
}

// hosts returns for which hosts a gateway answers; nil is all of them. A page that
// counts as the gateway's own reads prices if nobody is asked, and whoever reaches
// another address than loopback's needs no page for that.
func hosts(at net.Addr, open bool, names []string) *edge.Hosts {
	h := edge.Hosts{Loopback: isLoopback(at), Allow: names, Flag: "--hosts"}
	if h.Loopback && open || len(names) > 0 {
		return &h
	}
	return nil
}

func limit(v, usual int, open bool) int {
	switch {
	case v != Usual:
		return v
	case open:
		return 0
	}
	return usual
}

// sessions gives where sessions are kept.
func (b *builder) sessions(ctx context.Context, c EdgeConfig) (session.Config, error) {
	s := c.Sessions
	if c.SessionBus.URL == "" {
		return s, nil
	}
	c.SessionBus.Name, c.SessionBus.Logger = "lzstock gateway sessions", b.Logger
	kv, err := dial(ctx, b.Logger, func(ctx context.Context) (*bus.KV, error) { return bus.DialKV(ctx, c.SessionBus) })
	if err != nil {
		return s, fmt.Errorf("sessions: %w", err)
	}
	b.owns(kv)
	b.add(part{
		name: "session store",
		run: func(ctx context.Context) error {
			<-ctx.Done()
			return nil
		},
		close: kv.Close,
	})
	s.KV = kv
	return s, nil
}
