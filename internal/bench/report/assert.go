package report

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/lzstock/lzstock/internal/nearest"
)

// unit is what a metric counts in.
type unit uint8

const (
	number  unit = iota // 5, 20k, 1M
	elapsed             // 50ms; the value is in milliseconds
	share               // 5%; the value is a fraction
	size                // 150MB; the value is in bytes
)

// metric is something that can be demanded.
type metric struct {
	name string
	unit unit
	help string
	// server: it needs the server's own metrics.
	server bool
	value  func(r *Report) (float64, bool) // false: the run has not measured it
}

func always(f func(r *Report) float64) func(*Report) (float64, bool) {
	return func(r *Report) (float64, bool) { return f(r), true }
}

func ofServer(f func(s *Server) float64) func(*Report) (float64, bool) {
	return func(r *Report) (float64, bool) {
		if r.Server == nil {
			return 0, false
		}
		return f(r.Server), true
	}
}

func ages(prefix, whose string, group func(r *Report) *Group) []metric {
	of := func(f func(a *Ages) float64) func(r *Report) (float64, bool) {
		return func(r *Report) (float64, bool) {
			a := &group(r).Age
			return f(a), a.Count > 0
		}
	}
	help := "age of data at " + whose + " clients"
	return []metric{
		{name: prefix + "p50", unit: elapsed, help: help, value: of(func(a *Ages) float64 { return a.P50 })},
		{name: prefix + "p90", unit: elapsed, help: help, value: of(func(a *Ages) float64 { return a.P90 })},
		{name: prefix + "p99", unit: elapsed, help: help, value: of(func(a *Ages) float64 { return a.P99 })},
		{name: prefix + "p99.9", unit: elapsed, help: help, value: of(func(a *Ages) float64 { return a.P999 })},
		{name: prefix + "max", unit: elapsed, help: help, value: of(func(a *Ages) float64 { return a.Max })},
	}
}

func metrics() []metric {
	out := ages("", "healthy", func(r *Report) *Group { return &r.Healthy })
	out = append(out, ages("slow.", "stalled and dripping", func(r *Report) *Group { return &r.Slow })...)
	return append(out,
		metric{name: "loss", help: "times that pq was not the last q of its topic", value: always(func(r *Report) float64 { return float64(r.Losses()) })},
		metric{name: "disorder", help: "times that q did not grow on its topic", value: always(func(r *Report) float64 {
			return float64(r.Healthy.Total.Disorder + r.Slow.Total.Disorder)
		})},
		metric{name: "bad", help: "frames that could not be read", value: always(func(r *Report) float64 {
			return float64(r.Healthy.Total.Bad + r.Slow.Total.Bad)
		})},
		metric{name: "gaps", help: "losses that the server announced", value: always(func(r *Report) float64 { return float64(r.Gaps) })},
		metric{name: "closes", help: "healthy sockets that the server closed", value: always(func(r *Report) float64 { return float64(r.closes(false)) })},
		metric{name: "slow.closes", help: "stalled and dripping sockets that the server closed", value: always(func(r *Report) float64 { return float64(r.closes(true)) })},
		metric{name: "refused", help: "upgrades that were refused", value: always(func(r *Report) float64 { return float64(sum(r.Refused)) })},
		metric{name: "dial_errors", help: "connections that did not come about", value: always(func(r *Report) float64 { return float64(sum(r.DialErrors)) })},
		metric{name: "clients", help: "sockets open at the same time", value: always(func(r *Report) float64 { return float64(r.Clients.Peak) })},
		metric{name: "opened_in", unit: elapsed, help: "until all sockets were open", value: func(r *Report) (float64, bool) {
			return r.Clients.OpenedIn * 1000, r.Clients.OpenedIn > 0
		}},
		metric{name: "delivered", help: "events a second to healthy clients", value: always(func(r *Report) float64 { return r.Healthy.EventsPerS })},
		metric{name: "events_per_frame", help: "events a frame to healthy clients", value: func(r *Report) (float64, bool) {
			return r.Healthy.EventsPerFrame, r.Healthy.Window.Frames > 0
		}},
		metric{name: "conflated", unit: share, help: "share of the events for healthy clients that gave way to later ones", value: func(r *Report) (float64, bool) {
			return r.Healthy.Conflated, r.Healthy.Window.Events > 0
		}},
		metric{name: "cores", server: true, help: "processors that the server used", value: ofServer(func(s *Server) float64 { return s.Cores })},
		metric{name: "cpu_per_million", server: true, help: "CPU seconds of the server for a million delivered events", value: func(r *Report) (float64, bool) {
			if r.Server == nil {
				return 0, false
			}
			return r.Server.CPUPerMillion, r.Server.CPUPerMillion > 0
		}},
		metric{name: "rss", unit: size, server: true, help: "the server's greatest resident memory", value: ofServer(func(s *Server) float64 { return s.Peak.RSS })},
		metric{name: "goroutines", server: true, help: "the server's goroutines at the end, beyond those before", value: ofServer(func(s *Server) float64 {
			return s.After.Goroutines - s.Before.Goroutines
		})},
		metric{name: "settled_in", unit: elapsed, server: true, help: "from the last close until the server held no more than before", value: func(r *Report) (float64, bool) {
			if r.Server == nil {
				return 0, false
			}
			return r.Server.SettledIn * 1000, r.Server.SettledIn >= 0
		}},
	)
}

// Demand is one condition, such as p99<50ms.
type Demand struct {
	metric metric
	op     string
	value  float64
	text   string
}

// NeedsServer tells whether the condition is about the server's own metrics.
func (d Demand) NeedsServer() bool { return d.metric.server }

// String gives the condition as it was written.
func (d Demand) String() string { return d.text }

// ParseDemands reads conditions separated by commas. The error says what would be
// right.
func ParseDemands(text string) ([]Demand, error) {
	var out []Demand
	for part := range strings.SplitSeq(text, ",") {
		d, err := parseDemand(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("condition %q: %w", strings.TrimSpace(part), err)
		}
		out = append(out, d)
	}
	return out, nil
}

func parseDemand(text string) (Demand, error) {
	at := strings.IndexAny(text, "<>=!")
	if at <= 0 {
		return Demand{}, errors.New("want a metric, one of < <= > >= = !=, and a value, such as p99<50ms or loss=0")
	}
	d := Demand{text: text}
	name, rest := strings.TrimSpace(text[:at]), text[at:]
	for _, op := range []string{"<=", ">=", "==", "!=", "<", ">", "="} {
		if v, ok := strings.CutPrefix(rest, op); ok {
			d.op, rest = op, strings.TrimSpace(v)
			break
		}
	}
	if d.op == "" {
		return Demand{}, errors.New("want one of < <= > >= = != between metric and value")
	}
	var names []string
	for _, m := range metrics() {
		if m.name == name {
			d.metric = m
		}
		names = append(names, m.name)
	}
	if d.metric.name == "" {
		if n := nearest.Name(name, names); n != "" {
			return Demand{}, fmt.Errorf("there is no metric %s, did you mean %s? There are %s", name, n, strings.Join(names, ", "))
		}
		return Demand{}, fmt.Errorf("there is no metric %s; there are %s", name, strings.Join(names, ", "))
	}
	var err error
	d.value, err = d.metric.unit.parse(rest)
	if err != nil {
		return Demand{}, fmt.Errorf("%s %w", name, err)
	}
	return d, nil
}

func (u unit) parse(s string) (float64, error) {
	switch u {
	case elapsed:
		t, err := time.ParseDuration(s)
		if _, bare := scaled(s); err != nil && bare {
			return 0, fmt.Errorf("is a time, and %s has no unit: write %sms, or s or us in place of ms", s, s)
		}
		if err != nil {
			return 0, fmt.Errorf("is a time: %q is none, write 50ms or 1.5s", s)
		}
		return float64(t) / float64(time.Millisecond), nil
	case share:
		if v, ok := scaled(s, suffix{"%", 0.01}); ok {
			return v, nil
		}
		return 0, fmt.Errorf("is a share: %q is none, write 5%% or 0.05", s)
	case size:
		if v, ok := scaled(s, suffix{"KiB", 1 << 10}, suffix{"MiB", 1 << 20}, suffix{"GiB", 1 << 30}, suffix{"kB", 1e3}, suffix{"KB", 1e3}, suffix{"MB", 1e6}, suffix{"GB", 1e9}); ok {
			return v, nil
		}
		return 0, fmt.Errorf("is a size: %q is none, write 150MB, 64MiB or a number of bytes", s)
	default:
		if v, ok := scaled(s, suffix{"k", 1e3}, suffix{"M", 1e6}); ok {
			return v, nil
		}
		return 0, fmt.Errorf("is a number: %q is none, write 5, 20k or 1M", s)
	}
}

type suffix struct {
	text   string
	factor float64
}

// scaled reads a number that one of the suffixes may follow.
func scaled(s string, suffixes ...suffix) (float64, bool) {
	factor := 1.0
	for _, x := range suffixes {
		if rest, ok := strings.CutSuffix(s, x.text); ok {
			s, factor = strings.TrimSpace(rest), x.factor
			break
		}
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, false
	}
	return v * factor, true
}

// Verdict is whether a condition holds.
type Verdict struct {
	Demand string `json:"demand"`
	Got    string `json:"got"`
	Holds  bool   `json:"holds"`
}

// Judge holds the conditions against the report, and notes the verdicts there. It
// tells whether all hold. What was not measured does not hold.
func (r *Report) Judge(demands []Demand) bool {
	all := true
	for _, d := range demands {
		v := Verdict{Demand: d.text, Got: "not measured"}
		if got, ok := d.metric.value(r); ok {
			v.Got = d.metric.unit.format(got)
			v.Holds = compare(got, d.op, d.value)
		}
		all = all && v.Holds
		r.Asserts = append(r.Asserts, v)
	}
	return all
}

func compare(got float64, op string, want float64) bool {
	switch op {
	case "<":
		return got < want
	case "<=":
		return got <= want
	case ">":
		return got > want
	case ">=":
		return got >= want
	case "!=":
		return got != want
	default:
		return got == want
	}
}

func (u unit) format(v float64) string {
	switch u {
	case elapsed:
		return millis(v)
	case share:
		return percent(v)
	case size:
		return byteSize(v)
	default:
		return count(v)
	}
}

// Metrics lists what can be demanded, for help.
func Metrics() string {
	var b strings.Builder
	for _, m := range metrics() {
		if strings.HasPrefix(m.name, "slow.p") || m.name == "slow.max" {
			continue
		}
		note := ""
		if m.server {
			note = " (needs --admin)"
		}
		fmt.Fprintf(&b, "    %-17s%s%s\n", m.name, m.help, note)
	}
	return b.String()
}
