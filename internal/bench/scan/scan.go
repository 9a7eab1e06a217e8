package scan

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/lzstock/lzstock/market"
)

// Message is what one message of a frame says.
type Message struct {
	Channel  market.Channel // 0: a message of control
	Topic    uint64         // names channel and symbol; see Topic
	At       int64          // its source time in Unix nanoseconds; 0: none
	Seq      uint64         // q
	Prev     uint64         // pq
	Merged   uint32         // k, at least 1
	Snapshot bool           // snap
	Raw      []byte         // the message itself
}

// Topic names a channel and a symbol by a number. It is exact for symbols of up
// to seven bytes; longer ones share a number with one in 2^56.
func Topic(c market.Channel, symbol []byte) uint64 {
	const (
		exact         = 7
		long          = 0x80
		offset, prime = 14695981039346656037, 1099511628211 // FNV-1a
	)
	if len(symbol) <= exact {
		var b [8]byte
		copy(b[:], symbol)
		b[7] = byte(c)
		return binary.LittleEndian.Uint64(b[:])
	}
	h := uint64(offset)
	for _, x := range symbol {
		h = (h ^ uint64(x)) * prime
	}
	return h>>8 | uint64(long|byte(c))<<56
}

// Scanner reads the messages of one frame after another. Its zero value is ready.
type Scanner struct {
	rest   []byte
	begun  bool
	minute [len(minuteForm)]byte // that was read last
	base   int64                 // when it began
}

const minuteForm = "2006-01-02T15:04"

// Frame makes the scanner read frame next. It must not change until it is read.
func (s *Scanner) Frame(frame []byte) { s.rest, s.begun = frame, false }

var (
	errFrame = errors.New("a frame must be an array of objects")
	errShort = errors.New("the frame is not complete")
)

// Next reads the next message into m, and tells whether there was one. Where
// there was none, the frame is read.
func (s *Scanner) Next(m *Message) (bool, error) {
	b := skipSpace(s.rest)
	switch {
	case len(b) == 0:
		return false, errShort
	case !s.begun && b[0] == '[':
		s.begun = true
		if b = skipSpace(b[1:]); len(b) > 0 && b[0] == ']' {
			return false, s.end(b[1:])
		}
	case !s.begun:
		return false, errFrame
	case b[0] == ']':
		return false, s.end(b[1:])
	case b[0] == ',':
		b = skipSpace(b[1:])
	default:
		return false, errFrame
	}
	n := s.short(b, m)
	if n == 0 {
		var err error
		if n, err = s.walk(b, m); err != nil {
			return false, err
		}
	}
	m.Raw = b[:n]
	s.rest = b[n:]
	return true, nil
}

func (s *Scanner) end(b []byte) error {
	s.rest = nil
	if b = skipSpace(b); len(b) > 0 {
		return fmt.Errorf("%d more bytes after the frame's end", len(b))
	}
	return nil
}

func skipSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\n' || b[0] == '\t' || b[0] == '\r') {
		b = b[1:]
	}
	return b
}

// channelOf gives the channel of a one-letter T.
func channelOf(letter byte) market.Channel {
	switch letter {
	case 't':
		return market.Trades
	case 'q':
		return market.Quotes
	case 'b':
		return market.Bars
	case 'u':
		return market.UpdatedBars
	case 'd':
		return market.DailyBars
	case 's':
		return market.Statuses
	}
	return 0
}

// short reads a data message as the gateway writes it: T and S first, q, pq, k
// and snap last, no object and no brace inside. It returns the length, 0 where
// the message is not so.
//
// A quote within a string is escaped, so `,"t":"` is that key wherever it stands.
func (s *Scanner) short(b []byte, m *Message) int {
	const head = len(`{"T":"t","S":"`)
	if len(b) < 2*head || string(b[:6]) != `{"T":"` || string(b[7:head]) != `","S":"` {
		return 0
	}
	channel := channelOf(b[6])
	width := bytes.IndexByte(b[head:], '"')
	if channel == 0 || width <= 0 {
		return 0
	}
	symbol := b[head : head+width]
	from := head + width
	end := from + bytes.IndexByte(b[from:], '}')
	if end < from || bytes.IndexByte(b[from:end], '{') >= 0 || bytes.IndexByte(symbol, '\\') >= 0 {
		return 0
	}
	*m = Message{Channel: channel, Topic: Topic(channel, symbol), Merged: 1}
	rest := b[from:end]
	if t, ok := bytes.CutSuffix(rest, []byte(`,"snap":true`)); ok {
		rest, m.Snapshot = t, true
	}
	rest, n := number(rest)
	if t, ok := bytes.CutSuffix(rest, []byte(`,"k":`)); ok {
		m.Merged = uint32(n)
		rest, n = number(t)
	}
	rest, ok := bytes.CutSuffix(rest, []byte(`,"pq":`))
	if !ok {
		return 0
	}
	m.Prev = n
	rest, m.Seq = number(rest)
	if rest, ok = bytes.CutSuffix(rest, []byte(`,"q":`)); !ok {
		return 0
	}
	if m.At, ok = s.shortTime(rest); !ok {
		return 0
	}
	return end + 1
}

// number takes the digits from b's end.
func number(b []byte) (rest []byte, n uint64) {
	i, factor := len(b), uint64(1)
	for i > 0 && b[i-1]-'0' <= 9 {
		i--
		n += uint64(b[i]-'0') * factor
		factor *= 10
	}
	return b[:i], n
}

// shortTime finds the field t by the T that a time has, and reads it.
func (s *Scanner) shortTime(b []byte) (int64, bool) {
	const key, date = `,"t":"`, len("2006-01-02")
	for from := 0; ; {
		i := bytes.IndexByte(b[from:], 'T')
		if i < 0 {
			return 0, false
		}
		i += from
		if at := i - date - len(key); at >= 0 && string(b[at:at+len(key)]) == key {
			return s.time(b[i-date:])
		}
		from = i + 1
	}
}

// time reads a UTC time that a quotation mark ends, in the form that nearly all
// have.
func (s *Scanner) time(b []byte) (int64, bool) {
	const seconds = len(minuteForm + ":05")
	if len(b) < seconds+2 || b[seconds-3] != ':' {
		return 0, false
	}
	if string(b[:len(minuteForm)]) != string(s.minute[:]) {
		t, err := time.Parse(minuteForm, string(b[:len(minuteForm)]))
		if err != nil || t.Year() < 1678 || t.Year() > 2261 {
			return 0, false
		}
		copy(s.minute[:], b)
		s.base = t.UnixNano()
	}
	hi, lo := b[seconds-2]-'0', b[seconds-1]-'0'
	if hi > 5 || lo > 9 {
		return 0, false
	}
	at := s.base + int64(hi*10+lo)*int64(time.Second)
	i := seconds
	if b[i] == '.' {
		i++
		unit := int64(time.Second)
		for i < len(b) && b[i]-'0' <= 9 {
			unit /= 10
			at += int64(b[i]-'0') * unit
			i++
		}
		if i == seconds+1 || unit == 0 {
			return 0, false
		}
	}
	return at, i+1 < len(b) && b[i] == 'Z' && b[i+1] == '"'
}
