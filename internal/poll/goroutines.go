package poll

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// buffer is what a goroutine reads with, on its stack.
const buffer = 512

// Goroutines is the Poller with a goroutine for each connection.
type Goroutines struct {
	tasks   errgroup.Group
	records sync.Pool // see secure
	mu      sync.Mutex
	conns   map[*stream]struct{} // nil once Run has ended
}

// NewGoroutines makes the portable Poller.
func NewGoroutines() *Goroutines { return &Goroutines{conns: map[*stream]struct{}{}} }

// stream is a connection of Goroutines.
type stream struct {
	entry
	net.Conn
	try tryWriter
	all *Goroutines
}

// Take takes a connection over.
func (g *Goroutines) Take(conn net.Conn) (Conn, error) {
	return take(conn, &g.records, func(conn net.Conn) (Conn, error) {
		tune(conn)
		return &stream{Conn: conn, try: tryWriterOf(conn), all: g}, nil
	})
}

// Start begins a goroutine that reads until the connection is closed.
func (s *stream) Start(sink Sink) {
	if !s.start(sink) {
		return
	}
	g := s.all
	g.mu.Lock()
	over := g.conns == nil
	if !over {
		g.conns[s] = struct{}{}
		g.tasks.Go(func() error {
			s.read()
			return nil
		})
	}
	g.mu.Unlock()
	if over {
		s.end(ErrClosed)
	}
}

func (s *stream) read() {
	defer s.forget()
	var buf [buffer]byte
	for {
		n, err := s.Read(buf[:])
		if n > 0 {
			s.data(buf[:n])
		}
		if errors.Is(err, net.ErrClosed) {
			err = ErrClosed
		}
		if err != nil {
			s.end(err)
			return
		}
	}
}

func (s *stream) forget() {
	s.all.mu.Lock()
	delete(s.all.conns, s)
	s.all.mu.Unlock()
}

// Offer writes what fits.
func (s *stream) Offer(p []byte) ([]byte, error) {
	n, err := s.try.TryWrite(p)
	return p[n:], err
}

// Push writes within a deadline.
func (s *stream) Push(p []byte, limit time.Duration) ([]byte, error) {
	if err := s.SetWriteDeadline(time.Now().Add(limit)); err != nil {
		return p, fmt.Errorf("write: %w", err)
	}
	n, err := s.Write(p)
	if err != nil {
		err = fmt.Errorf("write: %w", err)
	}
	return p[n:], errors.Join(err, s.SetWriteDeadline(time.Time{})) // Offer has none
}

// Close closes the connection, which frees its goroutine and whoever writes.
func (s *stream) Close() error {
	err := s.Conn.Close()
	s.end(ErrClosed)
	return err
}

// Run waits for ctx, then closes the connections that are left.
func (g *Goroutines) Run(ctx context.Context) error {
	<-ctx.Done()
	g.mu.Lock()
	left := g.conns
	g.conns = nil
	g.mu.Unlock()
	for s := range left {
		_ = s.Close()
	}
	return errors.Join(g.tasks.Wait(), context.Cause(ctx))
}
