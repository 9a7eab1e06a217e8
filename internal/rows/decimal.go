package rows

import (
	"bytes"
	"math"

	"github.com/lzstock/lzstock/market"
)

// Price reads a price as market.ParsePrice does, and mends a float's artefact:
// 0.5710000000000001, which some recorder wrote for 0.571, is read as 0.571, and
// mended says so. A number counts as such where it has 12 places or more, of which
// the 10th to 12th are 000 or 999; no other is ever rounded.
func Price(text []byte) (price market.Price, mended bool, err error) {
	price, err = market.ParsePrice(text)
	if err == nil {
		return price, false, nil
	}
	if v, ok := mend(text); ok {
		return v, true, nil
	}
	return 0, false, err
}

// Size reads a size, which is not negative, as Price reads a price.
func Size(text []byte) (size market.Size, mended bool, err error) {
	size, err = market.ParseSize(text)
	if err == nil {
		return size, false, nil
	}
	if v, ok := mend(text); ok && v >= 0 {
		return market.Size(v), true, nil
	}
	return 0, false, err
}

func mend(text []byte) (market.Price, bool) {
	const places, noise = 9, 3
	point := bytes.IndexByte(text, '.')
	if point < 0 || len(text)-point-1 < places+noise {
		return 0, false
	}
	kept, rest := text[:point+1+places], text[point+1+places:]
	for _, c := range rest {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	v, err := market.ParsePrice(kept)
	if err != nil {
		return 0, false
	}
	switch string(rest[:noise]) {
	case "000":
		return v, true
	case "999":
		if text[0] == '-' {
			return v - 1, v > math.MinInt64
		}
		return v + 1, v < math.MaxInt64
	}
	return 0, false
}
