package bars

import (
	"math/bits"
	"time"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/market"
)

// Minute is a minute that is over.
type Minute struct {
	Source string
	Symbol market.Symbol
	Sum    Sum
}

// Sum is a bar with the exact sums that it is made of, so that bars can be added
// up. Its zero value is empty.
type Sum struct{ sum sum }

// Start gives the start of the interval, in Unix nanoseconds.
func (s *Sum) Start() int64 { return s.sum.start }

// Empty reports whether there is no trade in it.
func (s *Sum) Empty() bool { return s.sum.trades == 0 }

// Add puts the trades of another interval into this one, whose start stays, or
// becomes start where it is empty.
func (s *Sum) Add(start int64, o *Sum) {
	if s.sum.trades == 0 {
		s.sum = o.sum
		s.sum.start = start
		return
	}
	s.sum.join(&o.sum)
}

// Bar gives what was gathered.
func (s *Sum) Bar() market.Bar { return *s.sum.bar() }

// Save gives what LoadSum reads.
func (s *Sum) Save() *pb.BarSum { return s.sum.save() }

// LoadSum reads what Save gave, and says what cannot be. Minutes start with a
// minute.
func LoadSum(m *pb.BarSum) (Sum, error) {
	s, err := loadSum(m)
	return Sum{s}, err
}

// Floor gives the start of the interval of some length that holds t, counted from
// the full hour or shorter.
func Floor(t int64, length time.Duration) int64 { return floor(t, length) }

// join adds the trades of another sum.
func (s *sum) join(o *sum) {
	if o.first.before(s.first) {
		s.open, s.first = o.open, o.first
	}
	if s.last.before(o.last) {
		s.close, s.last = o.close, o.last
	}
	s.high, s.low = max(s.high, o.high), min(s.low, o.low)
	s.trades += o.trades
	addWords(s.volume[:], o.volume[:])
	addWords(s.amount[:], o.amount[:])
}

// addWords adds b to a, the least significant word first.
func addWords(a, b []uint64) {
	var carry uint64
	for i := range a {
		a[i], carry = bits.Add64(a[i], b[i], carry)
	}
}
