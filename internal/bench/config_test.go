package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lzstock/lzstock/internal/bench/report"
	"github.com/lzstock/lzstock/market"
)

func TestParseUniverse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "symbols")
	if err := os.WriteFile(file, []byte("AAPL\nMSFT\nAAPL\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"sim": "30 AAPL", "sim:100": "100 AAPL", "@" + file: "2 AAPL", "BTC/USD, ETH/USD": "2 BTC/USD", "*": "1 *", "simple,SIM": "2 simple",
	} {
		got, err := ParseUniverse(text)
		if err != nil || fmt.Sprintf("%d %s", len(got), got[0]) != want {
			t.Errorf("%s: %v, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "sim:0", "sim:x", "sim:10000000", "@nowhere", "A,,B", "no symbol"} {
		if got, err := ParseUniverse(text); err == nil {
			t.Errorf("%q: %v, want an error", text, got)
		}
	}
}

func TestParseChannelsSharesRatesAndSources(t *testing.T) {
	if got, err := ParseChannels("quotes, dailyBars"); err != nil || !slices.Equal(got, []market.Channel{market.Quotes, market.DailyBars}) {
		t.Errorf("channels: %v, %v", got, err)
	}
	if _, err := ParseChannels("news"); err == nil || !strings.Contains(err.Error(), "trades,quotes,bars") {
		t.Errorf("channels: %v", err)
	}
	for text, want := range map[string]Share{"20%": 0.2, "0.5": 0.5, "0": 0, "100 %": 1} {
		var s Share
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%s: %v, %v", text, s, err)
		}
		var again Share
		if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s {
			t.Errorf("%s is written %s, and read as %v, %v", text, s, again, err)
		}
	}
	for _, text := range []string{"", "20", "-1%", "NaN", "x%"} {
		if s := Share(0); s.UnmarshalText([]byte(text)) == nil {
			t.Errorf("share %q passed", text)
		}
	}
	for text, want := range map[string]Rate{"5/s": 5, "0.5": 0.5, "0/s": 0} {
		var r Rate
		if err := r.UnmarshalText([]byte(text)); err != nil || r != want {
			t.Errorf("%s: %v, %v", text, r, err)
		}
	}
	for _, text := range []string{"", "-1", "5/min", "NaN", "1e9"} {
		if r := Rate(0); r.UnmarshalText([]byte(text)) == nil {
			t.Errorf("rate %q passed", text)
		}
	}
	for text, want := range map[string]int{"auto": 0, "127.0.0.1": 1, "127.0.0.1-127.0.0.8,127.0.1.1": 9} {
		if got, err := ParseSources(text); err != nil || len(got) != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"here", "127.0.0.8-127.0.0.1", "127.0.0.1-::1", "127.0.0.0-127.255.255.255"} {
		if _, err := ParseSources(text); err == nil {
			t.Errorf("sources %q passed", text)
		}
	}
}

func TestPlans(t *testing.T) {
	for _, name := range Profiles() {
		c := Config{URL: "ws://x/", Profile: name, Duration: time.Minute}
		c, err := c.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		stages, err := c.plan()
		if err != nil {
			t.Fatal(err)
		}
		var total time.Duration
		for _, s := range stages {
			total += s.take
		}
		if total < 59*time.Second || total > time.Minute || stages[len(stages)-1].to != 0 || stages[0].measured || !stages[1].measured {
			t.Errorf("%s: %+v", name, stages)
		}
	}
	s := stage{take: 10 * time.Second, to: 200}
	for since, want := range map[time.Duration]int{0: 100, 5 * time.Second: 150, 10 * time.Second: 200, time.Hour: 200} {
		if got := s.at(100, since); got != want {
			t.Errorf("after %s: %d, want %d", since, got, want)
		}
	}
	for n := range 20 {
		sum := 0
		for i := range 3 {
			sum += part(n, i, 3)
		}
		if sum != n {
			t.Errorf("the parts of %d are %d in all", n, sum)
		}
	}
}

func TestReadMetrics(t *testing.T) {
	const text = `# HELP go_goroutines Number of goroutines that currently exist.
go_goroutines 66
process_cpu_seconds_total 1.25
process_resident_memory_bytes 3.95e+07
process_open_fds 15
lzstock_gateway_sockets 7
lzstock_gateway_topics 200
lzstock_gateway_ended_total{reason="client_closed"} 12
lzstock_gateway_odd{le="a b"} 1 1700000000
something_else 5
`
	out := scrape{gateway: map[string]float64{}}
	for range 2 { // two processes
		if err := readMetrics(strings.NewReader(text), &out); err != nil {
			t.Fatal(err)
		}
	}
	want := report.Sample{CPU: 2.5, RSS: 7.9e7, Goroutines: 132, Files: 30, Sockets: 14, Topics: 400}
	if out.sample != want || out.gateway[`ended_total{reason="client_closed"}`] != 24 {
		t.Errorf("%+v, %v", out.sample, out.gateway)
	}
	if err := readMetrics(strings.NewReader("<html>"), &out); err == nil {
		t.Error("a page passed for metrics")
	}
	if left := unsettled(report.Sample{Goroutines: 10, Files: 5}, report.Sample{Goroutines: 14, Files: 10, Sockets: 1}); strings.Join(left, ", ") != "1 sockets more, 5 open files more" {
		t.Errorf("left: %q", left)
	}
}
