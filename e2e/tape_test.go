package e2e

import (
	"strconv"
	"testing"
	"time"

	"github.com/lzstock/lzstock/e2e/rows"
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
	read := rows.Read(t, file)
	ticks := make([]tick, 0, len(read))
	for _, r := range read {
		n := r.Numbers
		ticks = append(ticks, tick{time: r.Time, symbol: r.Symbol, price: n[0], size: n[1], bid: n[2], bidSize: n[3], ask: n[4], askSize: n[5]})
	}
	return ticks
}

func number(t *testing.T, decimal string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(decimal, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
