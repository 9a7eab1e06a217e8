package cli

import (
	"errors"

	"github.com/lzstock/lzstock/internal/app"
	"github.com/lzstock/lzstock/internal/bus"
)

// busCmd is `lzstock bus`.
type busCmd struct {
	Name          string   `default:"lzstock" help:"Name of this server: in a cluster, each needs its own." placeholder:"NAME"`
	NatsListen    string   `default:"127.0.0.1:4222" help:"Where monitors, feeds and gateways connect; without authentication, unless the configuration file has some." placeholder:"ADDR"`
	Data          string   `help:"Folder where the bus keeps its events; without, a temporary one that goes with the process." placeholder:"DIR"`
	MaxStore      byteSize `default:"0" help:"How much all streams together may take on disk; 0 is three quarters of what is free." placeholder:"SIZE"`
	Sync          bool     `help:"Force every write to the disk before it is acknowledged: slow, and only of use where all machines may lose power at once."`
	ClusterListen string   `group:"Cluster:" help:"Where the other nodes connect; without, the server stands alone." placeholder:"ADDR"`
	ClusterName   string   `group:"Cluster:" default:"lzstock" help:"Name of the cluster, the same on all nodes." placeholder:"NAME"`
	Routes        []string `group:"Cluster:" help:"Where the nodes of the cluster connect to one another: all of them, this one may be among them." placeholder:"HOST:PORT,..." servers:""`
	NatsConfig    string   `help:"Configuration file of nats-server, for TLS, users and accounts; flags win over it." placeholder:"FILE"`
	adminFlags
}

// Help is shown behind the flags.
func (busCmd) Help() string {
	return `One server of the bus: NATS with JetStream, in this binary. A cluster wants three, on three machines; it goes on while two of them live, and finds a new leader within seconds. Any other NATS server with JetStream does as well, with slower elections.

Examples:

    lzstock bus --data ./data
    lzstock bus --name a --nats-listen 10.0.0.1:4222 --data ./data --cluster-listen 10.0.0.1:6222 --routes 10.0.0.1:6222,10.0.0.2:6222,10.0.0.3:6222

Then: lzstock monitor --nats nats://10.0.0.1:4222,nats://10.0.0.2:4222,nats://10.0.0.3:4222 --replicas 3`
}

// Run runs one server of the bus.
func (c busCmd) Run(p *process) error {
	cfg := bus.EmbeddedConfig{
		Name: c.Name, Dir: c.Data, Listen: c.NatsListen, Sync: c.Sync, MaxStore: int64(c.MaxStore), File: c.NatsConfig,
	}
	switch {
	case c.ClusterListen == "" && len(c.Routes) > 0:
		return usageError{errors.New("--routes is given, but no other node could connect: add --cluster-listen")}
	case c.ClusterListen != "" && len(c.Routes) == 0:
		return usageError{errors.New("--cluster-listen is given, but no other node is named: add --routes, the cluster addresses of all nodes")}
	case c.ClusterListen != "":
		cfg.Cluster = &bus.ClusterConfig{Name: c.ClusterName, Listen: c.ClusterListen, Routes: c.Routes}
	}
	return app.Node(p.ctx, p.app(), app.NodeConfig{Admin: c.admin(), Bus: cfg})
}
