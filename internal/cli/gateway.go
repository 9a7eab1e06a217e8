package cli

import "github.com/lzstock/lzstock/internal/app"

// gatewayCmd is `lzstock gateway`.
type gatewayCmd struct {
	edgeFlags
	adminFlags
	Monitor    []string `default:"127.0.0.1:7000" help:"Monitors to get prices from; where one fails, the next is tried." placeholder:"HOST:PORT"`
	limitFlags `group:"Limits:"`
}

// Help is shown behind the flags.
func (gatewayCmd) Help() string {
	return `Examples:

    lzstock gateway --listen 127.0.0.1:8080 --monitor 127.0.0.1:7000
    lzstock gateway --listen 0.0.0.0:8080 --monitor monitor-0:7000,monitor-1:7000`
}

// Run runs a gateway.
func (c gatewayCmd) Run(p *process) error {
	return app.Gateway(p.ctx, p.app(), app.GatewayConfig{
		Listen: c.Listen, TLS: c.tls(), Admin: c.Admin, Monitors: c.Monitor, Gateway: c.limits(),
	})
}
