package memnet

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// Conn is one end of a connection in memory. Its methods may be called from
// several goroutines.
type Conn struct {
	in, out       *pipe
	local, remote net.Addr
	closed        atomic.Bool
	onClose       func()
}

var _ net.Conn = (*Conn)(nil)

// Pair returns two connected ends without a listener.
func Pair(opts ...Option) (a, b *Conn) {
	c := newConfig(opts)
	return pair(c, tcpAddr(1), tcpAddr(2), func() {}, func() {})
}

func pair(c config, aAddr, bAddr net.Addr, aClosed, bClosed func()) (a, b *Conn) {
	ab, ba := newPipe(c.buffer), newPipe(c.buffer)
	a = &Conn{in: ba, out: ab, local: aAddr, remote: bAddr, onClose: aClosed}
	b = &Conn{in: ab, out: ba, local: bAddr, remote: aAddr, onClose: bClosed}
	return a, b
}

// Read waits for bytes from the peer. After the peer's Close or CloseWrite it
// returns what was sent before, then io.EOF.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.in.read(b)
	return n, c.fail("read", err)
}

// Write returns once all of b is in the peer's buffer, or with the number of
// bytes that are and the reason why the rest is not.
func (c *Conn) Write(b []byte) (int, error) {
	n, err := c.out.write(b, true)
	return n, c.fail("write", err)
}

// TryWrite writes what fits into the peer's buffer now, perhaps nothing, and
// never waits. A full buffer is not an error.
func (c *Conn) TryWrite(b []byte) (int, error) {
	n, err := c.out.write(b, false)
	return n, c.fail("write", err)
}

// CloseWrite tells the peer that nothing more comes; reading goes on.
func (c *Conn) CloseWrite() error {
	if c.closed.Load() {
		return c.fail("close", net.ErrClosed)
	}
	c.out.change(func() { c.out.sentAll = true })
	return nil
}

// Close ends both directions and frees blocked calls of both ends. The peer
// still reads what was sent. A second Close fails with net.ErrClosed.
func (c *Conn) Close() error {
	if !c.closed.CompareAndSwap(false, true) {
		return c.fail("close", net.ErrClosed)
	}
	c.out.change(func() {
		c.out.sentAll, c.out.wClosed = true, true
		c.out.writeEnd.stop()
	})
	c.in.change(func() {
		c.in.rClosed = true
		c.in.buf, c.in.start = nil, 0
		c.in.readEnd.stop()
	})
	c.onClose()
	return nil
}

// Stall makes this end take nothing from now on, as a frozen process does: its
// Reads wait even where bytes are there, and the peer's buffer fills. Resume
// ends it.
func (c *Conn) Stall() { c.in.change(func() { c.in.stalled = true }) }

// Resume ends a Stall.
func (c *Conn) Resume() { c.in.change(func() { c.in.stalled = false }) }

// Unread is how many bytes wait for this end's Read.
func (c *Conn) Unread() int {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return len(c.in.buf) - c.in.start
}

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline limits blocked and future Reads; zero means no limit.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if c.closed.Load() {
		return c.fail("set", net.ErrClosed)
	}
	c.in.setDeadline(&c.in.readEnd, t)
	return nil
}

// SetWriteDeadline limits blocked and future Writes; zero means no limit.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if c.closed.Load() {
		return c.fail("set", net.ErrClosed)
	}
	c.out.setDeadline(&c.out.writeEnd, t)
	return nil
}

// LocalAddr looks like a TCP address of this machine; no port is in use.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is the peer's LocalAddr.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// fail dresses an error as package net does; io.EOF stays bare.
func (c *Conn) fail(op string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return &net.OpError{Op: op, Net: "memnet", Source: c.local, Addr: c.remote, Err: err}
}
