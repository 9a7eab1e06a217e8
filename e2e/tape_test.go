package e2e

import (
	"compress/gzip"
	"encoding/csv"
	"math/big"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// tick is a row of a tape as it is written there: no code of the project has
// touched its numbers.
type tick struct {
	time                       time.Time
	symbol, price, size        string
	bid, bidSize, ask, askSize string
}

func readTape(t *testing.T, file string) []tick {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(z).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	ticks := make([]tick, 0, len(rows))
	for _, r := range rows[1:] {
		ns, err := strconv.ParseInt(r[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks = append(ticks, tick{
			time: time.Unix(0, ns).UTC(), symbol: r[1], price: shortest(r[3]), size: shortest(r[4]),
			bid: shortest(r[5]), bidSize: shortest(r[6]), ask: shortest(r[7]), askSize: shortest(r[8]),
		})
	}
	return ticks
}

// shortest rounds to nine places, as a few numbers of the equities tape need,
// which show a float's artefact, and cuts the zeros that end a fraction.
func shortest(decimal string) string {
	if i := strings.IndexByte(decimal, '.'); i >= 0 {
		if len(decimal)-i > 10 {
			exact, _ := new(big.Rat).SetString(decimal)
			decimal = exact.FloatString(9)
		}
		decimal = strings.TrimRight(strings.TrimRight(decimal, "0"), ".")
	}
	return decimal
}

func number(t *testing.T, decimal string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(decimal, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
