//go:build !portable

package poll

import (
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestLimitSilence has the system know how long a peer may acknowledge nothing.
func TestLimitSilence(t *testing.T) {
	pollers(t, func(t *testing.T, s *stage) {
		t.Helper()
		_, c := s.take()
		LimitSilence(c, 60*time.Second)
		if over, ok := c.(*secure); ok {
			c = over.Conn
		}
		var got int
		var err error
		switch under := c.(type) {
		case *socket:
			got, err = unix.GetsockoptInt(under.fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		case *stream:
			raw, failed := under.Conn.(syscall.Conn).SyscallConn()
			if failed != nil {
				t.Fatal(failed)
			}
			_ = raw.Control(func(fd uintptr) { got, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) })
		}
		if err != nil || got != 60_000 {
			t.Errorf("%d ms, %v", got, err)
		}
		_ = c.Close()
		LimitSilence(c, time.Second) // nothing is left to limit
	})
}
