package poll

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// unsent is how many bytes the kernel takes beyond what it could send already.
// Without the limit it swallows megabytes for a client that has stalled, and the
// client's mailbox conflates only behind them.
const unsent = 64 << 10

// tune sets what a client's connection needs. Go sets TCP_NODELAY itself.
func tune(conn net.Conn) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { // best effort: it works without
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent)
		})
	}
}

// limitSilence has the system end a connection.
func limitSilence(fd int, limit time.Duration) { // best effort: keepalive does it later
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(limit.Milliseconds()))
}

func (s *stream) limitSilence(limit time.Duration) {
	c, ok := s.Conn.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { limitSilence(int(fd), limit) })
	}
}
