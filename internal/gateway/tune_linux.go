package gateway

import (
	"net"

	"golang.org/x/sys/unix"
)

// unsent is how many bytes the kernel takes beyond what it could send already.
// Without the limit it swallows megabytes for a client that has stalled, and the
// client's mailbox conflates only behind them.
const unsent = 64 << 10

// tuneTCP sets what a client's connection needs. Go sets TCP_NODELAY itself.
func tuneTCP(conn *net.TCPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { // best effort: it works without
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent)
	})
}
