package gateway

import (
	"errors"
	"runtime/debug"
	"slices"

	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/poll"
	"github.com/lzstock/lzstock/internal/wire"
)

// socket is a server's WebSocket connection as bridge.Conn.
type socket struct {
	poll.Conn
	frames frames
	in     bridge.Inbox
	broken bool   // what comes is not read any more
	extra  uint32 // bytes that came since
}

// extraMost is how many bytes may come of a peer that broke the rules, and may not have
// read yet that its connection ends, before that is cut.
const extraMost = 4 << 20

// newSocket takes over a connection after its upgrade. early is what the client
// sent behind its request.
func newSocket(conn poll.Conn, early []byte, limits *frameLimits) *socket {
	s := &socket{Conn: conn, frames: frames{limits: limits}}
	if len(early) > 0 {
		s.frames.begun = &partial{held: slices.Clone(early)}
	}
	return s
}

// Start passes on what the client sends.
func (s *socket) Start(in bridge.Inbox) {
	s.in = in
	if s.frames.begun != nil {
		s.Data(nil)
	}
	s.Conn.Start(s)
}

// Data reads a piece of what the client sends.
func (s *socket) Data(p []byte) {
	if s.broken {
		if s.extra += uint32(len(p)); s.extra > extraMost {
			s.in.Flooded()
		}
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
