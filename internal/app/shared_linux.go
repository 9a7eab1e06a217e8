package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// sharedPort is a listener on a port on which other processes may listen, too.
//
// The system gives each new connection to one of them, by a hash. A listener that
// is closed takes those with it that it was given and that nobody has accepted, or
// whose handshake is not over. So one that hands its port over first has the
// system give it no new ones, goes on accepting for a while, and closes then, when
// there are none. Among two listeners that is a filter of one instruction, which
// says whose turn it is: the place in the order in which they began.
type sharedPort struct {
	l     net.Listener
	raw   syscall.RawConn
	inode string   // the listener's
	older []string // those of others that were there before it
	log   *slog.Logger
}

// listenShared listens beside other processes that were started to allow it.
func listenShared(ctx context.Context, addr string, log *slog.Logger) (*sharedPort, error) {
	lc := net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) error {
		return control(c, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
	}}
	lc.SetMultipathTCP(false) // its listeners take no filter
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, sharedError(addr, err)
	}
	p := &sharedPort{l: l, log: log}
	if err := p.look(); err != nil {
		// Without it the port is shared all the same.
		log.LogAttrs(ctx, slog.LevelWarn, "a handover of the port may lose connections", slog.Any("error", err))
	}
	return p, nil
}

// look finds out who is here, and takes back what an earlier handover has left
// behind.
func (p *sharedPort) look() error {
	conn, ok := p.l.(syscall.Conn)
	if !ok {
		return errors.New("the listener is no socket")
	}
	var err error
	if p.raw, err = conn.SyscallConn(); err != nil {
		return err
	}
	var stat unix.Stat_t
	if err := control(p.raw, func(fd int) error {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0) // an error: there was none
		return unix.Fstat(fd, &stat)
	}); err != nil {
		return err
	}
	p.inode = strconv.FormatUint(stat.Ino, 10)
	p.older, err = p.others()
	return err
}

// others gives the inodes of the others that listen on the same address.
func (p *sharedPort) others() ([]string, error) {
	byAddress := map[string][]string{}
	mine := ""
	for _, name := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		lines := bufio.NewScanner(f)
		lines.Scan() // the heading
		for lines.Scan() {
			const listening = "0A"
			fields := strings.Fields(lines.Text())
			if len(fields) < 10 || fields[3] != listening {
				break // those that listen come first
			}
			at, inode := name+" "+fields[1], fields[9]
			byAddress[at] = append(byAddress[at], inode)
			if inode == p.inode {
				mine = at
			}
		}
		if err := errors.Join(lines.Err(), f.Close()); err != nil {
			return nil, err
		}
	}
	if mine == "" {
		return nil, errors.New("the system's list of listeners does not hold ours")
	}
	return slices.DeleteFunc(byAddress[mine], func(inode string) bool { return inode == p.inode }), nil
}

// handover has the other process get all new connections, and reports whether
// there is one.
func (p *sharedPort) handover(ctx context.Context) bool {
	others, err := p.others()
	switch {
	case err != nil:
		p.log.LogAttrs(ctx, slog.LevelWarn, "who else listens is not known: no handover", slog.Any("error", err))
		return false
	case len(others) == 0:
		return false
	case len(others) > 1:
		p.log.LogAttrs(ctx, slog.LevelWarn, "more than one other process listens: a connection that comes when this one closes may be lost",
			slog.Int("others", len(others)))
		return true
	}
	turn := uint32(1) // it began after us
	if slices.Contains(p.older, others[0]) {
		turn = 0
	}
	filter := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: turn}}
	if err := control(p.raw, func(fd int) error {
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &unix.SockFprog{Len: 1, Filter: &filter[0]})
	}); err != nil {
		p.log.LogAttrs(ctx, slog.LevelWarn, "new connections cannot be turned to the other process: one that comes when this one closes may be lost", slog.Any("error", err))
	}
	return true
}

// control runs f on a descriptor.
func control(c syscall.RawConn, f func(fd int) error) error {
	var failed error
	err := c.Control(func(fd uintptr) { failed = f(int(fd)) })
	return errors.Join(err, failed)
}

func sharedError(addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("--listen %s: the port is taken by a process that was started without --reuse-port, or by another user's; stop what uses it, or choose another", addr)
	}
	return fmt.Errorf("--listen %s: %w; want HOST:PORT", addr, err)
}
