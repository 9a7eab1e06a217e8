package bus

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
)

// Config says how to reach JetStream. One of Server and URL is needed.
type Config struct {
	// Server is an embedded server to use, without a network.
	Server *Embedded
	// URL is the address of a NATS server, or several of a cluster, separated by
	// commas: nats://host:4222 or tls://host:4222.
	URL string
	// Name is shown in the server's list of connections; "lzstock" by default.
	Name string

	// At most one way to authenticate.
	CredsFile    string // a file with a JWT and a seed, as nsc writes it
	NKeySeedFile string // a file with a seed
	Token        string
	User         string
	Password     string // of User

	CAFile   string // PEM; trusted in place of the system's certificates
	CertFile string // PEM; the client's certificate
	KeyFile  string // PEM; its key

	// Stream says how the feed is stored.
	Stream StreamConfig

	// Logger and Registry may be nil.
	Logger   *slog.Logger
	Registry prometheus.Registerer
}

// Storage is where a stream lives.
type Storage uint8

// The storages.
const (
	StorageDefault Storage = iota // as it is, or files where the stream is new
	StorageFile
	StorageMemory
)

// StreamConfig says how the feed is stored. What is zero stays as it is in a
// stream that exists, and gets the default in a new one.
type StreamConfig struct {
	Name     string        // "MD" by default
	Storage  Storage       // files by default; cannot be changed later
	MaxAge   time.Duration // how long a batch is held; 24 h by default
	MaxBytes int64         // how much is held; 2 GiB in files, 256 MiB in memory by default
	Replicas int           // in a cluster; 1 by default
}

// Defaults of StreamConfig.
const (
	DefaultStream         = "MD"
	DefaultMaxAge         = 24 * time.Hour
	DefaultMaxBytesFile   = 2 << 30
	DefaultMaxBytesMemory = 256 << 20
)

func (c *StreamConfig) validate() error {
	if c.Name == "" {
		c.Name = DefaultStream
	}
	if err := ValidateSource(c.Name); err != nil {
		return fmt.Errorf("stream name: %w", err)
	}
	switch {
	case c.Storage > StorageMemory:
		return fmt.Errorf("stream storage %d does not exist", c.Storage)
	case c.MaxAge < 0 || (c.MaxAge > 0 && c.MaxAge < time.Second):
		return fmt.Errorf("stream age limit %s: want at least 1s, or 0 for the default", c.MaxAge)
	case c.MaxBytes < 0:
		return fmt.Errorf("stream byte limit %d: want a positive number, or 0 for the default", c.MaxBytes)
	case c.Replicas < 0 || c.Replicas > 5:
		return fmt.Errorf("stream replicas %d: want 1 to 5, or 0 for the default", c.Replicas)
	}
	return nil
}

const (
	defaultName    = "lzstock"
	connectTimeout = 3 * time.Second
	reconnectWait  = 100 * time.Millisecond
	reconnectMost  = 2 * time.Second
	pingEvery      = time.Second // a server that is frozen is left after three
	pingsOut       = 2
)

// options gives what nats.go needs. Nothing is buffered while the connection is
// down: a publish fails at once and is repeated by us, in order.
func (c *Config) options() ([]nats.Option, error) {
	if (c.Server == nil) == (c.URL == "") {
		return nil, errors.New("exactly one of an embedded server and a URL is needed")
	}
	if c.Name == "" {
		c.Name = defaultName
	}
	opts := []nats.Option{
		nats.Name(c.Name), nats.Timeout(connectTimeout), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1),
		nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(pingsOut), nats.CustomReconnectDelay(reconnectDelay),
	}
	if c.Server != nil {
		opts = append(opts, nats.InProcessServer(c.Server))
	}
	auth, err := c.authentication()
	if err != nil {
		return nil, err
	}
	opts = append(opts, auth...)
	if c.CAFile != "" {
		opts = append(opts, nats.RootCAs(c.CAFile))
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		return nil, errors.New("a client certificate needs its key, and a key its certificate")
	}
	if c.CertFile != "" {
		opts = append(opts, nats.ClientCert(c.CertFile, c.KeyFile))
	}
	return opts, nil
}

func (c *Config) authentication() ([]nats.Option, error) {
	var opts []nats.Option
	if c.CredsFile != "" {
		opts = append(opts, nats.UserCredentials(c.CredsFile))
	}
	if c.NKeySeedFile != "" {
		opt, err := nats.NkeyOptionFromSeed(c.NKeySeedFile)
		if err != nil {
			return nil, fmt.Errorf("nkey seed: %w", err)
		}
		opts = append(opts, opt)
	}
	if c.Token != "" {
		opts = append(opts, nats.Token(c.Token))
	}
	switch {
	case c.User != "":
		opts = append(opts, nats.UserInfo(c.User, c.Password))
	case c.Password != "":
		return nil, errors.New("a password needs its user")
	}
	if len(opts) > 1 {
		return nil, errors.New("more than one way to authenticate is set: choose one of credentials file, nkey, token and user")
	}
	return opts, nil
}

func reconnectDelay(attempts int) time.Duration {
	return jitter(min(reconnectMost, reconnectWait<<min(attempts, 8)))
}
