package bus

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// ClusterConfig makes an embedded server a node of a cluster.
type ClusterConfig struct {
	// Name is the cluster's: "lzstock" by default.
	Name string
	// Listen is HOST:PORT for the other nodes.
	Listen string
	// Routes are the addresses of all nodes for one another, HOST:PORT or
	// nats-route://HOST:PORT; this one's own may be among them. Their number is
	// how many nodes a new cluster waits for.
	Routes []string
}

// DefaultCluster is the name of a cluster that was given none.
const DefaultCluster = "lzstock"

// When a node stops, its leaders are elsewhere within a second; then its clients
// are sent away.
const (
	duckGrace = 100 * time.Millisecond
	duckTime  = 600 * time.Millisecond
)

// serverOptions gives what the server needs.
func (c EmbeddedConfig) serverOptions() (*server.Options, error) {
	opts := &server.Options{}
	if c.File != "" {
		if err := opts.ProcessConfigFile(c.File); err != nil {
			return nil, fmt.Errorf("configuration of nats-server: %w", err)
		}
	}
	opts.DontListen, opts.NoSigs, opts.JetStream, opts.DisableJetStreamBanner = true, true, true, true
	opts.MaxPayload, opts.SyncAlways = MaxPayload, opts.SyncAlways || c.Sync
	if c.Dir != "" {
		opts.StoreDir = c.Dir
	}
	if opts.ServerName = c.Name; c.Name == "" {
		opts.ServerName = defaultName
	}
	if c.MaxStore > 0 {
		opts.JetStreamMaxStore = c.MaxStore
	}
	if c.Listen != "" {
		host, port, err := address("listen address", c.Listen)
		if err != nil {
			return nil, err
		}
		opts.DontListen, opts.Host, opts.Port = false, host, port
	}
	if c.Cluster == nil {
		return opts, nil
	}
	if c.Name == "" || c.Listen == "" {
		return nil, errors.New("a node of a cluster needs a name of its own, and an address to listen on")
	}
	opts.LameDuckGracePeriod, opts.LameDuckDuration = duckGrace, duckTime
	return opts, c.Cluster.apply(&opts.Cluster, &opts.Routes)
}

func (c *ClusterConfig) apply(to *server.ClusterOpts, routes *[]*url.URL) error {
	if to.Name = c.Name; c.Name == "" {
		to.Name = DefaultCluster
	}
	var err error
	if to.Host, to.Port, err = address("cluster address", c.Listen); err != nil {
		return err
	}
	for _, r := range c.Routes {
		if !strings.Contains(r, "://") {
			r = "nats-route://" + r
		}
		u, err := url.Parse(r)
		if err != nil || u.Host == "" || u.Port() == "" {
			return fmt.Errorf("route %q: want HOST:PORT of another node", r)
		}
		*routes = append(*routes, u)
	}
	if len(*routes) == 0 {
		return errors.New("a node of a cluster needs routes: the addresses of all nodes for one another")
	}
	// The others may be later: they are tried again and again, and that is no news.
	to.ConnectRetries, to.ConnectBackoff = 1<<30, false
	return nil
}

// address reads HOST:PORT; port 0 is a free one.
func address(what, s string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, fmt.Errorf("%s %q: want HOST:PORT: %w", what, s, err)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%s %q: the port must be a number from 0 to 65535", what, s)
	}
	if n == 0 {
		return host, server.RANDOM_PORT, nil
	}
	return host, int(n), nil
}

// ClusterAddr gives the address for other nodes; empty where there are none.
func (e *Embedded) ClusterAddr() string {
	if a := e.server.ClusterAddr(); a != nil {
		return a.String()
	}
	return ""
}

// Open returns the addresses for clients and for other nodes on which nobody must
// prove who they are; nil where somebody must, or the server does not listen.
func (e *Embedded) Open() (clients, nodes net.Addr, err error) {
	v, err := e.server.Varz(nil)
	if err != nil {
		return nil, nil, fmt.Errorf("bus: %w", err)
	}
	if !v.AuthRequired && !v.TLSVerify {
		clients = e.server.Addr()
	}
	c := &e.opts.Cluster
	verified := c.TLSConfig != nil && c.TLSConfig.ClientAuth == tls.RequireAndVerifyClientCert
	if a := e.server.ClusterAddr(); a != nil && c.Username == "" && !verified {
		nodes = a
	}
	return clients, nodes, nil
}

// Broken says why the server must be closed and started anew, nil where it need
// not: it has ended, or could not write. nats-server tries no write again, also
// where there is room again.
func (e *Embedded) Broken() error {
	if !e.server.Running() || !e.server.JetStreamEnabled() {
		return errors.New("JetStream has ended: the disk may be full")
	}
	if h := e.server.Healthz(nil); strings.Contains(h.Error, "write error") {
		return errors.New(h.Error)
	}
	return nil
}

// Ready says why the server cannot do its work yet: in a cluster, because no
// leader is known, or because it has not caught up with the others.
func (e *Embedded) Ready() error {
	if err := e.Broken(); err != nil {
		return err
	}
	if h := e.server.Healthz(nil); h.Error != "" {
		return errors.New(h.Error) // "JetStream has not established contact with a meta leader", and such
	}
	return nil
}

// Room says why some bytes cannot be written into a folder.
func Room(dir string, bytes int) error {
	f, err := os.CreateTemp(dir, ".probe-")
	if err != nil {
		return fmt.Errorf("bus: %w", err)
	}
	_, err = f.Write(make([]byte, bytes))
	if err := errors.Join(err, f.Close(), os.Remove(f.Name())); err != nil {
		return fmt.Errorf("bus: no room for %d bytes: %w", bytes, err)
	}
	return nil
}

// NodeStats tells what a server does.
type NodeStats struct {
	Leader              bool // of the cluster: the one that places streams
	Clients, Routes     int
	Streams             int
	StoreUsed, StoreMax uint64 // bytes of files
}

// Stats tells what the server does.
func (e *Embedded) Stats() NodeStats {
	s := NodeStats{Leader: e.server.JetStreamIsLeader(), Clients: e.server.NumClients(), Routes: e.server.NumRoutes()}
	if j, err := e.server.Jsz(nil); err == nil && j != nil {
		s.Streams, s.StoreUsed = j.Streams, j.Store
		if j.Config.MaxStore > 0 {
			s.StoreMax = uint64(j.Config.MaxStore)
		}
	}
	return s
}
