package bars

import (
	"math"
	"math/big"
	"math/bits"
	"slices"
	"time"

	"github.com/lzstock/lzstock/market"
)

// place orders trades within a bar: by time, then by position.
type place struct {
	time int64
	seq  market.Seq
}

func (p place) before(o place) bool {
	return p.time < o.time || p.time == o.time && p.seq < o.seq
}

// sum gathers the trades of one interval. Its zero value is empty.
type sum struct {
	start                  int64 // Unix nanoseconds
	trades                 uint64
	open, high, low, close market.Price
	first, last            place
	volume                 [2]uint64 // least significant word first
	amount                 [3]uint64 // price × size, two's complement
}

func (s *sum) add(at place, price market.Price, size market.Size) {
	if s.trades == 0 {
		s.open, s.high, s.low, s.close = price, price, price, price
		s.first, s.last = at, at
	}
	if at.before(s.first) {
		s.open, s.first = price, at
	}
	if s.last.before(at) {
		s.close, s.last = price, at
	}
	s.high, s.low = max(s.high, price), min(s.low, price)
	s.trades++

	var carry uint64
	s.volume[0], carry = bits.Add64(s.volume[0], uint64(size), 0)
	s.volume[1] += carry

	hi, lo := bits.Mul64(magnitude(int64(price)), uint64(size))
	var top uint64
	if price < 0 {
		lo, carry = bits.Sub64(0, lo, 0)
		hi, carry = bits.Sub64(0, hi, carry)
		top = -carry
	}
	s.amount[0], carry = bits.Add64(s.amount[0], lo, 0)
	s.amount[1], carry = bits.Add64(s.amount[1], hi, carry)
	s.amount[2], _ = bits.Add64(s.amount[2], top, carry)
}

func magnitude(v int64) uint64 {
	if v < 0 {
		return -uint64(v)
	}
	return uint64(v)
}

// bar gives what was gathered.
func (s *sum) bar() *market.Bar {
	volume := market.Size(math.MaxInt64)
	if s.volume[1] == 0 && s.volume[0] <= math.MaxInt64 {
		volume = market.Size(s.volume[0])
	}
	return &market.Bar{
		Open: s.open, High: s.high, Low: s.low, Close: s.close,
		Volume: volume, Trades: s.trades, VWAP: s.vwap(), Time: time.Unix(0, s.start).UTC(),
	}
}

// vwap gives the volume-weighted average price.
func (s *sum) vwap() market.Price {
	average, _ := s.average()
	return average
}

// average is vwap, or false where the sums cannot be those of trades, which
// happens to loaded ones only.
func (s *sum) average() (market.Price, bool) {
	if s.volume == [2]uint64{} {
		return s.close, true
	}
	a := s.amount
	negative := int64(a[2]) < 0
	if negative {
		var borrow uint64
		a[0], borrow = bits.Sub64(0, a[0], 0)
		a[1], borrow = bits.Sub64(0, a[1], borrow)
		a[2], _ = bits.Sub64(0, a[2], borrow)
	}
	var quotient uint64
	if s.volume[1] == 0 {
		// An average lies between the prices, so the quotient fits one word.
		if a[2] != 0 || a[1] >= s.volume[0] {
			return 0, false
		}
		var rest uint64
		quotient, rest = bits.Div64(a[1], a[0], s.volume[0])
		if rest >= s.volume[0]-rest {
			quotient++
		}
	} else {
		var ok bool
		if quotient, ok = divide(a[:], s.volume[:]); !ok {
			return 0, false
		}
	}
	switch {
	case negative && quotient <= 1<<63:
		return market.Price(-quotient), true
	case !negative && quotient < 1<<63:
		return market.Price(quotient), true
	}
	return 0, false
}

// divide gives a/b to the nearest, for the volumes that do not fit one word, or
// false where the result does not.
func divide(a, b []uint64) (uint64, bool) {
	x, y := wide(a), wide(b)
	x.Lsh(x, 1).Add(x, y)
	x.Quo(x, y.Lsh(y, 1))
	return x.Uint64(), x.IsUint64()
}

func wide(words []uint64) *big.Int {
	x := new(big.Int)
	for _, word := range slices.Backward(words) {
		x.Lsh(x, 64).Or(x, new(big.Int).SetUint64(word))
	}
	return x
}
