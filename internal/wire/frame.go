package wire

import (
	"encoding/binary"
	"unicode/utf8"
)

// Opcode is the kind of a WebSocket frame.
type Opcode uint8

// The opcodes of RFC 6455.
const (
	OpContinuation Opcode = 0
	OpText         Opcode = 1
	OpBinary       Opcode = 2
	OpClose        Opcode = 8
	OpPing         Opcode = 9
	OpPong         Opcode = 10
)

// IsControl tells whether the opcode is that of a control frame.
func (o Opcode) IsControl() bool { return o&8 != 0 }

// MaxHeader is the greatest length of a server's frame header.
const MaxHeader = 10

// MaxControl is the greatest payload of a control frame.
const MaxControl = 125

const final = 0x80 // the bit of a frame that ends its message

// PutFrameHeader writes the header of an unmasked, unfragmented frame right
// before its payload: into the end of buf[:MaxHeader]. The frame is then
// buf[start:], where buf[MaxHeader:] holds the payload.
func PutFrameHeader(buf []byte, op Opcode, payload int) (start int) {
	switch {
	case payload < 126:
		start = MaxHeader - 2
		buf[start+1] = byte(payload)
	case payload < 1<<16:
		start = MaxHeader - 4
		buf[start+1] = 126
		binary.BigEndian.PutUint16(buf[start+2:], uint16(payload))
	default:
		start = 0
		buf[1] = 127
		binary.BigEndian.PutUint64(buf[2:], uint64(payload))
	}
	buf[start] = final | byte(op)
	return start
}

// AppendFrame writes a whole unmasked frame. The payload of a control frame must
// not exceed MaxControl bytes; what does is cut.
func AppendFrame(dst []byte, op Opcode, payload []byte) []byte {
	if op.IsControl() && len(payload) > MaxControl {
		payload = payload[:MaxControl]
	}
	var head [MaxHeader]byte
	start := PutFrameHeader(head[:], op, len(payload))
	dst = append(dst, head[start:]...)
	return append(dst, payload...)
}

// AppendClose writes a close frame. A text that is too long is cut between
// characters. Code 0 makes a frame without code and text.
func AppendClose(dst []byte, code uint16, text string) []byte {
	if code == 0 {
		return AppendFrame(dst, OpClose, nil)
	}
	const most = MaxControl - 2
	if len(text) > most {
		end := most
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end]
	}
	dst = append(dst, final|byte(OpClose), byte(2+len(text)))
	dst = binary.BigEndian.AppendUint16(dst, code)
	return append(dst, text...)
}

// ParseClose reads the payload of a close frame. An empty one has code 1005, as
// RFC 6455 says.
func ParseClose(payload []byte) (code uint16, text string, ok bool) {
	const none = 1005
	switch {
	case len(payload) == 0:
		return none, "", true
	case len(payload) == 1 || !utf8.Valid(payload[2:]):
		return 0, "", false
	}
	code = binary.BigEndian.Uint16(payload)
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014, code >= 3000 && code <= 4999:
		return code, string(payload[2:]), true
	}
	return 0, "", false
}

// BeginArray starts the array of messages that a frame carries.
func BeginArray(dst []byte, f Format) []byte {
	if f.Encoding() == MsgPack {
		return append(dst, mpArray32, 0, 0, 0, 0)
	}
	return append(dst, '[')
}

// EndArray ends the array that BeginArray started when dst was start bytes long,
// and that has got n messages since.
func EndArray(dst []byte, f Format, start, n int) []byte {
	if f.Encoding() == MsgPack {
		binary.BigEndian.PutUint32(dst[start+1:], uint32(n))
		return dst
	}
	return append(dst, ']')
}
