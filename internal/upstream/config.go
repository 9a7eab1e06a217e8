package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/lzstock/lzstock/internal/certs"
)

// Config configures a Client. Only Monitors has no default.
type Config struct {
	// Monitors are the addresses, host:port, of monitors that answer alike. The
	// first is tried first, the next one when it fails.
	Monitors []string
	// TLS secures the connection; nil means that it is not secured.
	TLS *TLS

	Linger     time.Duration // from a topic's last release to its drop; 5 s by default
	Silence    time.Duration // without a message, after which the feed is stale; 750 ms by default
	Abandon    time.Duration // without a message, after which the stream is given up; 3 s by default
	Down       time.Duration // without a live stream, after which the feed is down; 10 s by default
	Welcome    time.Duration // for connecting and the first message; 3 s by default
	BackoffMin time.Duration // the first wait is at most so long; 100 ms by default
	BackoffMax time.Duration // and no wait is longer; 5 s by default

	// Dial connects; nil means TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
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
	if len(c.Monitors) == 0 {
		return c, errors.New("upstream: no monitor is given: want at least one host:port")
	}
	for _, m := range c.Monitors {
		if host, port, err := net.SplitHostPort(m); err != nil || host == "" || port == "" {
			return c, fmt.Errorf("upstream: monitor %q: want host:port", m)
		}
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		usual time.Duration
	}{
		{"linger", &c.Linger, 5 * time.Second},
		{"silence", &c.Silence, 750 * time.Millisecond},
		{"abandon", &c.Abandon, 3 * time.Second},
		{"down", &c.Down, 10 * time.Second},
		{"welcome", &c.Welcome, 3 * time.Second},
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
	if c.Abandon < c.Silence || c.BackoffMax < c.BackoffMin {
		return c, fmt.Errorf("upstream: abandon %s must not be below silence %s, nor the greatest backoff %s below the least %s",
			c.Abandon, c.Silence, c.BackoffMax, c.BackoffMin)
	}
	return c, nil
}

const (
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 5 * time.Second
	maxMessage       = 64 << 20 // snapshots of all symbols come in few messages
)

// dialOptions gives what a connection needs, and the scheme of its target.
func (c *Config) dialOptions(log *slog.Logger) (opts []grpc.DialOption, scheme string, err error) {
	creds := insecure.NewCredentials()
	if c.TLS != nil {
		config, err := c.TLS.config(log)
		if err != nil {
			return nil, "", fmt.Errorf("upstream: %w", err)
		}
		creds = credentials.NewTLS(config)
	}
	opts = []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithUserAgent("lzstock"),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
	}
	if c.Dial != nil {
		return append(opts, grpc.WithContextDialer(c.Dial)), "passthrough:///", nil
	}
	return opts, "dns:///", nil
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
