package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/lzstock/lzstock/market"
)

// packHead reads what stands before a value's content: the number of bytes of the
// head, that of the content, and how many values follow in an array or map.
func packHead(b []byte) (head, content, values int, err error) {
	length := func(n int) int { // a big-endian length of n bytes behind the first
		if len(b) < 1+n {
			err = errShort
			return 0
		}
		l := 0
		for _, c := range b[1 : 1+n] {
			l = l<<8 | int(c)
		}
		return l
	}
	if len(b) == 0 {
		return 0, 0, 0, errShort
	}
	switch c := b[0]; {
	case c < mpFixMap, c >= mpNegative, c == mpNil, c == mpFalse, c == mpTrue:
		return 1, 0, 0, nil
	case c < mpFixArray:
		return 1, 0, 2 * int(c&15), nil
	case c < mpFixStr:
		return 1, 0, int(c & 15), nil
	case c < mpNil:
		return 1, int(c & 31), 0, nil
	case c == mpFloat32, c == mpUint32, c == mpInt32:
		return 1, 4, 0, nil
	case c == mpFloat64, c == mpUint64, c == mpInt64:
		return 1, 8, 0, nil
	case c == mpUint8, c == mpInt8:
		return 1, 1, 0, nil
	case c == mpUint16, c == mpInt16:
		return 1, 2, 0, nil
	case c >= mpFixExt1 && c <= mpFixExt16:
		return 2, 1 << (c - mpFixExt1), 0, nil
	case c == mpExt8, c == mpExt16, c == mpExt32:
		n := 1 << (c - mpExt8)
		return 2 + n, length(n), 0, err
	case c == mpBin8, c == mpBin16, c == mpBin32:
		n := 1 << (c - mpBin8)
		return 1 + n, length(n), 0, err
	case c == mpStr8, c == mpStr16, c == mpStr32:
		n := 1 << (c - mpStr8)
		return 1 + n, length(n), 0, err
	case c == mpArray16, c == mpArray32:
		n := 2 << (c - mpArray16)
		return 1 + n, 0, length(n), err
	case c == mpMap16, c == mpMap32:
		n := 2 << (c - mpMap16)
		return 1 + n, 0, 2 * length(n), err
	}
	return 0, 0, 0, fmt.Errorf("byte %#x starts no MessagePack value", b[0])
}

// skipPack checks one value and steps over it.
func (s *scanner) skipPack(depth int) error {
	head, content, values, err := packHead(s.b[s.i:])
	if err != nil {
		return err
	}
	left := len(s.b) - s.i - head
	if content > left || values > left || content < 0 || values < 0 { // a length that an int cannot hold is negative
		return errShort
	}
	if packIsString(s.b[s.i]) && !utf8.Valid(s.b[s.i+head:s.i+head+content]) {
		return fmt.Errorf("bytes that are not UTF-8 in a string at byte %d", s.i)
	}
	s.i += head + content
	if values > 0 && depth == 0 {
		return fmt.Errorf("maps and arrays stand more than %d deep in one another", maxDepth)
	}
	for range values {
		if err := s.skipPack(depth - 1); err != nil {
			return err
		}
	}
	return nil
}

func packIsString(c byte) bool {
	return c >= mpFixStr && c < mpNil || c >= mpStr8 && c <= mpStr32
}

func (s *scanner) packMap() (n int, ok bool) {
	c := s.b[s.i]
	if c&0xf0 != mpFixMap && c != mpMap16 && c != mpMap32 {
		return 0, false
	}
	head, _, values, err := packHead(s.b[s.i:])
	s.i += head
	return values / 2, err == nil
}

func (s *scanner) packArray() (n int, ok bool) {
	c := s.b[s.i]
	if c&0xf0 != mpFixArray && c != mpArray16 && c != mpArray32 {
		return 0, false
	}
	head, _, values, err := packHead(s.b[s.i:])
	s.i += head
	return values, err == nil
}

// packText reads a string; old encoders write them as binary.
func (v value) packText() (string, error) {
	c := v.raw[0]
	if !packIsString(c) && (c < mpBin8 || c > mpBin32) {
		return "", v.errType("a string")
	}
	head, _, _, err := packHead(v.raw)
	if err != nil {
		return "", err
	}
	if !utf8.Valid(v.raw[head:]) {
		return "", errors.New("bytes that are not UTF-8 in a string")
	}
	return string(v.raw[head:]), nil
}

// packNumber reads an integer of any width: as the bits of an int64 where signed,
// else of a uint64.
func (v value) packNumber() (bits uint64, signed, ok bool) {
	b := v.raw[1:]
	switch c := v.raw[0]; {
	case c < mpFixMap:
		return uint64(c), false, true
	case c >= mpNegative:
		return uint64(int64(int8(c))), true, true
	case c == mpUint8:
		return uint64(b[0]), false, true
	case c == mpUint16:
		return uint64(binary.BigEndian.Uint16(b)), false, true
	case c == mpUint32:
		return uint64(binary.BigEndian.Uint32(b)), false, true
	case c == mpUint64:
		return binary.BigEndian.Uint64(b), false, true
	case c == mpInt8:
		return uint64(int64(int8(b[0]))), true, true
	case c == mpInt16:
		return uint64(int64(int16(binary.BigEndian.Uint16(b)))), true, true
	case c == mpInt32:
		return uint64(int64(int32(binary.BigEndian.Uint32(b)))), true, true
	case c == mpInt64:
		return binary.BigEndian.Uint64(b), true, true
	}
	return 0, false, false
}

func (v value) packUint() (uint64, error) {
	n, signed, ok := v.packNumber()
	if !ok || signed && int64(n) < 0 {
		return 0, v.errType("a whole number, not negative")
	}
	return n, nil
}

func (v value) packInt() (int64, error) {
	n, signed, ok := v.packNumber()
	if !ok || !signed && n > math.MaxInt64 {
		return 0, v.errType("a whole number")
	}
	return int64(n), nil
}

// packPrice reads a number as the shortest decimal that is the same float. For
// what was a price below 2^23 (8,388,608) that is the very price.
func (v value) packPrice() (market.Price, error) {
	var f float64
	switch v.raw[0] {
	case mpFloat64:
		f = math.Float64frombits(binary.BigEndian.Uint64(v.raw[1:]))
	case mpFloat32:
		f = float64(math.Float32frombits(binary.BigEndian.Uint32(v.raw[1:])))
	default:
		n, err := v.packInt()
		if err != nil {
			return 0, v.errType("a number")
		}
		var digits [24]byte
		return market.ParsePrice(strconv.AppendInt(digits[:0], n, 10))
	}
	if math.IsNaN(f) || math.Abs(f) > 1e10 {
		return 0, fmt.Errorf("%v is not a price", f)
	}
	var digits [400]byte
	if p, err := market.ParsePrice(strconv.AppendFloat(digits[:0], f, 'f', -1, 64)); err == nil {
		return p, nil
	}
	const places = 9
	return market.ParsePrice(strconv.AppendFloat(digits[:0], f, 'f', places, 64))
}

func (v value) packTime() (time.Time, error) {
	head, content, _, err := packHead(v.raw)
	if err != nil || head < 2 || v.raw[head-1] != mpTimestamp {
		return time.Time{}, v.errType("a timestamp")
	}
	b := v.raw[head:]
	var sec int64
	var nsec uint64
	switch content {
	case 4:
		sec = int64(binary.BigEndian.Uint32(b))
	case 8:
		n := binary.BigEndian.Uint64(b)
		sec, nsec = int64(n&(1<<34-1)), n>>34
	case 12:
		sec, nsec = int64(binary.BigEndian.Uint64(b[4:])), uint64(binary.BigEndian.Uint32(b))
	default:
		return time.Time{}, fmt.Errorf("a timestamp has 4, 8 or 12 bytes, not %d", content)
	}
	if nsec >= uint64(time.Second) {
		return time.Time{}, fmt.Errorf("a timestamp with %d nanoseconds", nsec)
	}
	return time.Unix(sec, int64(nsec)).UTC(), nil
}
