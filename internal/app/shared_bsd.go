//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// sharedPort is a listener on a port on which other processes may listen, too.
type sharedPort struct{ l net.Listener }

// listenShared listens beside other processes that were started to allow it.
func listenShared(ctx context.Context, addr string, _ *slog.Logger) (*sharedPort, error) {
	lc := net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		return errors.Join(err, failed)
	}}
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("--listen %s: %w; with --reuse-port, want HOST:PORT that only processes with it use", addr, err)
	}
	return &sharedPort{l}, nil
}

// handover reports that another process may be there: these systems do not tell.
func (p *sharedPort) handover(context.Context) bool { return true }
