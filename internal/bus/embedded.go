package bus

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// EmbeddedConfig configures a nats-server in this process. Its zero value keeps
// the data in memory and listens nowhere.
type EmbeddedConfig struct {
	// Dir is where streams in files live. Empty means a temporary one, for
	// streams in memory, which is removed at the end.
	Dir string
	// Listen is HOST:PORT to serve other processes, without authentication.
	// Empty means that only this process can connect.
	Listen string
	// Sync forces every write to the disk before it is acknowledged. Without it
	// a crash of the machine, not one of the process, may lose the newest events.
	Sync bool
	// Name is the server's, and must be its own in a cluster; "lzstock" by default.
	Name string
	// Cluster makes the server a node of a cluster; it needs Listen and Name. Nil
	// means that it stands alone.
	Cluster *ClusterConfig
	// MaxStore bounds what the streams in files take, in bytes; by default the
	// server takes up to three quarters of what the disk has free.
	MaxStore int64
	// File is a configuration file of nats-server, for what is not here: TLS,
	// accounts, authorization. What is set here wins over it.
	File string
}

// MaxPayload is the greatest message that an embedded server takes, in bytes.
const MaxPayload = 8 << 20

// Embedded is a nats-server in this process.
type Embedded struct {
	server  *server.Server
	opts    *server.Options
	cluster bool
	temp    string // to be removed
	wg      sync.WaitGroup
	once    sync.Once
}

// StartEmbedded starts a server and returns when it takes connections. Close
// must be called.
func StartEmbedded(cfg EmbeddedConfig, logger *slog.Logger) (*Embedded, error) {
	opts, err := cfg.serverOptions()
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	e := &Embedded{cluster: cfg.Cluster != nil, opts: opts}
	if cfg.Dir == "" {
		dir, err := os.MkdirTemp("", "lzstock-bus-")
		if err != nil {
			return nil, fmt.Errorf("bus: make a temporary directory: %w", err)
		}
		e.temp, opts.StoreDir = dir, dir
	} else if err := writable(cfg.Dir); err != nil {
		return nil, err
	}
	if cfg.Cluster != nil {
		electFast()
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("bus: make the embedded server: %w", err), e.removeTemp())
	}
	log := &serverLog{logger: orDiscard(logger)}
	s.SetLoggerV2(log, false, false, false)
	e.server = s
	e.wg.Go(s.Start)
	if err := ready(s, log); err != nil {
		return nil, errors.Join(fmt.Errorf("bus: start the embedded server: %w", err), e.close(false))
	}
	if !s.JetStreamEnabled() {
		return nil, errors.Join(errors.New("bus: the embedded server came up without JetStream"), e.close(false))
	}
	return e, nil
}

func ready(s *server.Server, log *serverLog) error {
	const (
		patience = 30 * time.Second // a large store is read at the start
		step     = 100 * time.Millisecond
	)
	for range patience / step {
		if s.ReadyForConnections(step) {
			return nil
		}
		if text := log.fatal.Load(); text != nil {
			return errors.New(*text)
		}
	}
	return fmt.Errorf("it was not ready within %s", patience)
}

// writable makes the directory and says what is wrong with it.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("bus: data directory: %w", err)
	}
	probe, err := os.CreateTemp(dir, ".probe-")
	if err != nil {
		return fmt.Errorf("bus: data directory %s cannot be written to: %w", dir, err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// InProcessConn connects without a network.
func (e *Embedded) InProcessConn() (net.Conn, error) { return e.server.InProcessConn() }

// URL gives the address for other processes; empty where the server does not
// listen.
func (e *Embedded) URL() string {
	if e.server.Addr() == nil {
		return ""
	}
	return e.server.ClientURL()
}

// Close stops the server and waits until all of it has ended. A node of a cluster
// hands over what it leads first, which takes a second or two.
func (e *Embedded) Close() error { return e.close(true) }

func (e *Embedded) close(politely bool) error {
	var err error
	e.once.Do(func() {
		if politely && e.cluster {
			e.server.LameDuckShutdown()
		}
		e.server.Shutdown()
		e.server.WaitForShutdown()
		e.wg.Wait()
		err = e.removeTemp()
	})
	return err
}

func (e *Embedded) removeTemp() error {
	if e.temp == "" {
		return nil
	}
	if err := os.RemoveAll(filepath.Clean(e.temp)); err != nil {
		return fmt.Errorf("bus: remove the temporary directory: %w", err)
	}
	return nil
}

func orDiscard(logger *slog.Logger) *slog.Logger {
	if logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return logger
}
