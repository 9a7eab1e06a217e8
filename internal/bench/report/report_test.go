package report

import (
	"bytes"
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lzstock/lzstock/internal/safetext"
)

func sample() *Report {
	return &Report{
		Started: time.Date(2026, 1, 5, 15, 0, 0, 0, time.UTC), Seconds: 12.5, Window: 10,
		Setup:   Setup{URL: "ws://127.0.0.1:8080/v1/stream", Clients: 5000, Symbols: 10, Universe: 100, Channels: "trades,quotes", Delivery: "adaptive", Machine: "linux/amd64, 2 processors", Stalled: 0.2, Command: "lzstock bench <script>"},
		Clients: Clients{Peak: 5000, Opened: 5000, Left: 4900, OpenedIn: 5.1, Handshake: Ages{Count: 5000, P50: 1, P99: 2, Max: 3}},
		Healthy: Group{
			Clients: 4000, Total: Counts{Events: 2_000_000, Merged: 5, Frames: 100_000}, Window: Counts{Events: 1_800_000, Merged: 200_000, Frames: 90_000, Bytes: 3e8},
			Age: Ages{Count: 1_800_000, P50: 1.5, P90: 12.25, P99: 48, P999: 130, Max: 2500},
		},
		Slow:   Group{Clients: 1000, Total: Counts{Losses: 2}},
		Closes: []Close{{4102, true, 990}, {1006, false, 1}},
		Server: &Server{Before: Sample{RSS: 4e7}, Peak: Sample{RSS: 1.4e8, Goroutines: 5060}, After: Sample{RSS: 9e7, Goroutines: 70}, Cores: 1.25, CPUSeconds: 12.5, CPUPerMillion: 6.94, SettledIn: 0.0625},
		Curve: []Point{
			{At: 1, Open: 900, EventsPerS: 10}, {At: 2, Open: 5000, EventsPerS: 180_000, P99: 40, Measured: true}, {At: 3, Open: 5000, EventsPerS: 181_000, P99: 41, Measured: true},
		},
	}
}

func TestRates(t *testing.T) {
	g := sample().Healthy
	g.Rates(10)
	if g.EventsPerS != 180_000 || g.FramesPerS != 9000 || g.EventsPerFrame != 20 || g.Conflated != 0.1 || g.BytesPerS != 3e7 {
		t.Errorf("%+v", g)
	}
	var none Group
	none.Rates(0)
	if !reflect.DeepEqual(none, Group{}) {
		t.Errorf("of nothing: %+v", none)
	}
}

func TestDemands(t *testing.T) {
	r := sample()
	r.Healthy.Rates(r.Window)
	for text, want := range map[string]bool{
		"p99<50ms": true, "p99<48ms": false, "p99<=48ms": true, "p99 < 0.05s": true, "max>2s": true, "p99.9<131ms": true, "p50>=1500us": true,
		"loss=0": false, "loss==2": true, "loss!=0": true, "closes=1": true, "slow.closes=990": true, "clients>=5k": true,
		"delivered>=0.18M": true, "conflated<10%": false, "conflated<=10%": true, "conflated<0.11": true, "events_per_frame=20": true,
		"rss<150MB": true, "rss<128MiB": false, "cpu_per_million<7": true, "cores<1.3": true, "goroutines=70": true, "settled_in<150ms": true, "opened_in<20s": true,
		"slow.p99<1h": false, // nothing came, which is no good figure
	} {
		d, err := ParseDemands(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		r.Asserts = nil
		if got := r.Judge(d); got != want || len(r.Asserts) != 1 || r.Asserts[0].Holds != want {
			t.Errorf("%s: %t, %+v", text, got, r.Asserts)
		}
	}
	d, err := ParseDemands("p99<50ms, loss=0")
	if err != nil || len(d) != 2 {
		t.Fatalf("%v, %v", d, err)
	}
	if r.Asserts = nil; r.Judge(d) || !r.Asserts[0].Holds || r.Asserts[1].Holds {
		t.Errorf("%+v", r.Asserts)
	}
	r.Server = nil
	server, err := ParseDemands("cores<100")
	if err != nil || !server[0].NeedsServer() || d[0].NeedsServer() {
		t.Errorf("%v, %v", server, err)
	}
	if r.Judge(server) {
		t.Error("what was not measured holds")
	}
}

func TestDemandsThatMakeNoSense(t *testing.T) {
	for text, want := range map[string]string{
		"":               "such as p99<50ms or loss=0",
		"p99":            "such as p99<50ms or loss=0",
		"p99<":           "write 50ms",
		"p99<50":         "write 50ms",
		"p99!50ms":       "want one of < <= > >= = !=",
		"p98<50ms":       "did you mean p",
		"lost=0":         "did you mean loss?",
		"quality>1":      "there are p50",
		"loss=none":      "write 5, 20k or 1M",
		"loss=NaN":       "write 5",
		"conflated<5ms":  "write 5% or 0.05",
		"rss<150 apples": "write 150MB",
		"p99<50ms,":      "such as",
	} {
		if _, err := ParseDemands(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: err = %v, want %q in it", text, err, want)
		}
	}
	for _, m := range metrics() {
		if m.help == "" || m.value == nil {
			t.Errorf("metric %s has no help or no value", m.name)
		}
	}
}

func TestText(t *testing.T) {
	r := sample()
	r.Healthy.Rates(r.Window)
	d, err := ParseDemands("loss=0")
	if err != nil {
		t.Fatal(err)
	}
	r.Judge(d)
	var b bytes.Buffer
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(` +`).ReplaceAllString(b.String(), " ")
	for _, want := range []string{
		"5,000 clients × 10 of 100 symbols (trades,quotes), adaptive, 20.0 % stalled",
		"\n events/s 180,000 0\n", "\n events a frame 20 0\n", "\n conflated 10.0 % 0.0 %\n", "\n losses 0 2\n",
		"\n p50 1.50 ms none came\n", "\n max 2.50 s none came\n", "closed with 4102, stalled or dripping 990", "cut off, healthy 1",
		"memory (RSS) 40.0 MB 140.0 MB 90.0 MB", "back to what it was within 62.5 ms", "loss=0 FAILS: 2",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestJSONIsReadAsItWasWritten(t *testing.T) {
	var b bytes.Buffer
	r := sample()
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var again Report
	if err := json.Unmarshal(b.Bytes(), &again); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&again, r) {
		t.Errorf("got  %+v\nwant %+v", again, r)
	}
}

func TestPageNeedsNothingElse(t *testing.T) {
	var b bytes.Buffer
	r := sample()
	r.Healthy.Rates(r.Window)
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, foreign := range []string{"<script", "<link", "@import", "src=", "http://", "https://", "url(", "ZgotmplZ"} {
		if strings.Contains(page, foreign) {
			t.Errorf("the page has %q", foreign)
		}
	}
	if n := strings.Count(page, "<svg"); n != 6 {
		t.Errorf("%d charts, want 6", n)
	}
	for _, want := range []string{"lzstock bench &lt;script&gt;", "180,000", "var(--a)", "<path d=\"M"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in the page", want)
		}
	}
	var empty bytes.Buffer
	if err := (&Report{}).WriteHTML(&empty); err != nil || strings.Contains(empty.String(), "<svg") {
		t.Errorf("of nothing: %v", err)
	}
}

func TestNiceStep(t *testing.T) {
	for v, want := range map[float64]float64{0: 1, 0.03: 0.05, 1: 1, 1.1: 2, 45_000: 50_000, 51_000: 100_000} {
		if got := niceStep(v); got < want*0.999 || got > want*1.001 {
			t.Errorf("%v: %v, want %v", v, got, want)
		}
	}
}

func TestTextCommandsNoTerminal(t *testing.T) {
	r := sample()
	r.Refused = map[string]uint64{"418 I'm\x1b[2J\u009b31m\u202e": 1}
	r.Errors = map[string]uint64{"\x7f\a": 1}
	var out bytes.Buffer
	if err := r.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.Contains(got, "418 I'm[2J31m ") || got != safetext.CleanLines(got) {
		t.Errorf("%q", got)
	}
}
