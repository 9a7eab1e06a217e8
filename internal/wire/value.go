package wire

import (
	"errors"
	"fmt"
	"time"

	"github.com/lzstock/lzstock/market"
)

// value is one encoded value: its bytes, which scan has found to be well formed.
// Commands and messages are read through it, so that there is one reader for both
// encodings.
type value struct {
	enc Encoding
	raw []byte
}

// errType is that of a value that is not what is wanted.
func (v value) errType(want string) error {
	const most = 40
	if v.enc == MsgPack {
		return fmt.Errorf("want %s, got a value that starts with byte %#x", want, v.raw[0])
	}
	if len(v.raw) > most {
		return fmt.Errorf("want %s, got %s…", want, v.raw[:most])
	}
	return fmt.Errorf("want %s, got %s", want, v.raw)
}

// parse checks that b is exactly one well-formed value.
func parse(enc Encoding, b []byte) (value, error) {
	s := scanner{enc: enc, b: b}
	v, err := s.next()
	if err != nil {
		return value{}, err
	}
	if s.space(); s.i != len(b) {
		return value{}, fmt.Errorf("%d more bytes after the end of the message", len(b)-s.i)
	}
	return v, nil
}

// scanner walks over encoded bytes.
type scanner struct {
	enc Encoding
	b   []byte
	i   int
}

var errShort = errors.New("the message is not complete")

func (s *scanner) skip(depth int) error {
	if s.enc == MsgPack {
		return s.skipPack(depth)
	}
	return s.skipJSON(depth)
}

// next checks one value and takes it.
func (s *scanner) next() (value, error) {
	s.space()
	start := s.i
	if err := s.skip(maxDepth); err != nil {
		return value{}, err
	}
	return value{s.enc, s.b[start:s.i]}, nil
}

// fields calls f with each field of the object v.
func (v value) fields(f func(key string, v value) error) error {
	s := scanner{enc: v.enc, b: v.raw}
	n, ok := s.openObject()
	if !ok {
		return v.errType("an object")
	}
	for s.more('}', n) {
		k, err := s.next()
		if err != nil {
			return err
		}
		key, err := k.text()
		if err != nil {
			return err
		}
		s.colon()
		val, err := s.next()
		if err != nil {
			return err
		}
		if err := f(key, val); err != nil {
			return err
		}
		n--
	}
	return nil
}

// elements calls f with each element of the array v.
func (v value) elements(f func(v value) error) error {
	s := scanner{enc: v.enc, b: v.raw}
	n, ok := s.openArray()
	if !ok {
		return v.errType("an array")
	}
	for s.more(']', n) {
		val, err := s.next()
		if err != nil {
			return err
		}
		if err := f(val); err != nil {
			return err
		}
		n--
	}
	return nil
}

func (v value) isNull() bool {
	if v.enc == MsgPack {
		return v.raw[0] == mpNil
	}
	return v.raw[0] == 'n'
}

func (v value) isObject() bool {
	s := scanner{enc: v.enc, b: v.raw}
	_, ok := s.openObject()
	return ok
}

// text reads a string.
func (v value) text() (string, error) {
	if v.enc == MsgPack {
		return v.packText()
	}
	return v.jsonText()
}

// uint reads a whole number that is not negative.
func (v value) uint() (uint64, error) {
	if v.enc == MsgPack {
		return v.packUint()
	}
	return v.jsonUint()
}

// int reads a whole number.
func (v value) int() (int64, error) {
	if v.enc == MsgPack {
		return v.packInt()
	}
	return v.jsonInt()
}

func (v value) truth() (bool, error) {
	if v.enc == MsgPack {
		switch v.raw[0] {
		case mpTrue, mpFalse:
			return v.raw[0] == mpTrue, nil
		}
	} else {
		switch v.raw[0] {
		case 't', 'f':
			return v.raw[0] == 't', nil
		}
	}
	return false, v.errType("true or false")
}

func (v value) time() (time.Time, error) {
	if v.enc == MsgPack {
		return v.packTime()
	}
	s, err := v.jsonText()
	if err != nil {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("bad time: %w", err)
	}
	return t.UTC(), nil
}

func (v value) price() (market.Price, error) {
	if v.enc == MsgPack {
		return v.packPrice()
	}
	return market.ParsePrice(v.raw)
}

func (v value) size() (market.Size, error) {
	if v.enc == MsgPack {
		p, err := v.packPrice()
		if err == nil && p < 0 {
			return 0, errors.New("a size cannot be negative")
		}
		return market.Size(p), err
	}
	return market.ParseSize(v.raw)
}

// strings reads an array of strings; null stands for an empty one.
func (v value) strings() ([]string, error) {
	if v.isNull() {
		return nil, nil
	}
	var list []string
	err := v.elements(func(v value) error {
		s, err := v.text()
		list = append(list, s)
		return err
	})
	return list, err
}
