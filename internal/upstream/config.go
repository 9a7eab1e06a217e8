package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/lzstock/lzstock/internal/certs"
)

// Config configures a Client. Only Monitors has no default.
type Config struct {
	// Monitors are monitors that answer alike, each HOST:PORT, which may be written
	// dns:///HOST:PORT. A host is looked up anew before each round of attempts, and
	// each of its addresses is a monitor of its own. They are tried in random order.
	Monitors []string
	// TLS secures the connection; nil means that it is not secured.
	TLS *TLS

	// Limits bound what users may ask for.
	Limits Limits

	Linger     time.Duration // from a topic's last release to its drop; 5 s by default, for "*" 10 s at least
	Silence    time.Duration // without a message, after which the feed is stale; 750 ms by default
	Switch     time.Duration // without a message, after which another monitor is tried; 1 s by default
	Abandon    time.Duration // the same, where there is no other monitor; 3 s by default
	Down       time.Duration // without a live stream, after which the feed is down; 10 s by default
	Welcome    time.Duration // for connecting and the first message, longer after failures; 750 ms by default
	Rebalance  time.Duration // on average, after which a random monitor is taken; 15 min by default
	BackoffMin time.Duration // the first wait is at most so long; 100 ms by default
	BackoffMax time.Duration // and no wait is longer; 5 s by default

	// Dial connects; nil means TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Lookup gives the addresses of a host; nil means the system's resolver or,
	// where Dial is set, that names need none.
	Lookup func(ctx context.Context, host string) ([]string, error)
}

// TLS says whom to trust, and who we are. Its zero value trusts the system's
// certificates.
type TLS struct {
	CAFile     string // PEM; trusted in place of the system's certificates
	CertFile   string // PEM; our certificate, for a monitor that asks for it
	KeyFile    string // PEM; its key
	ServerName string // expected in the monitor's certificate; the host of its address by default
}

func (c Config) withDefaults() (Config, error) {
	var err error
	if c.Limits, err = c.Limits.withDefaults(); err != nil {
		return c, err
	}
	if len(c.Monitors) == 0 {
		return c, errors.New("upstream: no monitor is given: want at least one host:port")
	}
	for _, m := range c.Monitors {
		if host, port, err := net.SplitHostPort(strings.TrimPrefix(m, dnsScheme)); err != nil || host == "" || port == "" {
			return c, fmt.Errorf("upstream: monitor %q: want host:port or %shost:port", m, dnsScheme)
		}
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		usual time.Duration
	}{
		{"linger", &c.Linger, 5 * time.Second},
		{"silence", &c.Silence, 750 * time.Millisecond},
		{"switch", &c.Switch, time.Second},
		{"abandon", &c.Abandon, 3 * time.Second},
		{"down", &c.Down, 10 * time.Second},
		{"welcome", &c.Welcome, 750 * time.Millisecond},
		{"rebalance", &c.Rebalance, 15 * time.Minute},
		{"least backoff", &c.BackoffMin, 100 * time.Millisecond},
		{"greatest backoff", &c.BackoffMax, 5 * time.Second},
	} {
		if *d.value < 0 {
			return c, fmt.Errorf("upstream: %s is %s: want a positive time, or 0 for %s", d.name, *d.value, d.usual)
		}
		if *d.value == 0 {
			*d.value = d.usual
		}
	}
	if c.Switch < c.Silence || c.Abandon < c.Silence || c.BackoffMax < c.BackoffMin {
		return c, fmt.Errorf("upstream: switch %s and abandon %s must not be below silence %s, nor the greatest backoff %s below the least %s",
			c.Switch, c.Abandon, c.Silence, c.BackoffMax, c.BackoffMin)
	}
	return c, nil
}

// wildLinger is the linger of wildcards, at least: what they bring is dear to have again.
const wildLinger = 10 * time.Second

const (
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 5 * time.Second
	maxMessage       = 64 << 20 // snapshots of all symbols come in few messages
)

// dialOptions gives what a connection needs.
func (c *Config) dialOptions(log *slog.Logger) ([]grpc.DialOption, error) {
	creds := insecure.NewCredentials()
	if c.TLS != nil {
		config, err := c.TLS.config(log)
		if err != nil {
			return nil, fmt.Errorf("upstream: %w", err)
		}
		creds = credentials.NewTLS(config)
	}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithUserAgent("lzstock"),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
	}
	if c.Dial != nil {
		opts = append(opts, grpc.WithContextDialer(c.Dial))
	}
	return opts, nil
}

func (t *TLS) config(log *slog.Logger) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pool, err := certs.Trust(t.CAFile)
		if err != nil {
			return nil, err
		}
		c.RootCAs = pool
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, errors.New("a certificate needs its key, and a key its certificate")
	}
	if t.CertFile != "" {
		pair, err := certs.Load(t.CertFile, t.KeyFile, log)
		if err != nil {
			return nil, err
		}
		c.GetClientCertificate = pair.Client
	}
	return c, nil
}
