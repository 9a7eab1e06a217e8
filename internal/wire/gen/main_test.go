package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// What is committed is what the tables say; `make generate` writes it.
func TestCommitted(t *testing.T) {
	for name, want := range files() {
		got, err := os.ReadFile(filepath.Join("..", "..", "..", "sdk", "typescript", "src", name))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s is not what the tables of internal/wire say: run make generate", name)
		}
	}
}

// The ranges cover every close code as AdviceFor does.
func TestSpans(t *testing.T) {
	for code := range uint16(5000) {
		got := wire.RetryBackoff
		for _, s := range spans() {
			if code >= s.from && code <= s.to {
				got = s.advice
			}
		}
		if want := wire.AdviceFor(code); got != want {
			t.Errorf("close %d: %s, want %s", code, got, want)
		}
	}
	if got := wire.AdviceFor(9999); got != wire.RetryBackoff {
		t.Errorf("above 5000: %s", got)
	}
}

// Nothing of the tables is left out.
func TestWhole(t *testing.T) {
	all := files()
	for _, c := range market.Channels() {
		if !strings.Contains(all["codes.ts"], `"`+c.String()+`"`) {
			t.Errorf("channel %s is missing", c)
		}
	}
	for r := range wire.Reason(wire.NumReasons) {
		if r != 0 && !strings.Contains(all["tables.ts"], `reason: "`+r.String()+`"`) {
			t.Errorf("reason %s is missing", r)
		}
	}
	known := make(map[wire.Code]bool)
	for _, c := range wire.Codes() {
		known[c] = true
	}
	for n := range wire.Code(1000) {
		if named := !strings.HasPrefix(n.Text(), "error "); named != known[n] {
			t.Errorf("code %d: has a text %t, is listed %t", n, named, known[n])
		}
	}
}

func TestWrongUse(t *testing.T) {
	if err := run(nil); err == nil || !strings.Contains(err.Error(), "one argument") {
		t.Errorf("without a directory: %v", err)
	}
	dir := t.TempDir()
	if err := run([]string{dir}); err != nil {
		t.Fatal(err)
	}
	for name := range files() {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}
