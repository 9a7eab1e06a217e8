package market

import (
	"fmt"
	"math"
	"strconv"
)

// Scale is the number of units in one whole: prices and sizes count
// billionths.
const Scale = 1_000_000_000

// places is the number of decimal places that Scale gives.
const places = 9

// Price is an amount of the quote currency in billionths (1e-9). Its range is
// about ±9.2 billion. Prices may be negative: some contracts have traded below
// zero.
type Price int64

// Size is a quantity (shares, coins, contracts) in billionths (1e-9). Its range
// is 0 to about 9.2 billion.
type Size int64

// DecimalError says why a text is not a price or a size.
type DecimalError struct {
	Text   string // what was read, shortened
	Reason string // what is wrong with it
}

func (e *DecimalError) Error() string {
	return fmt.Sprintf("bad decimal %q: %s", e.Text, e.Reason)
}

func decimalError(text []byte, reason string) error {
	const most = 40
	if len(text) > most {
		return &DecimalError{Text: string(text[:most]) + "…", Reason: reason}
	}
	return &DecimalError{Text: string(text), Reason: reason}
}

// ParsePrice reads a decimal such as "189.1", "-37.63" or "1.5e-7". It returns
// a *DecimalError for anything that is not a number, for more than nine decimal
// places and for values out of range.
func ParsePrice[T string | []byte](s T) (Price, error) {
	v, err := parseDecimal([]byte(s))
	return Price(v), err
}

// ParseSize reads a decimal as ParsePrice does, and refuses negative ones.
func ParseSize[T string | []byte](s T) (Size, error) {
	v, err := parseDecimal([]byte(s))
	if err == nil && v < 0 {
		return 0, decimalError([]byte(s), "a size cannot be negative")
	}
	return Size(v), err
}

func parseDecimal(text []byte) (int64, error) {
	if len(text) == 0 {
		return 0, decimalError(text, "it is empty")
	}
	rest, negative := text, false
	switch rest[0] {
	case '-':
		negative, rest = true, rest[1:]
	case '+':
		rest = rest[1:]
	}
	var (
		value     uint64 // the significant digits so far
		digits    int    // how many digits were read
		fraction  int    // how many of those came after the point
		zeros     int    // zeros read but not yet applied to value
		point     bool
		maxDigits = 64 // beyond this, no sensible number
	)
	i := 0
	for ; i < len(rest); i++ {
		c := rest[i]
		if c == '.' {
			if point {
				return 0, decimalError(text, "it has two decimal points")
			}
			point = true
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		digits++
		if digits > maxDigits {
			return 0, decimalError(text, "it has too many digits")
		}
		if point {
			fraction++
		}
		if c == '0' {
			zeros++ // trailing zeros do not count until a digit follows
			continue
		}
		for ; zeros >= 0; zeros-- {
			hi := value
			value *= 10
			if hi > math.MaxInt64/10 {
				return 0, decimalError(text, "it is out of range")
			}
		}
		zeros = 0
		value += uint64(c - '0')
		if value > math.MaxInt64 {
			return 0, decimalError(text, "it is out of range")
		}
	}
	if digits == 0 {
		return 0, decimalError(text, "it is not a number")
	}
	exponent := 0
	if i < len(rest) && (rest[i] == 'e' || rest[i] == 'E') {
		e, err := strconv.Atoi(string(rest[i+1:]))
		if err != nil || e < -100 || e > 100 {
			return 0, decimalError(text, "its exponent is bad")
		}
		exponent, i = e, len(rest)
	}
	if i != len(rest) {
		return 0, decimalError(text, fmt.Sprintf("unexpected character %q", rest[i]))
	}
	if value == 0 {
		return 0, nil
	}
	// value stands for value × 10^(zeros - fraction + exponent); in billionths
	// that is nine places more.
	shift := zeros - fraction + exponent + places
	for ; shift > 0; shift-- {
		if value > math.MaxInt64/10 {
			return 0, decimalError(text, "it is out of range")
		}
		value *= 10
	}
	for ; shift < 0; shift++ {
		if value%10 != 0 {
			return 0, decimalError(text, "it has more than 9 decimal places")
		}
		value /= 10
	}
	if negative {
		return -int64(value), nil
	}
	return int64(value), nil
}

// Append writes the shortest exact decimal of p to dst.
func (p Price) Append(dst []byte) []byte { return appendDecimal(dst, int64(p)) }

// Append writes the shortest exact decimal of s to dst.
func (s Size) Append(dst []byte) []byte { return appendDecimal(dst, int64(s)) }

func appendDecimal(dst []byte, v int64) []byte {
	u := uint64(v)
	if v < 0 {
		dst = append(dst, '-')
		u = -u
	}
	dst = strconv.AppendUint(dst, u/Scale, 10)
	fraction := u % Scale
	if fraction == 0 {
		return dst
	}
	var digits [1 + places]byte
	digits[0] = '.'
	for i := places; i > 0; i-- {
		digits[i] = byte('0' + fraction%10)
		fraction /= 10
	}
	end := len(digits)
	for digits[end-1] == '0' {
		end--
	}
	return append(dst, digits[:end]...)
}

// String gives the shortest exact decimal.
func (p Price) String() string { return string(p.Append(nil)) }

// String gives the shortest exact decimal.
func (s Size) String() string { return string(s.Append(nil)) }

// MarshalJSON writes p as a JSON number.
func (p Price) MarshalJSON() ([]byte, error) { return p.Append(nil), nil }

// MarshalJSON writes s as a JSON number.
func (s Size) MarshalJSON() ([]byte, error) { return s.Append(nil), nil }

// UnmarshalJSON reads a JSON number exactly.
func (p *Price) UnmarshalJSON(b []byte) error {
	v, err := ParsePrice(b)
	if err == nil {
		*p = v
	}
	return err
}

// UnmarshalJSON reads a JSON number exactly.
func (s *Size) UnmarshalJSON(b []byte) error {
	v, err := ParseSize(b)
	if err == nil {
		*s = v
	}
	return err
}

// Float64 gives the nearest float, for the encodings and charts that know
// nothing better. Never calculate with it.
func (p Price) Float64() float64 { return float64(p) / Scale }

// Float64 gives the nearest float, for the encodings and charts that know
// nothing better. Never calculate with it.
func (s Size) Float64() float64 { return float64(s) / Scale }

// Whole reports whether s has no fraction, and its whole part.
func (s Size) Whole() (int64, bool) { return int64(s / Scale), s%Scale == 0 }
