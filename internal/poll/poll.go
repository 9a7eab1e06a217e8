package poll

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"golang.org/x/sync/errgroup"
)

// ErrClosed is what end brings when the poller or the connection's owner has
// ended it.
var ErrClosed = errors.New("closed")

// Sink is who gets what a connection receives.
type Sink interface {
	// Data takes bytes, which are valid, and may be changed, until it returns.
	Data(p []byte)
	// End says why no more will come: io.EOF where the peer has finished.
	End(err error)
}

// Reader passes on what connections receive.
type Reader interface {
	// Add begins with a connection. Its sink may be called before Add returns.
	Add(conn net.Conn, sink Sink) (Watch, error)
	// Run works until ctx ends, and then ends what is left.
	Run(ctx context.Context) error
}

// Watch is a Reader's hold on one connection.
type Watch interface {
	// Remove ends it, with ErrClosed where it has not ended. It waits for a call
	// of the sink that is under way, and must not be called from one.
	Remove()
}

// entry is one connection. Its lock is held while its sink is called, which makes
// Remove wait.
type entry struct {
	mu    sync.Mutex
	sink  Sink
	ended bool
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
	e.sink.End(err)
	return true
}

// goroutineBuffer is what a goroutine reads with, on its stack.
const goroutineBuffer = 512

// Goroutines is the Reader with a goroutine for each connection.
type Goroutines struct {
	tasks errgroup.Group
	mu    sync.Mutex
	conns map[*goroutine]net.Conn // nil once Run has ended
}

// NewGoroutines makes the portable Reader.
func NewGoroutines() *Goroutines { return &Goroutines{conns: map[*goroutine]net.Conn{}} }

type goroutine struct {
	entry
	all *Goroutines
}

// Add begins with a connection.
func (g *Goroutines) Add(conn net.Conn, sink Sink) (Watch, error) {
	w := &goroutine{entry: entry{sink: sink}, all: g}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conns == nil {
		return nil, fmt.Errorf("read from %s: %w", conn.RemoteAddr(), ErrClosed)
	}
	g.conns[w] = conn
	g.tasks.Go(func() error {
		w.read(conn)
		return nil
	})
	return w, nil
}

func (w *goroutine) read(conn net.Conn) {
	defer w.forget()
	var buf [goroutineBuffer]byte
	for {
		n, err := conn.Read(buf[:])
		if n > 0 {
			w.data(buf[:n])
		}
		if err != nil {
			w.end(err)
			return
		}
	}
}

func (w *goroutine) forget() {
	w.all.mu.Lock()
	delete(w.all.conns, w)
	w.all.mu.Unlock()
}

// Remove ends it; the goroutine ends when the connection is closed.
func (w *goroutine) Remove() { w.end(ErrClosed) }

// Run waits for ctx, then closes the connections that are left.
func (g *Goroutines) Run(ctx context.Context) error {
	<-ctx.Done()
	g.mu.Lock()
	for w, conn := range g.conns {
		w.end(ErrClosed)
		_ = conn.Close() // frees its goroutine
	}
	g.conns = nil
	g.mu.Unlock()
	return errors.Join(g.tasks.Wait(), context.Cause(ctx))
}
