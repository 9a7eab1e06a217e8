package cli

import (
	"errors"
	"time"

	"github.com/lzstock/lzstock/internal/app"
	"github.com/lzstock/lzstock/internal/bus"
)

// upCmd is `lzstock up`.
type upCmd struct {
	edgeFlags
	adminFlags
	Grpc         string        `default:"auto" help:"Where publishers and other services reach the monitor by gRPC; auto is 127.0.0.1:7000 or, where that is taken, a free port." placeholder:"ADDR"`
	Source       source        `default:"sim" help:"Where prices come from: sim, sim?seed=1&symbols=100&rate=2000&halts=60, tape:FILE?speed=60&loop=true, or none to publish them yourself." placeholder:"SOURCE"`
	DrainGrace   time.Duration `default:"0s" help:"From a stop signal, or lzstock drain, to the first client that is told to move." placeholder:"TIME"`
	DrainWindow  time.Duration `default:"0s" help:"In which all sockets end then, one after the other; 0 ends them all at once, without notice." placeholder:"TIME"`
	Nats         string        `group:"Bus:" help:"External NATS servers with JetStream, separated by commas; without, the bus runs in this process." placeholder:"URL" servers:""`
	Data         string        `group:"Bus:" help:"Folder where the bus of this process keeps its events; without, they are in memory and end with it." placeholder:"DIR"`
	NatsListen   string        `group:"Bus:" help:"Where other processes reach the bus of this one, without authentication; without, they do not." placeholder:"ADDR"`
	natsFlags    `group:"Bus:"`
	pastFlags    `group:"The past:"`
	limitFlags   `group:"Limits:"`
	monitorFlags `group:"Limits:"`
}

// Help is shown behind the flags.
func (upCmd) Help() string {
	return `Examples:

    lzstock up
    lzstock up --listen 127.0.0.1:8080 --admin 127.0.0.1:9090 --source sim
    lzstock up --source 'sim?seed=7&symbols=500&rate=20000'
    lzstock up --source 'tape:ticks.csv.gz?speed=60&loop=true'
    lzstock up --source none --data ./data

Then: lzstock watch AAPL MSFT`
}

// Run runs everything in one process.
func (c upCmd) Run(p *process) error {
	if c.Nats != "" && (c.Data != "" || c.NatsListen != "") {
		return usageError{errors.New("--nats names an external bus, --data and --nats-listen belong to the one in this process; give one or the other")}
	}
	edge, err := c.edge(c.natsFlags)
	if err != nil {
		return err
	}
	limits := c.limitFlags.limits()
	limits.AddressSockets = c.AddressSockets
	if limits.DrainGrace, limits.DrainWindow, err = drainTimes(c.DrainGrace, c.DrainWindow); err != nil {
		return err
	}
	kept, err := c.past()
	if err != nil {
		return err
	}
	monitorLimits, err := c.monitorFlags.limits()
	if err != nil {
		return err
	}
	return app.Up(p.ctx, p.app(), app.UpConfig{
		Edge: edge, Admin: c.admin(), GRPC: c.Grpc, Source: c.Source.Source,
		Bus: app.BusConfig{
			NATS:     c.nats(c.Nats),
			Embedded: bus.EmbeddedConfig{Dir: c.Data, Listen: c.NatsListen},
		},
		Past:    kept,
		Limits:  monitorLimits,
		Gateway: limits,
	})
}
