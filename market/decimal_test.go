package market

import (
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"
)

func TestParsePrice(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want Price
		out  string
	}{
		{"0", 0, "0"},
		{"-0", 0, "0"},
		{"189.1", 189_100_000_000, "189.1"},
		{"189.10", 189_100_000_000, "189.1"},
		{"+1", 1_000_000_000, "1"},
		{"-37.63", -37_630_000_000, "-37.63"},
		{"0.000000001", 1, "0.000000001"},
		{"100000", 100_000_000_000_000, "100000"},
		{".5", 500_000_000, "0.5"},
		{"5.", 5_000_000_000, "5"},
		{"1.5e-7", 150, "0.00000015"},
		{"12e2", 1_200_000_000_000, "1200"},
		{"1.0000000000000", 1_000_000_000, "1"},
		{"000000000000000000000000000001", 1_000_000_000, "1"},
		{"9223372036.854775807", math.MaxInt64, "9223372036.854775807"},
		{"-9223372036.854775807", -math.MaxInt64, "-9223372036.854775807"},
	} {
		got, err := ParsePrice(tc.in)
		if err != nil || got != tc.want || got.String() != tc.out {
			t.Errorf("ParsePrice(%q) = %d (%s), %v; want %d (%s)", tc.in, got, got, err, tc.want, tc.out)
		}
	}
	if got := Price(math.MinInt64).String(); got != "-9223372036.854775808" {
		t.Errorf("least price prints as %s", got)
	}
}

func TestParseRefusesAndSaysWhy(t *testing.T) {
	for in, reason := range map[string]string{
		"":                      "it is empty",
		"-":                     "it is not a number",
		".":                     "it is not a number",
		"NaN":                   "it is not a number",
		"1.2.3":                 "two decimal points",
		"1,5":                   "unexpected character ','",
		" 1":                    "it is not a number",
		"1.0000000001":          "more than 9 decimal places",
		"1e-10":                 "more than 9 decimal places",
		"9223372036.854775808":  "out of range",
		"99999999999":           "out of range",
		"1e":                    "its exponent is bad",
		"1e999":                 "its exponent is bad",
		strings.Repeat("1", 65): "out of range",
		strings.Repeat("0", 65): "too many digits",
	} {
		_, err := ParsePrice(in)
		var de *DecimalError
		if !errors.As(err, &de) || !strings.Contains(err.Error(), reason) {
			t.Errorf("ParsePrice(%q): %v; want %q", in, err, reason)
		}
	}
	if _, err := ParseSize("-1"); err == nil || !strings.Contains(err.Error(), "negative") {
		t.Errorf("ParseSize(-1): %v", err)
	}
}

// FuzzParsePrice checks the parser against exact rational arithmetic, and that
// what is printed reads back as the same price.
func FuzzParsePrice(f *testing.F) {
	for _, s := range []string{"0", "189.1", "-37.63", "1.5e-7", "9223372036.854775807", "1e10", "..", "e1", "00.10e+1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePrice(s)
		if err != nil {
			return
		}
		want, ok := new(big.Rat).SetString(s)
		if !ok {
			t.Fatalf("accepted %q, which is no number", s)
		}
		if got := big.NewRat(int64(p), Scale); got.Cmp(want) != 0 {
			t.Fatalf("ParsePrice(%q) = %s, want %s", s, got, want)
		}
		if back, err := ParsePrice(p.String()); err != nil || back != p {
			t.Fatalf("%q printed as %s reads back as %d, %v", s, p, back, err)
		}
	})
}

func BenchmarkPriceAppend(b *testing.B) {
	b.ReportAllocs()
	buf := make([]byte, 0, 64)
	for b.Loop() {
		buf = Price(189_123_450_000).Append(buf[:0])
	}
}

func BenchmarkParsePrice(b *testing.B) {
	b.ReportAllocs()
	text := []byte("189.12345")
	for b.Loop() {
		if _, err := ParsePrice(text); err != nil {
			b.Fatal(err)
		}
	}
}
