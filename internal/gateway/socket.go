package gateway

import (
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/poll"
	"github.com/lzstock/lzstock/internal/wire"
)

// tryWriter is a connection that can take what fits now without waiting.
type tryWriter interface {
	TryWrite(p []byte) (int, error)
}

// socket is a server's WebSocket connection as bridge.Conn.
type socket struct {
	conn   net.Conn
	try    tryWriter
	reader poll.Reader
	frames frames
	in     bridge.Inbox
	early  []byte // came with the request
	broken bool   // what comes is not read any more

	mu     sync.Mutex
	watch  poll.Watch // nil before Start
	closed bool
}

// newSocket takes over a connection after its upgrade. early is what the client
// sent behind its request.
func newSocket(conn net.Conn, early []byte, reader poll.Reader, limit int) *socket {
	return &socket{
		conn: conn, try: tryWriterOf(conn), reader: reader, frames: frames{limit: limit},
		early: append([]byte(nil), early...),
	}
}

// Start passes on what the client sends.
func (s *socket) Start(in bridge.Inbox) {
	s.in = in
	if len(s.early) > 0 {
		s.Data(s.early)
		s.early = nil
	}
	s.mu.Lock()
	var err error
	if s.closed {
		err = net.ErrClosed
	} else {
		s.watch, err = s.reader.Add(s.conn, s)
	}
	s.mu.Unlock()
	if err != nil {
		in.End(err)
	}
}

// Data reads a piece of what the client sends.
func (s *socket) Data(p []byte) {
	if s.broken {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			s.stop(&bridge.End{Reason: wire.Internal, Err: &hub.PanicError{Value: r, Stack: debug.Stack()}})
		}
	}()
	if err := s.frames.feed(p, s.in.Message); err != nil {
		end, _ := errors.AsType[*bridge.End](err)
		s.stop(end)
	}
}

func (s *socket) stop(end *bridge.End) {
	s.broken, s.frames = true, frames{}
	s.in.Broken(end)
}

// End says that nothing comes any more.
func (s *socket) End(err error) { s.in.End(err) }

// TryWrite takes what the connection takes at once.
func (s *socket) TryWrite(p []byte) (int, error) { return s.try.TryWrite(p) }

// Write takes all of p, for at most limit.
func (s *socket) Write(p []byte, limit time.Duration) (int, error) {
	if err := s.conn.SetWriteDeadline(time.Now().Add(limit)); err != nil {
		return 0, fmt.Errorf("write: %w", err)
	}
	n, err := s.conn.Write(p)
	if err != nil {
		err = fmt.Errorf("write: %w", err)
	}
	return n, errors.Join(err, s.conn.SetWriteDeadline(time.Time{})) // TryWrite has none
}

// Close closes the connection and frees whoever writes.
func (s *socket) Close() error {
	s.mu.Lock()
	watch := s.watch
	s.closed = true
	s.mu.Unlock()
	err := s.conn.Close()
	if watch != nil {
		watch.Remove()
	}
	return err
}
