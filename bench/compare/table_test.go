package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lzstock/lzstock/internal/bench/report"
)

func TestUpdateReplacesItsPartAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(file, []byte("# Title\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"first\n", "second\n"} {
		if err := update(file, text); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := "# Title\n\n## Compared with other designs\n" + begin + "\nsecond\n" + end + "\n"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := os.WriteFile(file, []byte(begin), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := update(file, "third"); err == nil {
		t.Error("a part without an end was replaced")
	}
}

func TestTableHasMediansAndRatios(t *testing.T) {
	of := func(delivered, cpu float64) *report.Report {
		return &report.Report{
			Healthy: report.Group{EventsPerS: delivered, Age: report.Ages{P50: 5, P99: 1234}}, Server: &report.Server{CPUPerMillion: cpu},
			Closes: []report.Close{{Code: 1006, Count: 3}},
		}
	}
	var b strings.Builder
	writeTable(&b, work{5000, 2000}, contestants()[:2], map[string][]*report.Report{
		"lzstock":  {of(900_000, 2), of(700_000, 1), of(800_000, 3)},
		"textbook": {of(30_000, 9), of(10_000, 11)},
	})
	for _, want := range []string{
		"### 5,000 sockets, 1,000,000 events/s offered\n",
		"| LZStock | 800,000 | 1.00 | 0.0 % | 5.0 ms | 1.2 s | 2.0 | 1.00 |",
		"| textbook | 20,000 | 0.03 | 0.0 % | 5.0 ms | 1.2 s | 10.0 | 5.00 |",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestLoadsAndContestants(t *testing.T) {
	if got, err := parseWorks("1000x200,5x7"); err != nil || len(got) != 2 || got[1] != (work{5, 7}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, text := range []string{"", "1000", "0x5", "5x-1", "1x2x3"} {
		if got, err := parseWorks(text); err == nil {
			t.Errorf("%q: %v, want an error", text, got)
		}
	}
	if got, err := choose("floor,lzstock"); err != nil || len(got) != 2 || got[0].key != "floor" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := choose("centrifugo"); err == nil {
		t.Error("an unknown contestant was chosen")
	}
}
