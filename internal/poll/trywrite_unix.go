//go:build unix

package poll

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// tryWriterOf gives a way to write to conn without waiting.
func tryWriterOf(conn net.Conn) tryWriter {
	if t, ok := conn.(tryWriter); ok {
		return t
	}
	if c, ok := conn.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			return newRawWriter(raw)
		}
	}
	return never{}
}

// rawWriter offers bytes to a socket with one system call, outside the runtime's
// poller.
type rawWriter struct {
	raw   syscall.RawConn
	out   []byte
	n     int
	err   error
	offer func(fd uintptr) bool // made once: a closure a write would be an allocation
}

func newRawWriter(raw syscall.RawConn) *rawWriter {
	w := &rawWriter{raw: raw}
	w.offer = func(fd uintptr) bool {
		for {
			w.n, w.err = unix.Write(int(fd), w.out)
			if !errors.Is(w.err, unix.EINTR) {
				return true
			}
		}
	}
	return w
}

// TryWrite writes what fits. One goroutine calls it at a time.
func (w *rawWriter) TryWrite(p []byte) (int, error) {
	w.out, w.n, w.err = p, 0, nil
	err := w.raw.Write(w.offer)
	w.out = nil
	if err == nil {
		err = w.err
	}
	if errors.Is(err, unix.EAGAIN) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("write: %w", err)
	}
	return w.n, nil
}
