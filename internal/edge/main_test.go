package edge

import (
	"net/netip"
	"testing"

	"github.com/lzstock/lzstock/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func prefixes(tb testing.TB, list ...string) []netip.Prefix {
	tb.Helper()
	out, err := ParsePrefixes(list)
	must(tb, err)
	return out
}
