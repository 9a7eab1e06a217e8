package client

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/gobwas/ws"

	"github.com/lzstock/lzstock/internal/wire"
)

// maxMessage is the greatest message that the client takes.
const maxMessage = 16 << 20

// frames reads messages and control frames, and puts fragments together.
type frames struct {
	r       *bufio.Reader
	buf     []byte      // of the message that is being read
	op      wire.Opcode // of that message; OpContinuation between messages
	control [wire.MaxControl]byte
}

// next gives a whole message or a control frame, which may come between two
// fragments. The payload is valid until the next call.
func (f *frames) next() (op wire.Opcode, payload []byte, err error) {
	for {
		h, err := ws.ReadHeader(f.r)
		if err != nil {
			return 0, nil, err
		}
		op := wire.Opcode(h.OpCode)
		switch {
		case h.Masked || h.Rsv != 0:
			return 0, nil, errors.New("bad frame: it has a mask or a reserved bit")
		case op.IsControl():
			if h.Length > wire.MaxControl || !h.Fin || op > wire.OpPong {
				return 0, nil, errors.New("bad frame: a control frame that is too long, fragmented or unknown")
			}
			_, err = io.ReadFull(f.r, f.control[:h.Length])
			return op, f.control[:h.Length], err
		case op > wire.OpBinary:
			return 0, nil, fmt.Errorf("bad frame: opcode %d is not known", op)
		case (op == wire.OpContinuation) != (f.op != wire.OpContinuation):
			return 0, nil, errors.New("bad frame: fragments are in disorder")
		}
		if op != wire.OpContinuation {
			f.op, f.buf = op, f.buf[:0]
		}
		if h.Length > int64(maxMessage-len(f.buf)) {
			return 0, nil, fmt.Errorf("bad frame: a message of more than %d bytes", maxMessage)
		}
		if err := f.read(int(h.Length)); err != nil {
			return 0, nil, err
		}
		if h.Fin {
			op, f.op = f.op, wire.OpContinuation
			return op, f.buf, nil
		}
	}
}

// read appends n bytes, and takes no more memory than has really come.
func (f *frames) read(n int) error {
	const step = 64 << 10
	for n > 0 {
		have, part := len(f.buf), min(n, step)
		f.buf = slices.Grow(f.buf, part)[:have+part]
		if _, err := io.ReadFull(f.r, f.buf[have:]); err != nil {
			return err
		}
		n -= part
	}
	return nil
}

// mask gives a client's frame, which RFC 6455 wants masked.
func mask(op wire.Opcode, payload []byte) []byte {
	f := ws.NewFrame(ws.OpCode(op), true, payload)
	return ws.MustCompileFrame(ws.MaskFrame(f))
}
