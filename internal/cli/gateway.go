package cli

import (
	"time"

	"github.com/lzstock/lzstock/internal/app"
	"github.com/lzstock/lzstock/internal/upstream"
)

// gatewayCmd is `lzstock gateway`.
type gatewayCmd struct {
	edgeFlags
	adminFlags
	DrainGrace  time.Duration `default:"5s"  help:"From a stop signal, or lzstock drain, to the first client that is told to move: as long as load balancers take to notice." placeholder:"TIME"`
	DrainWindow time.Duration `default:"30s" help:"In which all sockets end then, one after the other; 0 ends them all at once, without notice." placeholder:"TIME"`
	ReusePort   bool          `help:"Let another process listen on the same address: it takes over when this one is stopped. Both want this flag."`
	Monitor     []string      `default:"127.0.0.1:7000" help:"Monitors to get prices from, of which one is in use: a random one, and where it fails another at once. A name stands for all its addresses, looked up anew." placeholder:"HOST:PORT"`
	MonitorTls  bool          `group:"Monitor:" help:"Reach the monitors by TLS; the other flags of this group mean it as well."`
	MonitorCa   string        `group:"Monitor:" help:"Certificates to trust in place of the system's, PEM." placeholder:"FILE"`
	MonitorCert string        `group:"Monitor:" help:"This gateway's certificate, PEM." placeholder:"FILE"`
	MonitorKey  string        `group:"Monitor:" help:"Its key, PEM." placeholder:"FILE"`
	MonitorName string        `group:"Monitor:" help:"Name that the monitors' certificates must have, in place of the address." placeholder:"NAME"`
	natsFlags   `group:"Session store:"`
	limitFlags  `group:"Limits:"`
}

// Help is shown behind the flags.
func (gatewayCmd) Help() string {
	return `Examples:

    lzstock gateway --listen 127.0.0.1:8080 --monitor 127.0.0.1:7000
    lzstock gateway --listen 0.0.0.0:8443 --tls-cert cert.pem --tls-key key.pem --auth keys --auth-keys keys.yaml --monitor monitor-0:7000,monitor-1:7000 --session-nats nats://nats-0:4222
    lzstock gateway --monitor dns:///monitors.internal:7000`
}

// Run runs a gateway.
func (c gatewayCmd) Run(p *process) error {
	edge, err := c.edge(c.natsFlags)
	if err != nil {
		return err
	}
	limits := c.limits()
	limits.AddressSockets = c.AddressSockets
	if limits.DrainGrace, limits.DrainWindow, err = drainTimes(c.DrainGrace, c.DrainWindow); err != nil {
		return err
	}
	edge.ReusePort = c.ReusePort
	return app.Gateway(p.ctx, p.app(), app.GatewayConfig{
		Edge: edge, Admin: c.admin(), Monitors: c.Monitor, Upstream: c.upstream(), Gateway: limits,
	})
}

func (c gatewayCmd) upstream() *upstream.TLS {
	t := upstream.TLS{CAFile: c.MonitorCa, CertFile: c.MonitorCert, KeyFile: c.MonitorKey, ServerName: c.MonitorName}
	if !c.MonitorTls && t == (upstream.TLS{}) {
		return nil
	}
	return &t
}
