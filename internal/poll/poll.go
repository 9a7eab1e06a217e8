package poll

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// ErrClosed is what End brings when the poller or the connection's owner has
// ended it, and what a connection answers then.
var ErrClosed = errors.New("closed")

// Poller holds connections.
type Poller interface {
	// Take takes a connection over, which belongs to the result alone from then on,
	// also where Take fails. TLS connections need Listen.
	Take(conn net.Conn) (Conn, error)
	// Run works until ctx ends, and then ends what is left.
	Run(ctx context.Context) error
}

// Sink is who gets what a connection receives.
type Sink interface {
	// Data takes bytes, which are valid, and may be changed, until it returns.
	Data(p []byte)
	// End says why no more will come: io.EOF where the peer has finished.
	End(err error)
}

// Conn is a connection. Offer and Push are for one goroutine at a time.
type Conn interface {
	// Start begins to read. The sink may be called before Start returns, and gets
	// its End also where the connection has ended. It is called once.
	Start(sink Sink)
	// Offer writes what the connection has room for at this moment, and gives what
	// is left, for Push and nobody else: with TLS it is ciphertext. It is valid as
	// long as p is, and until the next call of Offer.
	Offer(p []byte) (rest []byte, err error)
	// Push writes what Offer left, and gives what it could not within limit; its
	// error is os.ErrDeadlineExceeded then.
	Push(rest []byte, limit time.Duration) ([]byte, error)
	// Close ends the connection and frees Push. It waits for a call of the sink
	// that is under way, and must not be called from one. It may be called more
	// than once.
	Close() error
}

// LimitSilence has the system end a connection whose peer acknowledges nothing of
// what was sent to it for so long, where the system can (Linux). It is for peers that
// have nothing to say.
func LimitSilence(c Conn, limit time.Duration) {
	if s, ok := c.(*secure); ok {
		c = s.Conn
	}
	if l, ok := c.(interface{ limitSilence(time.Duration) }); ok {
		l.limitSilence(limit)
	}
}

// entry is who gets what one connection receives. Its lock is held while the sink
// is called, which makes Close wait.
type entry struct {
	mu    sync.Mutex
	sink  Sink // nil before start
	ended bool
}

// start reports whether reading may begin. Where the connection has ended
// already, the sink is told.
func (e *entry) start(sink Sink) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sink = sink
	if e.ended {
		sink.End(ErrClosed)
	}
	return !e.ended
}

func (e *entry) data(p []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ended {
		e.sink.Data(p)
	}
}

// end reports whether it was the one to end the entry.
func (e *entry) end(err error) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended {
		return false
	}
	e.ended = true
	if e.sink != nil {
		e.sink.End(err)
	}
	return true
}
