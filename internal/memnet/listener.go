package memnet

import (
	"context"
	"net"
	"sync"
	"syscall"
)

const (
	defaultBuffer = 64 << 10
	// backlog is how many connections may wait for Accept; further ones are
	// refused.
	backlog = 16384
	// listenPort is the port that listeners pretend to have; clients count up
	// from the one after it.
	listenPort = 10000
)

type config struct {
	buffer int
}

// Option changes what Listen and Pair make.
type Option func(*config)

// WithBuffer sets how many bytes each direction holds, at least 1.
func WithBuffer(n int) Option {
	return func(c *config) { c.buffer = max(n, 1) }
}

func newConfig(opts []Option) config {
	c := config{buffer: defaultBuffer}
	for _, o := range opts {
		o(&c)
	}
	return c
}

// Listener is a net.Listener that only its own Dial and DialContext reach.
type Listener struct {
	config config

	mu      sync.Mutex
	cond    sync.Cond
	waiting []*Conn
	closed  bool
	dialed  int
	clients int
	servers int
}

var _ net.Listener = (*Listener)(nil)

// Listen opens a listener.
func Listen(opts ...Option) *Listener {
	l := &Listener{config: newConfig(opts)}
	l.cond.L = &l.mu
	return l
}

// Accept waits for the next connection; its type is *Conn. After Close it fails
// with net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.waiting) == 0 && !l.closed {
		l.cond.Wait()
	}
	if l.closed {
		return nil, &net.OpError{Op: "accept", Net: "memnet", Addr: tcpAddr(0), Err: net.ErrClosed}
	}
	c := l.waiting[0]
	l.waiting = l.waiting[1:]
	return c, nil
}

// Close refuses further connections and closes those that nobody has accepted.
// Accepted ones live on.
func (l *Listener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return &net.OpError{Op: "close", Net: "memnet", Addr: tcpAddr(0), Err: net.ErrClosed}
	}
	l.closed = true
	orphans := l.waiting
	l.waiting = nil
	l.cond.Broadcast()
	l.mu.Unlock()
	for _, c := range orphans {
		_ = c.Close() // ours alone, so it is its first Close
	}
	return nil
}

// Addr looks like a TCP address of this machine; no port is in use.
func (l *Listener) Addr() net.Addr { return tcpAddr(0) }

// Dial connects to the listener. It fails with syscall.ECONNREFUSED after Close
// and where too many connections wait for Accept.
func (l *Listener) Dial() (*Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.waiting) == backlog {
		return nil, &net.OpError{Op: "dial", Net: "memnet", Addr: tcpAddr(0), Err: syscall.ECONNREFUSED}
	}
	l.dialed++
	client, server := pair(l.config, tcpAddr(l.dialed), tcpAddr(0), l.count(&l.clients), l.count(&l.servers))
	l.clients++
	l.servers++
	l.waiting = append(l.waiting, server)
	l.cond.Signal()
	return client, nil
}

// DialContext is Dial for those who dial by address, such as http.Transport and
// websocket dialers; network and addr are ignored.
func (l *Listener) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, &net.OpError{Op: "dial", Net: "memnet", Addr: tcpAddr(0), Err: err}
	}
	c, err := l.Dial()
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Open is how many ends of connections through this listener have not been
// closed yet: those that clients dialed, and those that the server was given.
func (l *Listener) Open() (clients, servers int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.clients, l.servers
}

// count returns what an end calls when it closes.
func (l *Listener) count(n *int) func() {
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		*n--
	}
}

func tcpAddr(n int) net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: (listenPort + n) % (1 << 16)}
}
