package edge

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// headerTime is how long a proxy may take for its header.
const headerTime = 5 * time.Second

// ProxyListener accepts connections through proxies that say with the PROXY
// protocol, version 2, who the client is.
type ProxyListener struct {
	net.Listener

	// Refused is told which connections were closed, and why; nil means that nobody
	// is. It is set before the first Accept, and must not wait. A proxy that
	// connects and leaves without a byte, as some do to see whether we live, is no
	// refusal.
	Refused func(peer net.Addr, err error)

	from []netip.Prefix
}

// ProxyProtocol makes the connections of l carry the addresses of clients. A
// peer in from must send a header first; any other peer could say what it likes,
// and is closed before it is read.
//
// Accept does not read. The header is read by the first call of Read, RemoteAddr
// or NetConn, which waits for it: until the caller's deadline for reading, and at
// most 5 s. A connection without a good header is closed, and Read gives the
// reason as the *net.OpError that net/http expects of lost connections.
func ProxyProtocol(l net.Listener, from []netip.Prefix) *ProxyListener {
	return &ProxyListener{Listener: l, from: from}
}

// Accept waits for the next connection of a proxy.
func (l *ProxyListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if addr := addrOf(conn.RemoteAddr().String()); within(addr, l.from) {
			return &proxied{Conn: conn, refused: l.refused, read: make(chan struct{})}, nil
		}
		l.refused(conn, errors.New("it is none of the proxies that clients come through"))
	}
}

// refused tells of a connection, and closes it.
func (l *ProxyListener) refused(conn net.Conn, err error) {
	if l.Refused != nil {
		l.Refused(conn.RemoteAddr(), err)
	}
	_ = conn.Close() // nobody is left whom its error would help
}

// proxied is a connection of a ProxyListener.
type proxied struct {
	net.Conn
	refused func(net.Conn, error)

	begun  atomic.Bool
	read   chan struct{} // closed once the header is read, and then:
	client net.Addr      // nil: the peer's
	err    error

	mu     sync.Mutex
	until  time.Time // the caller's deadline
	header time.Time // the header's; zero while none is read
}

// Read reads what comes behind the header.
func (c *proxied) Read(p []byte) (int, error) {
	if c.begin(); c.err != nil {
		return 0, c.err
	}
	return c.Conn.Read(p)
}

// RemoteAddr gives the client's address, the proxy's where its header gives none.
func (c *proxied) RemoteAddr() net.Addr {
	if c.begin(); c.client != nil {
		return c.client
	}
	return c.Conn.RemoteAddr()
}

// NetConn gives the connection below, whose header has been read, to who takes it
// over.
func (c *proxied) NetConn() net.Conn {
	c.begin()
	return c.Conn
}

// CloseWrite tells the peer that nothing more comes, where the connection below
// can.
func (c *proxied) CloseWrite() error { return closeWrite(c.Conn) }

func closeWrite(conn net.Conn) error {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *proxied) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline limits Reads, and the header where that is sooner.
func (c *proxied) SetReadDeadline(t time.Time) error {
	return c.limit(func() { c.until = t })
}

// limit changes one of the two deadlines and sets the sooner one.
func (c *proxied) limit(change func()) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	sooner := c.until
	if sooner.IsZero() || (!c.header.IsZero() && c.header.Before(sooner)) {
		sooner = c.header
	}
	return c.Conn.SetReadDeadline(sooner) // sets a timer: nobody waits
}

// begin reads the header, or waits until another call has.
func (c *proxied) begin() {
	if c.begun.Swap(true) {
		<-c.read
		return
	}
	defer close(c.read)
	addr, err := c.readHeader()
	late := errors.Is(err, os.ErrDeadlineExceeded)
	switch {
	case err == nil:
		if addr.IsValid() {
			c.client = net.TCPAddrFromAddrPort(addr)
		}
	case errors.Is(err, net.ErrClosed): // by its owner
		c.err = err
	case errors.Is(err, errNothing) && !late:
		c.err = io.EOF
	default:
		if late {
			err = fmt.Errorf("the PROXY header did not come in time: %w", err)
		}
		c.err = &net.OpError{Op: "read", Net: "tcp", Source: c.LocalAddr(), Addr: c.Conn.RemoteAddr(), Err: err}
		c.refused(c.Conn, err)
	}
}

func (c *proxied) readHeader() (netip.AddrPort, error) {
	if err := c.limit(func() { c.header = time.Now().Add(headerTime) }); err != nil {
		return netip.AddrPort{}, err
	}
	addr, err := readProxyHeader(c.Conn)
	return addr, errors.Join(err, c.limit(func() { c.header = time.Time{} }))
}
