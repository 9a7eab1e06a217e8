package app

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/lzstock/lzstock/internal/bus"
	"github.com/lzstock/lzstock/internal/certs"
	"github.com/lzstock/lzstock/internal/ingest"
	"github.com/lzstock/lzstock/internal/monitor"
	"github.com/lzstock/lzstock/internal/obs"
	"github.com/lzstock/lzstock/internal/ops"
	"github.com/lzstock/lzstock/market"
)

// grpcGrace is how long calls may take to end when the process stops. Streams
// end at once; this is for calls in hand.
const grpcGrace = time.Second

// publisherSymbols is how many new symbols a publisher may bring, by default.
const publisherSymbols = 100_000

// MonitorConfig configures a Market Monitor's process.
type MonitorConfig struct {
	GRPC    string // address to serve gRPC on
	TLS     MonitorTLS
	Admin   AdminConfig
	Replica string // name in logs; empty means HOSTNAME:PORT
	Bus     BusConfig
	Past    PastConfig
	Limits  MonitorLimits
	Grace   time.Duration // from the beginning of a drain to the end of all streams
}

// PastConfig says what a monitor keeps of the past, and what the symbols are called.
type PastConfig struct {
	History  int           // how many recent events of a topic; 0 means 1,024
	BarsKeep time.Duration // how long minutes are kept; 0 means 7 days
	BarsMost int           // how many at the most; 0 means 1,000,000
	Names    map[market.Symbol]string
}

// MonitorLimits bounds what callers and publishers cost a monitor; 0 means the
// default of each.
type MonitorLimits struct {
	Symbols           int // of the feed; 200,000
	PublisherSymbols  int // new ones that a publisher brings; 100,000
	Streams           int // open at the same time; 1,024
	ConnectionStreams int // of them on one connection; 64
}

// MonitorTLS secures the gRPC services. Its zero value leaves them in the clear.
type MonitorTLS struct {
	TLS
	// ClientCA is a file with the certificates that sign those of callers, PEM;
	// with it, nobody else may call.
	ClientCA string
}

// options gives the gRPC server's credentials.
func (t MonitorTLS) options(log *slog.Logger) ([]grpc.ServerOption, error) {
	switch {
	case (t.CertFile == "") != (t.KeyFile == ""):
		return nil, errors.New("--grpc-cert and --grpc-key belong together: one of them is missing")
	case t.CertFile == "" && t.ClientCA != "":
		return nil, errors.New("--grpc-client-ca needs --grpc-cert and --grpc-key: who wants certificates must show one")
	case t.CertFile == "":
		return nil, nil
	}
	pair, err := certs.Load(t.CertFile, t.KeyFile, log)
	if err != nil {
		return nil, err
	}
	c := pair.Server("h2")
	if t.ClientCA != "" {
		if c.ClientCAs, err = certs.Trust(t.ClientCA); err != nil {
			return nil, err
		}
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return []grpc.ServerOption{grpc.Creds(credentials.NewTLS(c))}, nil
}

// Monitor runs a Market Monitor, with the Ingest service beside it, until ctx
// ends.
func Monitor(ctx context.Context, p Process, c MonitorConfig) error {
	b, err := newBuilder(p)
	if err != nil {
		return err
	}
	return b.run(ctx, func(ctx context.Context) error {
		admin, err := b.admin(ctx, c.Admin, "monitor")
		if err != nil {
			return err
		}
		l, err := listen(ctx, "grpc", c.GRPC, UsualMonitor)
		if err != nil {
			return err
		}
		b.owns(l)
		if c.TLS.ClientCA == "" {
			b.warnServices(ctx, l, "add --grpc-client-ca, with --grpc-cert and --grpc-key")
		}
		js, err := b.bus(ctx, c.Bus, "lzstock monitor")
		if err != nil {
			return err
		}
		secured, err := c.TLS.options(b.Logger)
		if err != nil {
			return err
		}
		if err := b.monitor(js, l, c.Replica, c.Past, c.Limits, c.Grace, secured...); err != nil {
			return err
		}
		return b.say("The Market Monitor serves gRPC on %s\n%s%s", l.Addr(), adminLine(admin), b.warnings())
	})
}

// warnServices warns of a gRPC listener that asks nobody.
func (b *builder) warnServices(ctx context.Context, l net.Listener, advice string) {
	b.warn(ctx, "gRPC", l.Addr(), "read all prices and publish others", advice)
}

// monitor adds a Market Monitor over the bus, and the gRPC server in front of it.
func (b *builder) monitor(js *bus.JetStream, l net.Listener, replica string, kept PastConfig, limits MonitorLimits, grace time.Duration, opts ...grpc.ServerOption) error {
	if replica == "" {
		replica = replicaName(l.Addr())
	}
	m, err := monitor.New(monitorLog{js}, monitor.Config{
		Replica: replica, Pulses: pulses(js), Logger: b.Logger, Registry: b.registry,
		History: kept.History, BarsKeep: kept.BarsKeep, BarsMost: kept.BarsMost, BarLog: js, Names: kept.Names,
		Symbols: limits.Symbols,
	})
	if err != nil {
		return err
	}
	in, err := ingest.New(ingest.Config{
		Store: ingestStore{js}, Logger: b.Logger, Registry: b.registry,
		Known: m.Symbol, Symbols: cmp.Or(limits.Symbols, monitor.DefaultSymbols), PublisherSymbols: cmp.Or(limits.PublisherSymbols, publisherSymbols),
		Beat: func(ctx context.Context, source, sender string, reason market.FeedReason) error {
			return js.Beat(ctx, bus.Pulse{Source: source, Sender: sender, Reason: reason})
		},
	})
	if err != nil {
		return err
	}
	srv := monitor.NewServer(m, monitor.ServerConfig{
		Grace:   grpcGrace,
		Streams: limits.Streams, ConnectionStreams: limits.ConnectionStreams,
		Options:  opts,
		Services: []func(grpc.ServiceRegistrar){in.Register},
	})
	b.add(part{name: "monitor", run: m.Run})
	b.add(part{name: "grpc", run: func(ctx context.Context) error {
		defer context.AfterFunc(ctx, in.Stop)()
		err := srv.Serve(ctx, l)
		in.Wait()
		return err
	}, drain: func(ctx context.Context) { srv.Drain(ctx, grace) }, within: grace})
	b.checks = append(b.checks, obs.Check{Name: "monitor", Ready: func() error {
		switch s := m.Status(); {
		case !s.Serving:
			return errors.New("it is catching up with the bus")
		case s.Feed.Reason == market.FeedBus || s.Feed.Reason == market.FeedLagging: // what a source does is the same for all replicas
			return fmt.Errorf("the feed is %s since %s: %s", s.Feed.State, s.Feed.Since.Format(time.RFC3339), s.Feed.Reason)
		}
		return nil
	}})
	b.states = append(b.states, func() []ops.State {
		s := m.Status()
		read := ops.State{Name: "place on the bus", State: "catching up", Level: levelWarn}
		if s.Serving {
			read.State, read.Level = s.Position.String(), levelOK
		}
		return []ops.State{read}
	})
	return nil
}

// monitorLog is the bus as a monitor reads it.
type monitorLog struct{ *bus.JetStream }

// Read gives the bus's messages as the monitor's.
func (l monitorLog) Read(ctx context.Context, after market.Seq) iter.Seq2[monitor.Message, error] {
	return func(yield func(monitor.Message, error) bool) {
		for m, err := range l.JetStream.Read(ctx, after) {
			if !yield(monitor.Message{Batch: m.Batch, Epoch: m.Epoch, Source: m.Source, Stored: m.Stored, Events: m.Events}, err) {
				return
			}
		}
	}
}

// pulses gives what sources say of themselves as the monitor hears it.
func pulses(js *bus.JetStream) func(context.Context, func(monitor.Pulse)) error {
	return func(ctx context.Context, f func(monitor.Pulse)) error {
		return js.Pulses(ctx, func(p bus.Pulse) { f(monitor.Pulse{Source: p.Source, Sender: p.Sender, Reason: p.Reason}) })
	}
}

// ingestStore is the bus as the Ingest service writes it.
type ingestStore struct{ *bus.JetStream }

// Publish stores a publisher's events as the bus's batch.
func (s ingestStore) Publish(ctx context.Context, source, id string, events []market.Event) (first, last market.Seq, duplicate bool, err error) {
	stored, err := s.JetStream.Publish(ctx, bus.Batch{Source: source, ID: id, Events: events})
	return stored.First, stored.Last, stored.Duplicate, err
}

// replicaName is how a monitor is called where nobody gave it a name.
func replicaName(a net.Addr) string {
	host, err := os.Hostname()
	if err != nil {
		return a.String()
	}
	if _, port, err := net.SplitHostPort(a.String()); err == nil {
		return net.JoinHostPort(host, port)
	}
	return host
}
