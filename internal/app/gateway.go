package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lzstock/lzstock/internal/certs"
	"github.com/lzstock/lzstock/internal/delay"
	"github.com/lzstock/lzstock/internal/gateway"
	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/obs"
	"github.com/lzstock/lzstock/internal/poll"
	"github.com/lzstock/lzstock/internal/upstream"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// GatewayConfig configures a gateway's process.
type GatewayConfig struct {
	Edge     EdgeConfig
	Admin    AdminConfig
	Monitors []string      // monitors that answer alike, each HOST:PORT or dns:///HOST:PORT
	Upstream *upstream.TLS // nil: in the clear
	Gateway  gateway.Config
}

// TLS names the certificate and key that clients are shown, PEM; without them
// they connect in the clear.
type TLS struct{ CertFile, KeyFile string }

// scheme is what a client's URL begins with.
func (t TLS) scheme() string {
	if t.CertFile != "" {
		return "wss://"
	}
	return "ws://"
}

// page is what its page's URL begins with.
func (t TLS) page() string {
	if t.CertFile != "" {
		return "https://"
	}
	return "http://"
}

// pageLine tells where the dashboard is, if there is one.
func pageLine(c EdgeConfig, a net.Addr) string {
	if !c.Dashboard {
		return ""
	}
	return "Dashboard: " + c.TLS.page() + reachable(a) + "\n"
}

// layer gives what puts TLS above a listener, where there is a certificate.
func (t TLS) layer(log *slog.Logger) (func(net.Listener) net.Listener, error) {
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, errors.New("--tls-cert and --tls-key belong together: one of them is missing")
	}
	if t.CertFile == "" {
		return func(l net.Listener) net.Listener { return l }, nil
	}
	pair, err := certs.Load(t.CertFile, t.KeyFile, log)
	if err != nil {
		return nil, err
	}
	return func(l net.Listener) net.Listener { return tls.NewListener(poll.Listen(l), pair.Server("http/1.1")) }, nil
}

// Gateway runs a gateway until ctx ends.
func Gateway(ctx context.Context, p Process, c GatewayConfig) error {
	b, err := newBuilder(p)
	if err != nil {
		return err
	}
	return b.run(ctx, func(ctx context.Context) error {
		admin, err := b.admin(ctx, c.Admin, "gateway")
		if err != nil {
			return err
		}
		l, err := b.clients(ctx, c.Edge, &c.Gateway)
		if err != nil {
			return err
		}
		if err := b.gateway(l, upstream.Config{Monitors: c.Monitors, TLS: c.Upstream, Limits: upstream.Limits{Topics: c.Edge.Topics}}, c.Gateway, c.Edge.Delayed...); err != nil {
			return err
		}
		return b.say("The gateway serves clients on %s%s/v1/stream\n%s%s%s", c.Edge.TLS.scheme(), reachable(l.Addr()), pageLine(c.Edge, l.Addr()), adminLine(admin), b.warnings())
	})
}

// gateway adds a gateway on l, its hub, and the one stream that fills it.
func (b *builder) gateway(l net.Listener, from upstream.Config, c gateway.Config, late ...time.Duration) error {
	h, err := newGatewayHub(0)
	if err != nil {
		return err
	}
	b.add(part{name: "hub", run: h.Run})
	sinks := []delay.Sink{h}
	c.Delayed = map[time.Duration]gateway.Late{}
	for _, by := range late {
		l, err := b.late(by, &c)
		if err != nil {
			return err
		}
		sinks = append(sinks, l)
	}
	sink := &gatewaySink{Sink: delay.Fan(sinks...)}
	from.Limits.UserUnknown, from.Linger = c.Symbols*len(market.Channels()), lingerOf(late)
	up, err := upstream.New(from, sink, b.Logger, b.registry)
	if err != nil {
		return err
	}
	c.Prices = up
	g, err := gateway.New(c, h, up, b.Logger, b.registry)
	if err != nil {
		return err
	}
	b.checks = append(b.checks, obs.Check{Name: "upstream", Ready: func() error { return sink.ready(up.Trouble()) }})
	b.admins = append(b.admins, g.Admin)
	b.watchGateway(g, sink)
	b.add(part{name: "upstream", run: up.Run})
	b.add(part{
		name: "gateway", run: func(ctx context.Context) error { return g.Run(ctx, l) },
		drain: g.Drain, within: c.DrainGrace + c.DrainWindow, left: g.Left,
	})
	return nil
}

// lingerOf gives how long topics that nobody wants stay: where prices are shown late, as
// long as what has come of them waits. So no more of their comings and goings wait than
// two a topic, however fast somebody changes what he wants.
func lingerOf(late []time.Duration) (linger time.Duration) {
	for _, by := range late {
		linger = max(linger, by)
	}
	return linger
}

// gatewayWindow is how many recent events a shard keeps for clients that resume:
// about 13 MB.
const gatewayWindow = 32768

func newGatewayHub(behind time.Duration) (*hub.Hub, error) {
	return hub.New(hub.Config{Window: gatewayWindow, Delay: behind, Encode: func(dst []byte, format int, e *market.Event) []byte {
		return wire.AppendEvent(dst, wire.Format(format), e)
	}})
}

// late adds what shows prices late, for those who may not see them earlier.
func (b *builder) late(by time.Duration, c *gateway.Config) (*delay.Line, error) {
	h, err := newGatewayHub(by)
	if err != nil {
		return nil, err
	}
	line, err := delay.New(by, h, delay.Config{})
	if err != nil {
		return nil, fmt.Errorf("--delayed: %w", err)
	}
	if _, twice := c.Delayed[by]; twice {
		return nil, fmt.Errorf("--delayed: %v comes twice", by)
	}
	c.Delayed[by] = gateway.Late{Hub: h, Epoch: func() market.Epoch { return line.Position().Epoch }}
	labels := prometheus.Labels{"by": by.String()}
	for _, m := range []struct {
		name, help string
		value      func(delay.Stats) float64
	}{
		{"waiting_events", "Events that wait until they may be shown.", func(s delay.Stats) float64 { return float64(s.Waiting) }},
		{"merged_events", "Events that gave way to later ones because too many waited.", func(s delay.Stats) float64 { return float64(s.Merged) }},
		{"lost_events", "Events that were given up, and announced, because too many waited.", func(s delay.Stats) float64 { return float64(s.Lost) }},
	} {
		g := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lzstock_delay_" + m.name, Help: m.help, ConstLabels: labels},
			func() float64 { return m.value(line.Stats()) })
		if err := b.registry.Register(g); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	b.add(part{name: "hub of prices " + by.String() + " late", run: h.Run})
	b.add(part{name: "line of prices " + by.String() + " late", run: line.Run})
	return line, nil
}

// gatewaySink is what upstream fills, and remembers the feed's state.
type gatewaySink struct {
	delay.Sink
	feed atomic.Pointer[market.Feed] // as it was told last
	live atomic.Bool                 // it was live once
}

// Feed passes the feed's state on.
func (s *gatewaySink) Feed(ctx context.Context, feed market.Feed) error {
	s.feed.Store(&feed)
	if feed.State == market.FeedLive {
		s.live.Store(true)
	}
	return s.Sink.Feed(ctx, feed)
}

// ready is lasting: a feed that is stale for a moment, because a monitor starts
// anew, is no reason to take every gateway out of service. trouble is what is wrong
// with the monitors.
func (s *gatewaySink) ready(trouble error) error {
	feed := s.feed.Load()
	switch {
	case !s.live.Load() && trouble != nil:
		return fmt.Errorf("no monitor has answered yet: %w", trouble)
	case !s.live.Load():
		return errors.New("no monitor has answered yet")
	case feed.State == market.FeedDown && trouble != nil:
		return fmt.Errorf("the feed is down since %s: %w", feed.Since.Format(time.RFC3339), trouble)
	case feed.State == market.FeedDown && feed.Reason != market.FeedLost: // sources are lost to every gateway alike
		return fmt.Errorf("the feed is down since %s", feed.Since.Format(time.RFC3339))
	}
	return nil
}
