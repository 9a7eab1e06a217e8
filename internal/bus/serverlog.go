package bus

import (
	"fmt"
	"log/slog"
	"sync/atomic"
)

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
