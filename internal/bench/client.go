package bench

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/lzstock/lzstock/internal/bench/scan"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// temper is how a client treats its socket.
type temper uint8

const (
	eager   temper = iota
	stalled        // reads nothing once subscribed
	dripping
)

func (t temper) group() group {
	if t == eager {
		return healthy
	}
	return slow
}

const (
	maxFrame = 16 << 20 // bytes; no gateway sends such
	maxHead  = 16 << 10 // of the answer to an upgrade
)

// stream is what one client's connection has brought so far. It reads no bytes
// itself: whoever does gives them to take.
type stream struct {
	upgraded bool
	closed   uint16 // by the server, with this code
	parts    []byte // of a message in several frames
	last     topics
}

// refusal is an upgrade that the server did not accept.
type refusal struct{ status string }

func (r *refusal) Error() string { return "the upgrade was refused with " + r.status }

// reader reads streams for one goroutine.
type reader struct {
	scanner scan.Scanner
	t       *tally
	reply   []byte // frames that the stream read last has to answer with
}

var errBadFrame = errors.New("the server sent what is no frame")

// take reads what data holds of whole frames and returns how many bytes these
// are, and how many the next frame needs in all, where its length is known.
func (r *reader) take(s *stream, of group, now int64, data []byte) (used, need int, err error) {
	r.reply = r.reply[:0]
	if !s.upgraded {
		if used, err = s.head(data); used == 0 || err != nil {
			return 0, 0, err
		}
	}
	for s.closed == 0 {
		b := data[used:]
		if len(b) < 2 {
			break
		}
		head, size := 2, int(b[1]&0x7f)
		switch {
		case size == 126 && len(b) >= 4:
			head, size = 4, int(binary.BigEndian.Uint16(b[2:]))
		case size == 127 && len(b) >= 10:
			n := binary.BigEndian.Uint64(b[2:])
			head, size = 10, int(min(n, maxFrame+1))
		case size >= 126:
			return used, 0, nil
		}
		if b[1]&0x80 != 0 || b[0]&0x70 != 0 || size > maxFrame {
			return used, 0, errBadFrame
		}
		if len(b) < head+size {
			need = head + size
			break
		}
		used += head + size
		r.t.counts[of].Bytes += uint64(head + size)
		if err := r.frame(s, of, now, b[0], b[head:head+size]); err != nil {
			return used, 0, err
		}
	}
	return used, need, nil
}

// head reads the answer to the upgrade.
func (s *stream) head(data []byte) (int, error) {
	end := bytes.Index(data, []byte("\r\n\r\n"))
	if end < 0 {
		if len(data) > maxHead {
			return 0, errors.New("the server's answer does not end")
		}
		return 0, nil
	}
	line, _, _ := bytes.Cut(data, []byte("\r\n"))
	version, status, _ := bytes.Cut(line, []byte(" "))
	if !bytes.HasPrefix(version, []byte("HTTP/1.")) {
		return 0, errors.New("the server does not speak HTTP")
	}
	if !bytes.HasPrefix(status, []byte("101")) {
		return 0, &refusal{string(status)}
	}
	s.upgraded = true
	return end + 4, nil
}

func (r *reader) frame(s *stream, of group, now int64, first byte, payload []byte) error {
	switch op := wire.Opcode(first & 0x0f); op {
	case wire.OpPing:
		r.reply = appendMasked(r.reply, wire.OpPong, payload)
	case wire.OpPong:
	case wire.OpClose:
		code, _, ok := wire.ParseClose(payload)
		if !ok {
			return errBadFrame
		}
		s.closed = code
		r.reply = appendMasked(r.reply, wire.OpClose, payload[:min(2, len(payload))])
	case wire.OpText, wire.OpContinuation:
		if first&0x80 == 0 || op == wire.OpContinuation {
			if s.parts = append(s.parts, payload...); len(s.parts) > maxFrame {
				return errBadFrame
			}
			if first&0x80 == 0 {
				return nil
			}
			payload, s.parts = s.parts, nil
		}
		r.message(s, of, now, payload)
	default:
		return fmt.Errorf("%w: opcode %d", errBadFrame, op)
	}
	return nil
}

// message counts what a message holds.
func (r *reader) message(s *stream, of group, now int64, payload []byte) {
	c := &r.t.counts[of]
	r.scanner.Frame(payload)
	var m scan.Message
	data := false
	for {
		more, err := r.scanner.Next(&m)
		if err != nil {
			c.Bad++
			return
		}
		if !more {
			break
		}
		if m.Channel == 0 {
			r.control(m.Raw)
			continue
		}
		if !data {
			data = true
			c.Frames++
		}
		last := s.last.of(m.Topic)
		if m.Snapshot {
			c.Snapshots++
			*last = m.Seq
			continue
		}
		if m.Prev != *last {
			c.Losses++
		}
		if m.Seq <= *last {
			c.Disorder++
		}
		*last = m.Seq
		c.Events++
		c.Merged += uint64(m.Merged - 1)
		if m.Channel == market.Trades || m.Channel == market.Quotes {
			record(r.t.age[of], now-m.At)
		}
	}
}

// control notes what should not come.
func (r *reader) control(raw []byte) {
	switch {
	case bytes.HasPrefix(raw, []byte(`{"T":"throttle"`)):
		r.t.throttle++
	case bytes.HasPrefix(raw, []byte(`{"T":"gap"`)):
		r.t.gaps++
	case bytes.HasPrefix(raw, []byte(`{"T":"feed"`)):
		if !bytes.Contains(raw, []byte(`"state":"live"`)) {
			r.t.stale++
		}
	case bytes.HasPrefix(raw, []byte(`{"T":"error"`)):
		list, err := wire.DecodeFrame(wire.JSON, append(append([]byte("["), raw...), ']'))
		text := "that cannot be read"
		if err == nil {
			if e, ok := list[0].(*wire.ErrorMessage); ok {
				text = strconv.Itoa(int(e.Code)) + " " + e.Code.Text()
			}
		}
		r.t.errors[text]++
	}
}

// appendMasked writes a client's frame. Its mask is all zero: that hides nothing,
// and there is nothing to hide.
func appendMasked(dst []byte, op wire.Opcode, payload []byte) []byte {
	size := len(payload)
	dst = append(dst, 0x80|byte(op))
	switch {
	case size < 126:
		dst = append(dst, 0x80|byte(size))
	case size < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 0x80|126), uint16(size))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 0x80|127), uint64(size))
	}
	dst = append(dst, 0, 0, 0, 0)
	return append(dst, payload...)
}

// topics holds the last position of each topic: a hash table, open, with a power
// of two places.
type topics struct {
	places []place
	used   int
}

type place struct{ topic, seq uint64 }

// of gives where a topic's last position stands; 0 at first.
func (t *topics) of(topic uint64) *uint64 {
	if t.used*4 >= len(t.places)*3 {
		old := t.places
		*t = topics{places: make([]place, max(16, 2*len(old)))}
		for _, p := range old {
			if p.topic != 0 {
				*t.of(p.topic) = p.seq
			}
		}
	}
	mask := uint64(len(t.places) - 1)
	for i := topic * 0x9e3779b97f4a7c15 >> 32 & mask; ; i = (i + 1) & mask {
		p := &t.places[i]
		if p.topic == topic {
			return &p.seq
		}
		if p.topic == 0 {
			t.used++
			p.topic = topic
			return &p.seq
		}
	}
}
