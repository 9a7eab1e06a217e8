package gateway

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/wire"
)

// Limits of what a peer may send.
const (
	maxFragments = 64      // frames a message
	readBuffer   = 512     // bytes a socket holds for reading
	keepPayload  = 4 << 10 // a larger buffer is given back after its message
	maxControl   = 125     // bytes, by RFC 6455
)

// tryWriter is a connection that can take what fits now without waiting.
type tryWriter interface {
	TryWrite(p []byte) (int, error)
}

// socket is a server's WebSocket connection as bridge.Conn.
type socket struct {
	conn      net.Conn
	try       tryWriter
	in        *bufio.Reader
	limit     int         // bytes a message
	op        wire.Opcode // of the message that has begun; 0: none
	fragments int         // of it, so far
	payload   []byte      // of it, so far
	header    [ws.MaxHeaderSize]byte
	control   [maxControl]byte
}

// newSocket takes over a connection after its upgrade. early is what the client
// sent behind its request.
func newSocket(conn net.Conn, early []byte, limit int) *socket {
	s := &socket{conn: conn, limit: limit, try: tryWriterOf(conn)}
	var src io.Reader = conn
	if len(early) > 0 {
		src = &earlyReader{early: append([]byte(nil), early...), conn: conn}
	}
	s.in = bufio.NewReaderSize(src, readBuffer)
	return s
}

// earlyReader reads what came with the request first.
type earlyReader struct {
	early []byte
	conn  net.Conn
}

func (r *earlyReader) Read(p []byte) (int, error) {
	if len(r.early) == 0 {
		return r.conn.Read(p)
	}
	n := copy(p, r.early)
	r.early = r.early[n:]
	return n, nil
}

func ends(reason wire.Reason, format string, args ...any) error {
	return &bridge.End{Reason: reason, Err: fmt.Errorf(format, args...)}
}

// Read gives the next message, put together from its fragments, or the next
// control frame, which may come between them.
func (s *socket) Read() (bridge.Message, error) {
	if s.op == 0 {
		if cap(s.payload) > keepPayload {
			s.payload = nil
		}
		s.payload, s.fragments = s.payload[:0], 0
	}
	for {
		h, err := ws.ReadHeaderBuffer(s.in, s.header[:])
		if err != nil {
			return bridge.Message{}, headerError(err)
		}
		if err := s.check(h); err != nil {
			return bridge.Message{}, err
		}
		if h.OpCode.IsControl() {
			p := s.control[:h.Length]
			if err := s.fill(p, h.Mask); err != nil {
				return bridge.Message{}, err
			}
			if h.OpCode == ws.OpClose {
				err = checkClose(p)
			}
			return bridge.Message{Op: wire.Opcode(h.OpCode), Payload: p}, err
		}
		if s.op == 0 {
			s.op = wire.Opcode(h.OpCode)
		}
		s.fragments++
		from := len(s.payload)
		s.payload = append(s.payload, make([]byte, h.Length)...)
		if err := s.fill(s.payload[from:], h.Mask); err != nil {
			return bridge.Message{}, err
		}
		if !h.Fin {
			continue
		}
		op := s.op
		s.op = 0
		if op == wire.OpText && !utf8.Valid(s.payload) {
			return bridge.Message{}, ends(wire.BadUTF8, "a text message is not UTF-8")
		}
		return bridge.Message{Op: op, Payload: s.payload}, nil
	}
}

// check holds a frame's header against RFC 6455 and our limits.
func (s *socket) check(h ws.Header) error {
	switch {
	case h.Rsv != 0:
		return ends(wire.BadFrame, "reserved bits are set, but no extension was agreed on")
	case !h.Masked:
		return ends(wire.BadFrame, "a client's frame must be masked")
	case h.OpCode.IsReserved():
		return ends(wire.BadFrame, "unknown opcode %d", h.OpCode)
	case h.OpCode.IsControl() && (!h.Fin || h.Length > maxControl):
		return ends(wire.BadFrame, "a control frame must be whole and at most %d bytes", maxControl)
	case h.OpCode.IsControl():
		return nil
	case s.op == 0 && h.OpCode == ws.OpContinuation:
		return ends(wire.BadFrame, "a continuation without a beginning")
	case s.op != 0 && h.OpCode != ws.OpContinuation:
		return ends(wire.BadFrame, "a new message before the last one's end")
	case h.Length > int64(s.limit-len(s.payload)):
		return ends(wire.TooBig, "a message is larger than %d bytes", s.limit)
	case s.fragments >= maxFragments:
		return ends(wire.TooBig, "a message has more than %d fragments", maxFragments)
	}
	return nil
}

func (s *socket) fill(p []byte, mask [4]byte) error {
	if _, err := io.ReadFull(s.in, p); err != nil {
		return fmt.Errorf("read frame: %w", err)
	}
	ws.Cipher(p, mask, 0)
	return nil
}

func headerError(err error) error {
	if errors.Is(err, ws.ErrHeaderLengthMSB) || errors.Is(err, ws.ErrHeaderLengthUnexpected) {
		return ends(wire.BadFrame, "bad frame header: %w", err)
	}
	return fmt.Errorf("read frame: %w", err)
}

// checkClose validates the payload of a close frame: nothing, or a code and
// UTF-8.
func checkClose(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if len(p) == 1 {
		return ends(wire.BadFrame, "a close frame's payload is one byte long")
	}
	code := ws.StatusCode(binary.BigEndian.Uint16(p))
	if err := ws.CheckCloseFrameData(code, string(p[2:])); err != nil {
		return ends(wire.BadFrame, "bad close frame: %w", err)
	}
	return nil
}

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

// Close closes the connection and frees whoever reads or writes.
func (s *socket) Close() error { return s.conn.Close() }
