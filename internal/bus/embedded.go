package bus

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
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
}

// MaxPayload is the greatest message that an embedded server takes, in bytes.
const MaxPayload = 8 << 20

// Embedded is a nats-server in this process.
type Embedded struct {
	server *server.Server
	temp   string // to be removed
	wg     sync.WaitGroup
	once   sync.Once
}

// StartEmbedded starts a server and returns when it takes connections. Close
// must be called.
func StartEmbedded(cfg EmbeddedConfig, logger *slog.Logger) (*Embedded, error) {
	opts := &server.Options{
		ServerName: "lzstock", DontListen: true, NoSigs: true, JetStream: true, StoreDir: cfg.Dir,
		MaxPayload: MaxPayload, SyncAlways: cfg.Sync, DisableJetStreamBanner: true,
	}
	if cfg.Listen != "" {
		host, port, err := net.SplitHostPort(cfg.Listen)
		if err != nil {
			return nil, fmt.Errorf("bus: listen address %q: want HOST:PORT: %w", cfg.Listen, err)
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("bus: listen address %q: the port must be a number from 0 to 65535", cfg.Listen)
		}
		opts.DontListen, opts.Host, opts.Port = false, host, int(n)
		if n == 0 {
			opts.Port = server.RANDOM_PORT
		}
	}
	e := &Embedded{}
	if cfg.Dir == "" {
		dir, err := os.MkdirTemp("", "lzstock-bus-")
		if err != nil {
			return nil, fmt.Errorf("bus: make a temporary directory: %w", err)
		}
		e.temp, opts.StoreDir = dir, dir
	} else if err := writable(cfg.Dir); err != nil {
		return nil, err
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
		return nil, errors.Join(fmt.Errorf("bus: start the embedded server: %w", err), e.Close())
	}
	if !s.JetStreamEnabled() {
		return nil, errors.Join(errors.New("bus: the embedded server came up without JetStream"), e.Close())
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

// Close stops the server and waits until all of it has ended.
func (e *Embedded) Close() error {
	var err error
	e.once.Do(func() {
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

// serverLog passes the server's words on: its own notices are details to us.
type serverLog struct {
	logger *slog.Logger
	fatal  atomic.Pointer[string]
}

// Noticef implements server.Logger.
func (l *serverLog) Noticef(format string, v ...any) {
	l.logger.Debug("nats server", text(format, v))
}

// Warnf implements server.Logger.
func (l *serverLog) Warnf(format string, v ...any) { l.logger.Warn("nats server", text(format, v)) }

// Errorf implements server.Logger.
func (l *serverLog) Errorf(format string, v ...any) { l.logger.Error("nats server", text(format, v)) }

// Fatalf implements server.Logger. The server stops by itself; the process does
// not end.
func (l *serverLog) Fatalf(format string, v ...any) {
	why := fmt.Sprintf(format, v...)
	l.fatal.CompareAndSwap(nil, &why)
	l.logger.Error("nats server", slog.String("text", why))
}

// Debugf implements server.Logger.
func (l *serverLog) Debugf(string, ...any) {}

// Tracef implements server.Logger.
func (l *serverLog) Tracef(string, ...any) {}

func text(format string, v []any) slog.Attr {
	return slog.String("text", fmt.Sprintf(format, v...))
}

func orDiscard(logger *slog.Logger) *slog.Logger {
	if logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return logger
}
