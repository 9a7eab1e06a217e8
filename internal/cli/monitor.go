package cli

import (
	"time"

	"github.com/lzstock/lzstock/internal/app"
)

// monitorCmd is `lzstock monitor`.
type monitorCmd struct {
	Grpc         string `default:"127.0.0.1:7000" help:"Where gateways, publishers and other services connect by gRPC." placeholder:"ADDR"`
	GrpcCert     string `help:"Certificate that callers are shown, PEM; read anew when it changes. With it, they connect by TLS." placeholder:"FILE"`
	GrpcKey      string `help:"The certificate's key, PEM." placeholder:"FILE"`
	GrpcClientCa string `help:"Certificates that sign those of callers, PEM; with it, nobody else may call." placeholder:"FILE"`
	adminFlags
	DrainGrace   time.Duration `default:"2s" help:"From a stop signal, or lzstock drain, to the end of all streams: as long as load balancers take to notice." placeholder:"TIME"`
	Replica      string        `help:"Name of this monitor in logs; by default HOSTNAME:PORT." placeholder:"NAME"`
	pastFlags    `group:"The past:"`
	monitorFlags `group:"Limits:"`
	externalBus
}

// Help is shown behind the flags.
func (monitorCmd) Help() string {
	return `Examples:

    lzstock monitor --grpc 127.0.0.1:7000 --nats nats://127.0.0.1:4222
    grpcurl -plaintext 127.0.0.1:7000 list
    grpcurl -plaintext -d '{"topics":[{"channel":"CHANNEL_TRADES","symbols":["AAPL"]}]}' \
        127.0.0.1:7000 lzstock.v1.MarketMonitor/StreamPrices`
}

// Run runs a Market Monitor.
func (c monitorCmd) Run(p *process) error {
	grace, _, err := drainTimes(c.DrainGrace, 0)
	if err != nil {
		return err
	}
	kept, err := c.past()
	if err != nil {
		return err
	}
	limits, err := c.limits()
	if err != nil {
		return err
	}
	return app.Monitor(p.ctx, p.app(), app.MonitorConfig{
		GRPC: c.Grpc, TLS: app.MonitorTLS{TLS: app.TLS{CertFile: c.GrpcCert, KeyFile: c.GrpcKey}, ClientCA: c.GrpcClientCa}, Admin: c.admin(), Replica: c.Replica, Bus: c.bus(), Past: kept, Limits: limits, Grace: grace,
	})
}
