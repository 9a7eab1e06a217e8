package names_test

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	"github.com/lzstock/lzstock/internal/names"
	"github.com/lzstock/lzstock/market"
)

func TestRead(t *testing.T) {
	got, err := names.Read(strings.NewReader("symbol,name\n# a remark\nAAPL, Apple Inc.\nTSLA,\"Tesla, Inc.\"\n"))
	want := map[market.Symbol]string{"AAPL": "Apple Inc.", "TSLA": "Tesla, Inc."}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, error %v", got, err)
	}
	for text, want := range map[string]string{
		"AAPL":                              "line 1: 1 columns",
		"AAPL,Apple\nTSLA,Tesla, Inc.\n":    "line 2: 3 columns",
		"AA PL,Apple":                       "line 1: bad symbol",
		"A,x\nA,y":                          "line 2: A comes twice",
		"A,":                                "empty name",
		"A,x\x01y":                          "plain text",
		"A,\xff":                            "plain text",
		"A," + strings.Repeat("x", 201):     "201 bytes",
		"A,\"open":                          "extraneous or missing",
		"symbol,name\nsymbol,name\nname,b,": "line 3",
	} {
		if _, err := names.Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
	if _, err := names.File(t.TempDir() + "/none"); err == nil {
		t.Error("a file that is not there is read")
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("symbol,name\nAAPL,Apple Inc.\n"))
	f.Add([]byte("A,\"b,\"\"c\"\n#x\nB,c"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := names.Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := names.Write(&out, got); err != nil {
			t.Fatal(err)
		}
		again, err := names.Read(&out)
		if err != nil || !maps.Equal(again, got) {
			t.Errorf("%q is written as %q, and read as %v, error %v", data, out.String(), again, err)
		}
	})
}
