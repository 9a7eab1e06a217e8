// Package rows reads recorded tapes for tests of whole processes, without the project's
// own readers: what it gives is what the file says.
package rows

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

// Row is one line of a tape.
type Row struct {
	Time   time.Time
	Symbol string
	Type   string
	// Numbers are price, size, bid, bid's size, ask and ask's size, as text: rounded to
	// nine places, as a few of the equities tape need, which show a float's artefact,
	// and without the zeros that end a fraction.
	Numbers [6]string
}

// Read gives a tape's rows in order.
func Read(t *testing.T, file string) []Row {
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
	lines, err := csv.NewReader(z).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	out := make([]Row, 0, len(lines))
	for _, l := range lines[1:] {
		ns, err := strconv.ParseInt(l[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		r := Row{Time: time.Unix(0, ns).UTC(), Symbol: l[1], Type: l[2]}
		for i := range r.Numbers {
			r.Numbers[i] = shortest(l[i+3])
		}
		out = append(out, r)
	}
	return out
}

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
