package app

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/lzstock/lzstock/internal/feed"
	"github.com/lzstock/lzstock/internal/feed/sim"
	"github.com/lzstock/lzstock/internal/gateway"
	"github.com/lzstock/lzstock/internal/upstream"
)

// upGatewayStop is the gateway's share of StopTimeout when all parts are in one
// process.
const upGatewayStop = 2500 * time.Millisecond

// UpConfig configures everything in one process.
type UpConfig struct {
	Edge    EdgeConfig
	Admin   AdminConfig
	GRPC    string       // Auto or an address
	Source  *feed.Source // nil: nothing is played
	Bus     BusConfig
	Past    PastConfig // without names, those of the simulator where it is the source
	Limits  MonitorLimits
	Gateway gateway.Config
}

// Up runs bus, feed, monitor and gateway in one process until ctx ends. The
// gateway reaches the monitor over a real connection, as it does where they run
// apart.
func Up(ctx context.Context, p Process, c UpConfig) error {
	b, err := newBuilder(p)
	if err != nil {
		return err
	}
	return b.run(ctx, func(ctx context.Context) error { return b.up(ctx, c) })
}

// up adds all parts.
func (b *builder) up(ctx context.Context, c UpConfig) error {
	admin, err := b.admin(ctx, c.Admin, "up")
	if err != nil {
		return err
	}
	clients, err := b.clients(ctx, c.Edge, &c.Gateway)
	if err != nil {
		return err
	}
	services, err := listen(ctx, "grpc", c.GRPC, UsualMonitor)
	if err != nil {
		return err
	}
	b.owns(services)
	b.warnServices(ctx, services, "keep --grpc on loopback, or run the parts apart: lzstock monitor has --grpc-client-ca")
	js, err := b.bus(ctx, c.Bus, "lzstock up")
	if err != nil {
		return err
	}
	if c.Source != nil && c.Source.Sim != nil && c.Past.Names == nil {
		c.Past.Names = sim.Names(c.Source.Sim.Symbols)
	}
	if err := b.monitor(js, services, "", c.Past, c.Limits, 0); err != nil {
		return err
	}
	if c.Source != nil {
		if err := b.feed(js, *c.Source, nil, false); err != nil {
			return err
		}
	}
	if c.Gateway.StopTimeout == 0 {
		c.Gateway.StopTimeout = upGatewayStop
	}
	if err := b.gateway(clients, upstream.Config{Monitors: []string{reachable(services.Addr())}, Limits: upstream.Limits{Topics: c.Edge.Topics}}, c.Gateway, c.Edge.Delayed...); err != nil {
		return err
	}
	page := ""
	if c.Edge.Dashboard {
		page = c.Edge.TLS.page() + reachable(clients.Addr())
	}
	return b.say("%s", banner(c.Source, page, c.Edge.TLS.scheme()+reachable(clients.Addr()), services.Addr(), admin)+b.warnings())
}

// banner tells where to look and what to try next.
func banner(source *feed.Source, page, base string, services net.Addr, admin string) string {
	var s strings.Builder
	symbols := "'*'"
	switch {
	case source == nil:
		s.WriteString("LZStock is up. No source is played: publish your own prices.\n\n")
	case source.Sim != nil:
		symbols = "AAPL MSFT"
		s.WriteString("LZStock is up, with SIMULATED DATA: no price that you see is real.\n\n")
	default:
		fmt.Fprintf(&s, "LZStock is up, and plays recorded prices from %s.\n\n", source.Tape.File)
	}
	if page != "" {
		fmt.Fprintf(&s, "  dashboard  %s: open it in a browser\n", page)
	}
	fmt.Fprintf(&s, "  clients    %s/v1/stream, and for Alpaca's SDKs %s/v2 and %s/v1beta3/crypto\n", base, base, base)
	fmt.Fprintf(&s, "  services   %s: gRPC MarketMonitor and Ingest, with reflection\n", reachable(services))
	if admin != "" {
		fmt.Fprintf(&s, "  operators  http://%s\n", admin)
	}
	s.WriteString("\nTry in another terminal:\n")
	fmt.Fprintf(&s, "  lzstock watch --url %s/v1/stream %s\n", base, symbols)
	if source == nil {
		fmt.Fprintf(&s, `  echo '{"T":"t","S":"AAPL","p":189.1,"s":100,"t":"%s"}' | lzstock publish --grpc %s`+"\n",
			time.Now().UTC().Truncate(time.Second).Format(time.RFC3339), reachable(services))
	}
	fmt.Fprintf(&s, "  grpcurl -plaintext %s list\n", reachable(services))
	if admin != "" {
		fmt.Fprintf(&s, "  curl http://%s/readyz\n", admin)
	}
	s.WriteString("\nStop with Ctrl-C.\n")
	return s.String()
}

// reachable writes a listener's address as this machine reaches it: one on all
// interfaces has loopback, too.
func reachable(a net.Addr) string {
	t, ok := a.(*net.TCPAddr)
	if !ok || !t.IP.IsUnspecified() {
		return a.String()
	}
	host := "127.0.0.1"
	if t.IP.To4() == nil {
		host = "localhost"
	}
	return net.JoinHostPort(host, strconv.Itoa(t.Port))
}
