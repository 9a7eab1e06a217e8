package cli

import (
	"fmt"
	"time"

	"github.com/lzstock/lzstock/internal/app"
	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/bus"
	"github.com/lzstock/lzstock/internal/gateway"
	"github.com/lzstock/lzstock/internal/names"
	"github.com/lzstock/lzstock/internal/session"
)

// adminFlags are the flags of every process that serves.
type adminFlags struct {
	Admin string `default:"auto" help:"Where operators look: /metrics, /healthz, /readyz, /debug/pprof; auto is 127.0.0.1:9090 or, where that is taken, a free port; off is none." placeholder:"ADDR"`

	AdminHosts []string `help:"Host names that the admin listener answers for, beside its own: example.com, *.example.com, or * for all. On loopback its own are localhost and loopback's addresses, elsewhere all IP addresses and names without a dot." placeholder:"HOST,..."`
}

func (f adminFlags) admin() app.AdminConfig {
	return app.AdminConfig{Listen: f.Admin, Hosts: f.AdminHosts}
}

// natsFlags say how to reach an external bus.
type natsFlags struct {
	NatsCreds    string        `help:"NATS: file with a JWT and a seed, as nsc writes it."                     placeholder:"FILE"`
	NatsNkey     string        `help:"NATS: file with an nkey's seed."                                         placeholder:"FILE"`
	NatsToken    string        `help:"NATS: token."                                                            placeholder:"TOKEN"    secret:""`
	NatsUser     string        `help:"NATS: user."                                                             placeholder:"USER"`
	NatsPassword string        `help:"NATS: the user's password."                                              placeholder:"PASSWORD" secret:""`
	NatsCa       string        `help:"NATS: certificates to trust in place of the system's, PEM."              placeholder:"FILE"`
	NatsCert     string        `help:"NATS: this client's certificate, PEM."                                   placeholder:"FILE"`
	NatsKey      string        `help:"NATS: its key, PEM."                                                     placeholder:"FILE"`
	KeepAge      time.Duration `help:"How long the bus keeps events; 0 leaves it as it is, 24h where new."     default:"0s" placeholder:"TIME"`
	KeepBytes    byteSize      `help:"How much the bus keeps; 0 leaves it as it is, 2GiB (in memory 256MiB) where new." default:"0" placeholder:"SIZE"`
	KeepCopies   int           `help:"How many servers of a NATS cluster keep the events, the checkpoints and the sessions: 3 survives the loss of one; 0 leaves it as it is, 1 where new. --replicas is the same." default:"0" placeholder:"N" aliases:"replicas"`
}

func (f natsFlags) nats(url string) bus.Config {
	return bus.Config{
		URL:       url,
		CredsFile: f.NatsCreds, NKeySeedFile: f.NatsNkey, Token: f.NatsToken, User: f.NatsUser, Password: f.NatsPassword,
		CAFile: f.NatsCa, CertFile: f.NatsCert, KeyFile: f.NatsKey,
		Stream: bus.StreamConfig{MaxAge: f.KeepAge, MaxBytes: int64(f.KeepBytes), Replicas: f.KeepCopies},
	}
}

// externalBus are the flags of those that need a bus of others.
type externalBus struct {
	Nats      string `default:"nats://127.0.0.1:4222" group:"Bus:" help:"NATS servers with JetStream, separated by commas." placeholder:"URL" servers:""`
	natsFlags `group:"Bus:"`
}

func (f externalBus) bus() app.BusConfig { return app.BusConfig{NATS: f.nats(f.Nats)} }

// pastFlags are the flags of those that keep what has been.
type pastFlags struct {
	TopicHistory int           `default:"1024" help:"How many recent events of a topic are kept for gateways that come back, of about 150 bytes: as many as a busy one has in some seconds." placeholder:"N"`
	BarsKeep     time.Duration `default:"168h"    help:"How long minute bars are kept, by the feed's own time, in whole days."       placeholder:"TIME"`
	BarsMost     int           `default:"1000000" help:"Greatest number of minute bars that are kept, of about 140 bytes; the oldest day goes." placeholder:"N"`
	Names        string        `help:"File with the names of symbols: CSV with the columns symbol,name. Read at the start."          placeholder:"FILE"`
}

func (f pastFlags) past() (app.PastConfig, error) {
	if f.TopicHistory < 1 {
		return app.PastConfig{}, usageError{fmt.Errorf("--topic-history %d: want a positive number", f.TopicHistory)}
	}
	if f.BarsKeep < time.Hour || f.BarsMost < 1 {
		return app.PastConfig{}, usageError{fmt.Errorf("--bars-keep %v, --bars-most %d: want an hour or more, and a positive number", f.BarsKeep, f.BarsMost)}
	}
	c := app.PastConfig{History: f.TopicHistory, BarsKeep: f.BarsKeep, BarsMost: f.BarsMost}
	if f.Names == "" {
		return c, nil
	}
	var err error
	if c.Names, err = names.File(f.Names); err != nil {
		return app.PastConfig{}, fmt.Errorf("--names: %w", err)
	}
	return c, nil
}

// monitorFlags are the limits of those that serve gRPC.
type monitorFlags struct {
	SymbolsMost       int `default:"200000" help:"Greatest number of symbols of the feed, of about 1.3 KB; new ones beyond it are refused, and left out. All monitors of a feed need the same." placeholder:"N"`
	PublisherSymbols  int `default:"100000" help:"Greatest number of new symbols that one publisher brings."                placeholder:"N"`
	MaxStreams        int `default:"256"    help:"Greatest number of gRPC streams."                                         placeholder:"N"`
	ConnectionStreams int `default:"16"    help:"Greatest number of gRPC streams of one connection."                       placeholder:"N"`
}

func (f monitorFlags) limits() (app.MonitorLimits, error) {
	if f.SymbolsMost < 1 || f.PublisherSymbols < 1 || f.MaxStreams < 1 || f.ConnectionStreams < 1 {
		return app.MonitorLimits{}, usageError{fmt.Errorf("--symbols-most %d, --publisher-symbols %d, --max-streams %d, --connection-streams %d: want positive numbers",
			f.SymbolsMost, f.PublisherSymbols, f.MaxStreams, f.ConnectionStreams)}
	}
	return app.MonitorLimits{
		Symbols: f.SymbolsMost, PublisherSymbols: f.PublisherSymbols, Streams: f.MaxStreams, ConnectionStreams: f.ConnectionStreams,
	}, nil
}

// edgeFlags are the flags of those that clients connect to.
type edgeFlags struct {
	Listen  string `default:"127.0.0.1:8080" help:"Where clients connect." placeholder:"ADDR"`
	TlsCert string `help:"Certificate that clients are shown, PEM, with those between it and its root; read anew when it changes. With it, clients connect by wss." placeholder:"FILE"`
	TlsKey  string `help:"The certificate's key, PEM." placeholder:"FILE"`

	Dashboard bool `default:"true" negatable:"" help:"Serve the page at /, which shows live prices; --no-dashboard leaves it out."`

	authFlags       `group:"Clients:"`
	InsecureOpen    bool            `group:"Clients:" help:"Ask nobody for credentials, also where other machines reach the address."`
	Origins         []string        `group:"Clients:" help:"Origins of web pages that may connect, beside the gateway's own: https://app.example.com, https://*.example.com, null, or * for all." placeholder:"ORIGIN,..."`
	Hosts           []string        `group:"Clients:" help:"Host names that the gateway answers for, beside localhost; with it, no others are answered. Without, only a gateway on loopback that asks nobody is so strict." placeholder:"HOST,..."`
	TrustedProxies  []string        `group:"Clients:" help:"Addresses or networks of proxies that are believed when they say who the client is (Forwarded, X-Forwarded-For)." placeholder:"ADDR,..."`
	ProxyProtocol   bool            `group:"Clients:" help:"The trusted proxies speak the PROXY protocol, version 2; nobody else may connect."`
	UserSockets     int             `group:"Clients:" default:"-1" help:"Greatest number of sockets of a user, the newest win; 0 is no limit, -1 is 5 where clients say who they are." placeholder:"N"`
	AddressRate     int             `group:"Clients:" default:"-1" help:"Requests that an address may send a second; 0 is no limit, -1 is 20 where clients say who they are." placeholder:"N"`
	UserRate        int             `group:"Clients:" default:"-1" help:"REST calls for prices that a user may send a second; 0 is no limit, -1 is 20 where clients say who they are." placeholder:"N"`
	UserTopics      int             `group:"Clients:" default:"-1" help:"Topics that a user may subscribe to a second by commands about 4,096 or more, a wildcard being as many as there are, and those of a minute at once; 0 is no limit, -1 is 5,000 where clients say who they are." placeholder:"N"`
	MaxTopics       int             `group:"Clients:" default:"200000" help:"Greatest number of topics, each a channel of a symbol, that a monitor is asked for; a user may have a quarter of it." placeholder:"N"`
	AddressConnects int             `group:"Clients:" default:"-1" help:"Connections that an address may open a second; more are closed unread. 0 is no limit, -1 is twice the address rate where clients say who they are." placeholder:"N"`
	AddressWaiting  int             `group:"Clients:" default:"-1" help:"Greatest number of connections of an address that are no sockets yet; 0 is no limit, -1 is 64 where clients say who they are." placeholder:"N"`
	MaxWaiting      int             `group:"Clients:" default:"4096" help:"Greatest number of connections that are no sockets yet, the newest win; 0 is no limit." placeholder:"N"`
	AddressSockets  int             `group:"Clients:" default:"0" help:"Greatest number of sockets of an address; 0 is no limit." placeholder:"N"`
	UserSessions    int             `group:"Clients:" default:"0" help:"Greatest number of sessions of a user; 0 is 16." placeholder:"N"`
	MaxSessions     int             `group:"Clients:" default:"0" help:"Greatest number of sessions; 0 is 100,000." placeholder:"N"`
	SessionBytes    byteSize        `group:"Clients:" default:"128MiB" help:"Greatest memory of all sessions." placeholder:"SIZE" name:"max-session-bytes"`
	UserBytes       byteSize        `group:"Clients:" default:"1MiB" help:"Greatest memory of a user's sessions, or of an address's where nobody says who they are." placeholder:"SIZE" name:"user-session-bytes"`
	Delayed         []time.Duration `group:"Clients:" help:"How late prices are for those whose credentials say so, such as 15m; what waits so long takes memory." placeholder:"TIME,..."`
	SessionNats     string          `group:"Clients:" help:"NATS servers that keep the sessions of several gateways, reached with the NATS flags; without, they are in memory and end with this process." placeholder:"URL" servers:""`
}

// edge makes the edge's configuration; nats says how to reach the sessions' store.
func (f edgeFlags) edge(nats natsFlags) (app.EdgeConfig, error) {
	a, err := f.config()
	if err != nil {
		return app.EdgeConfig{}, usageError{err}
	}
	return app.EdgeConfig{
		Listen: f.Listen, TLS: app.TLS{CertFile: f.TlsCert, KeyFile: f.TlsKey}, Auth: a, InsecureOpen: f.InsecureOpen,
		Proxies: f.TrustedProxies, ProxyProtocol: f.ProxyProtocol, Origins: f.Origins, Hosts: f.Hosts,
		Sessions:   session.Config{PerUser: f.UserSessions, Total: f.MaxSessions, UserBytes: int(f.UserBytes), TotalBytes: int(f.SessionBytes)},
		SessionBus: nats.nats(f.SessionNats), UserSockets: f.UserSockets, Opens: f.AddressRate, Requests: f.UserRate, UserTopics: f.UserTopics, Topics: f.MaxTopics, Delayed: f.Delayed,
		Dashboard: f.Dashboard,
		Waiting:   f.MaxWaiting, AddressWaiting: f.AddressWaiting, Connects: f.AddressConnects,
	}, nil
}

// limitFlags are the gateway's limits.
type limitFlags struct {
	MaxConnections int           `default:"0"     help:"Greatest number of sockets; 0 is no limit."                                   placeholder:"N"`
	MaxSymbols     int           `default:"1024"  help:"Greatest number of symbols of one socket."                                    placeholder:"N"`
	TopicRate      int           `default:"1000"  help:"Topics that a socket may subscribe to a second, and those of 5 s at once." placeholder:"N"`
	MaxMessage     byteSize      `default:"16KiB" help:"Greatest message from a client."                                              placeholder:"SIZE"`
	CommandRate    int           `default:"10"    help:"Commands that a client may send a second, a long one counting as one more for each 2 KiB."                                  placeholder:"N"`
	CommandBurst   int           `default:"20"    help:"Commands that a client may send at once."                                     placeholder:"N"`
	MaxAge         time.Duration `default:"24h"   help:"Age at which a socket is closed, a fifth more or less; its client is told before, and moves. 0 is never." placeholder:"TIME"`
	PingEvery      time.Duration `default:"20s"   help:"Time between WebSocket pings."                                                placeholder:"TIME"`
	PeerTimeout    time.Duration `default:"60s"   help:"A client that is silent for so long is gone."                                 placeholder:"TIME"`
	HeartbeatEvery time.Duration `default:"15s"   help:"Time between heartbeats in the native protocol, where no data flows."         placeholder:"TIME"`
	AdaptiveQueue  int           `default:"256"   help:"Events that wait for a slow client before adaptive delivery merges."          placeholder:"N"`
	EveryQueue     int           `default:"65536" help:"Events that wait for a slow client before every-event delivery ends."         placeholder:"N"`
	QueueAge       time.Duration `default:"10s"   help:"A client whose oldest waiting event is older is too slow."                    placeholder:"TIME"`
	WriteStall     time.Duration `default:"5s"    help:"A client that takes no byte for so long is too slow."                         placeholder:"TIME"`
	DownLimit      time.Duration `default:"0s"    help:"Sockets are closed when the feed has been down for so long; 0 is never."      placeholder:"TIME"`
	FeedNames      []string      `default:"iex,sip,test" help:"Names that /v2/{feed} answers to."                                     placeholder:"NAME"`
}

func (f limitFlags) limits() gateway.Config {
	return gateway.Config{
		Bridge: bridge.Config{
			PingEvery: f.PingEvery, PeerTimeout: f.PeerTimeout, HeartbeatEvery: f.HeartbeatEvery,
			MaxAge: f.MaxAge, QueueAge: f.QueueAge, WriteStall: f.WriteStall, DownLimit: f.DownLimit,
		},
		Feeds: f.FeedNames, MessageBytes: int(f.MaxMessage), Symbols: f.MaxSymbols,
		CommandRate: f.CommandRate, CommandBurst: f.CommandBurst, TopicRate: f.TopicRate, Connections: f.MaxConnections,
		AdaptiveQ: f.AdaptiveQueue, EveryQ: f.EveryQueue,
	}
}
