package bridge

import (
	"math/rand/v2"
	"time"

	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// How long the client of an event stream is to wait before it comes again: drawn,
// so that those who end together do not come together.
const (
	moveMost    = time.Second // where another connection is asked for
	backoffMost = 10 * time.Second
)

// frame appends a whole frame. at is where a client that has it may resume; zero:
// that is not known.
func (b *Bridge) frame(out []byte, op wire.Opcode, payload []byte, at market.Position) []byte {
	b.made++
	switch {
	case b.framing == wire.WebSocket:
		return wire.AppendFrame(out, op, payload)
	case op.IsControl():
		return wire.AppendEventPing(out)
	}
	return wire.EndEvent(append(wire.BeginEvent(out), payload...), at)
}

// begin starts a frame with an array of messages: for a WebSocket with room for the
// greatest header, then the array's beginning.
func (b *Bridge) begin(out []byte) []byte {
	if b.framing == wire.EventStream {
		return wire.BeginArray(wire.BeginEvent(out), b.format)
	}
	var room [wire.MaxHeader]byte
	return wire.BeginArray(append(out, room[:]...), b.format)
}

// complete completes the array of n messages that begin started when out was start
// bytes long, and takes it back where it holds none.
func (b *Bridge) complete(out []byte, start, n int) []byte {
	if n == 0 {
		return out[:start]
	}
	b.made++
	if b.framing == wire.EventStream { // the event is closed when its id is known
		return wire.EndArray(out, b.format, 0, n)
	}
	out = wire.EndArray(out, b.format, start+wire.MaxHeader, n)
	frame := out[start:]
	unused := wire.PutFrameHeader(frame, b.format.Opcode(), len(frame)-wire.MaxHeader)
	copy(frame, frame[unused:])
	return out[:len(out)-unused]
}

// identify completes the event of an event stream that complete left open, if there
// is one. Behind it all up to seq has been sent.
func (b *Bridge) identify(out []byte, box *mailbox.Mailbox, start int, seq market.Seq) []byte {
	if b.framing == wire.WebSocket || len(out) == start {
		return out
	}
	return wire.EndEvent(out, b.place(box, seq))
}

// settle finds out, for an event stream, whether what was sent last is where to
// resume. Browsers resume all topics there, whatever else was on its way: a topic's
// first value, or word of a gap. Where an epoch has just begun, what waits may be of
// the one before.
func (b *Bridge) settle() {
	if b.framing == wire.WebSocket {
		return
	}
	m := b.Member()
	before, epoch := b.epoch, m.Epoch()
	b.epoch = epoch
	b.sure = (before == 0 || before == epoch) && m.Settled()
}

// place gives the position that seq is, where a client that has all up to it may
// resume; zero where it may not.
func (b *Bridge) place(box *mailbox.Mailbox, seq market.Seq) market.Position {
	if !b.sure || b.epoch == 0 || seq == 0 || (seq > box.Through() && !b.Member().CatchingUp()) {
		return market.Position{}
	}
	return market.Position{Epoch: b.epoch, Seq: seq}
}

// parting gives what a connection ends with.
func (b *Bridge) parting(out []byte, r wire.Reason) []byte {
	if b.framing == wire.WebSocket {
		return wire.AppendClose(out, r.CloseCode(), r.Text())
	}
	after := rand.N(moveMost)
	if r.Advice() == wire.RetryBackoff {
		after = moveMost + rand.N(backoffMost-moveMost)
	}
	return wire.AppendEventClose(out, r, after)
}
