package gateway

import (
	"encoding/binary"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/wire"
)

// Limits of what a peer may send.
const (
	maxFragments = 64  // frames a message
	maxControl   = 125 // bytes of a control frame, by RFC 6455

	// frameRate and frameBurst limit frames of all kinds, beside as many as a client may
	// send commands. Clients ping once a second at most. After a stall, all that they sent
	// for up to a minute arrives at once.
	frameRate  = 100 // a second
	frameBurst = 200 // at once
)

// frameLimits are what all sockets of a gateway have in common.
type frameLimits struct {
	message int           // bytes
	every   time.Duration // in which a client may send one more frame
	burst   time.Duration // in which as many come back as it may send at once
	begun   time.Time     // when the clocks of all budgets were at zero
}

func newFrameLimits(message, perSecond, atOnce int) *frameLimits {
	every := time.Second / time.Duration(perSecond)
	return &frameLimits{message: message, every: every, burst: every * time.Duration(atOnce), begun: time.Now()}
}

// frames takes a client's bytes as they come, in pieces of any size, and gives
// the messages in them. It holds memory only while a frame or a message is
// incomplete.
type frames struct {
	limits *frameLimits
	begun  *partial
	full   time.Duration // when the client may send as many frames at once again as ever, by the limits' clock
}

// partial is what has come of a frame and of a message.
type partial struct {
	held      []byte      // the beginning of a frame
	op        wire.Opcode // of the message that has begun; 0: none
	fragments int         // of it
	message   []byte      // of it
}

// feed reads p, which it may change, and gives each message and control frame to
// take. Its error is an *bridge.End: the peer broke the rules.
func (f *frames) feed(p []byte, take func(bridge.Message)) error {
	state := partial{}
	if f.begun != nil {
		state = *f.begun
		if len(state.held) > 0 {
			p, state.held = append(state.held, p...), nil
		}
	}
	now := time.Since(f.limits.begun)
	f.full = max(f.full, now)
	for {
		n, err := state.frame(p, f.limits.message, take)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		if f.full += f.limits.every; f.full > now+f.limits.burst {
			return broken(wire.RateLimited, "frames come faster than one in %s, and more than %d at once", f.limits.every, f.limits.burst/f.limits.every)
		}
		p = p[n:]
	}
	if len(p) == 0 && state.op == 0 {
		f.begun = nil
		return nil
	}
	state.held = append([]byte(nil), p...)
	f.begun = &state
	return nil
}

// frame reads the frame that p begins with and gives its length; 0 where it is
// not complete.
func (f *partial) frame(p []byte, limit int, take func(bridge.Message)) (int, error) {
	h, start, ok := header(p)
	if !ok {
		return 0, nil
	}
	if err := f.check(h, start, limit); err != nil {
		return 0, err
	}
	end := start + int(h.Length)
	if len(p) < end {
		return 0, nil
	}
	payload := p[start:end]
	ws.Cipher(payload, h.Mask, 0)
	op := wire.Opcode(h.OpCode)
	if op.IsControl() {
		if op == wire.OpClose {
			if err := checkClose(payload); err != nil {
				return 0, err
			}
		}
		take(bridge.Message{Op: op, Payload: payload})
		return end, nil
	}
	if f.op == 0 && h.Fin { // the usual case: nothing is copied
		return end, deliver(op, payload, take)
	}
	if f.op == 0 {
		f.op = op
	}
	f.fragments++
	f.message = append(f.message, payload...)
	if !h.Fin {
		return end, nil
	}
	op, message := f.op, f.message
	*f = partial{}
	return end, deliver(op, message, take)
}

func deliver(op wire.Opcode, payload []byte, take func(bridge.Message)) error {
	if op == wire.OpText && !utf8.Valid(payload) {
		return broken(wire.BadUTF8, "a text message is not UTF-8")
	}
	take(bridge.Message{Op: op, Payload: payload})
	return nil
}

// header reads a frame's header and gives its length; not ok where it is not
// complete.
func header(p []byte) (h ws.Header, n int, ok bool) {
	if len(p) < 2 {
		return h, 0, false
	}
	h = ws.Header{
		Fin: p[0]&0x80 != 0, Rsv: p[0] >> 4 & 7, OpCode: ws.OpCode(p[0] & 0xf),
		Masked: p[1]&0x80 != 0, Length: int64(p[1] & 0x7f),
	}
	n = 2
	switch h.Length {
	case 126:
		if len(p) < n+2 {
			return h, 0, false
		}
		h.Length = int64(binary.BigEndian.Uint16(p[n:]))
		n += 2
	case 127:
		if len(p) < n+8 {
			return h, 0, false
		}
		h.Length = int64(binary.BigEndian.Uint64(p[n:])) // negative where the first bit is set: refused
		n += 8
	}
	if h.Masked {
		if len(p) < n+4 {
			return h, 0, false
		}
		copy(h.Mask[:], p[n:])
		n += 4
	}
	return h, n, true
}

// check holds a frame's header, of size bytes, against RFC 6455 and our limits.
func (f *partial) check(h ws.Header, size, limit int) error {
	switch {
	case h.Rsv != 0:
		return broken(wire.BadFrame, "reserved bits are set, but no extension was agreed on")
	case !h.Masked:
		return broken(wire.BadFrame, "a client's frame must be masked")
	case h.OpCode.IsReserved():
		return broken(wire.BadFrame, "unknown opcode %d", h.OpCode)
	case h.Length < 0:
		return broken(wire.BadFrame, "a length's first bit is set")
	case size != ws.HeaderSize(h):
		return broken(wire.BadFrame, "a length of %d is written in more bytes than it needs", h.Length)
	case h.OpCode.IsControl() && (!h.Fin || h.Length > maxControl):
		return broken(wire.BadFrame, "a control frame must be whole and at most %d bytes", maxControl)
	case h.OpCode.IsControl():
		return nil
	case f.op == 0 && h.OpCode == ws.OpContinuation:
		return broken(wire.BadFrame, "a continuation without a beginning")
	case f.op != 0 && h.OpCode != ws.OpContinuation:
		return broken(wire.BadFrame, "a new message before the last one's end")
	case h.Length > int64(limit-len(f.message)):
		return broken(wire.TooBig, "a message is larger than %d bytes", limit)
	case f.fragments >= maxFragments:
		return broken(wire.TooBig, "a message has more than %d fragments", maxFragments)
	}
	return nil
}

// checkClose validates the payload of a close frame: nothing, or a code and
// UTF-8.
func checkClose(p []byte) error {
	if _, _, ok := wire.ParseClose(p); !ok {
		return broken(wire.BadFrame, "bad close frame")
	}
	return nil
}

func broken(reason wire.Reason, format string, args ...any) error {
	return &bridge.End{Reason: reason, Err: fmt.Errorf(format, args...)}
}
