package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lzstock/lzstock/internal/bench/report"
)

// The document's part between these lines is ours.
const (
	begin = "<!-- make bench-compare writes what follows -->"
	end   = "<!-- until here -->"
)

// middle gives the median of a figure over the rounds.
func middle(list []*report.Report, of func(r *report.Report) float64) float64 {
	var v []float64
	for _, r := range list {
		v = append(v, of(r))
	}
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// row is one contestant under one load.
type row struct {
	delivered, conflated, p50, p99, cpu, perFrame, rss, lost, closed float64
}

func rowOf(list []*report.Report) row {
	get := func(of func(r *report.Report) float64) float64 { return middle(list, of) }
	return row{
		delivered: get(func(r *report.Report) float64 { return r.Healthy.EventsPerS }),
		conflated: get(func(r *report.Report) float64 { return r.Healthy.Conflated }),
		p50:       get(func(r *report.Report) float64 { return r.Healthy.Age.P50 }),
		p99:       get(func(r *report.Report) float64 { return r.Healthy.Age.P99 }),
		cpu:       get(func(r *report.Report) float64 { return r.Server.CPUPerMillion }),
		perFrame:  get(func(r *report.Report) float64 { return r.Healthy.EventsPerFrame }),
		rss:       get(func(r *report.Report) float64 { return r.Server.Peak.RSS }),
		lost:      get(func(r *report.Report) float64 { return float64(r.Losses()) }),
		closed: get(func(r *report.Report) (n float64) {
			for _, c := range r.Closes {
				n += float64(c.Count)
			}
			return n
		}),
	}
}

// writeTable writes one load's figures, each with its ratio to LZStock's where
// that makes sense.
func writeTable(b *strings.Builder, w work, list []contestant, results map[string][]*report.Report) {
	fmt.Fprintf(b, "\n### %s\n", w)
	b.WriteString("| | events/s delivered | to LZStock's | conflated | age p50 | age p99 | CPU µs an event | to LZStock's | events a frame | memory at most | lost | closed |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	ours := rowOf(results["lzstock"])
	for _, c := range list {
		r := rowOf(results[c.key])
		fmt.Fprintf(b, "| %s | %s | %s | %.1f %% | %s | %s | %.1f | %s | %.1f | %.0f MB | %.0f | %.0f |\n",
			c.name, group(int(r.delivered)), ratio(r.delivered, ours.delivered), r.conflated*100, millis(r.p50), millis(r.p99),
			r.cpu, ratio(r.cpu, ours.cpu), r.perFrame, r.rss/1e6, r.lost, r.closed)
	}
}

func ratio(v, of float64) string {
	if of == 0 {
		return ""
	}
	return strconv.FormatFloat(v/of, 'f', 2, 64)
}

func millis(ms float64) string {
	switch {
	case ms < 10:
		return strconv.FormatFloat(ms, 'f', 1, 64) + " ms"
	case ms < 1000:
		return strconv.FormatFloat(ms, 'f', 0, 64) + " ms"
	}
	return strconv.FormatFloat(ms/1000, 'f', 1, 64) + " s"
}

// group writes a number with commas.
func group(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// heading says when, where and how.
func heading(ctx context.Context, begun time.Time, o options) string {
	command := fmt.Sprintf("cd bench && go run ./compare -rounds %d -hold %s -works %s", o.rounds, o.hold, o.works)
	return fmt.Sprintf("%s, %s. Each in turn, rounds: %d, the median of which is shown; %s measured in each run. The load generator, the monitor and\n"+
		"the simulator share the machine. Sockets want 10 of %d symbols, trades and quotes. CPU and memory are the\n"+
		"contestant's own process: what the textbook costs the monitor, with its stream a socket, comes on top. Command: `%s`.\n",
		begun.UTC().Format("2006-01-02 15:04 UTC"), machine(ctx), o.rounds, o.hold, universe, command)
}

// machine says what this ran on.
func machine(ctx context.Context) string {
	model := runtime.GOARCH
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	system := runtime.GOOS
	if out, err := exec.CommandContext(ctx, "uname", "-sr").Output(); err == nil {
		system = strings.TrimSpace(string(out))
	}
	return fmt.Sprintf("%d × %s, %s, %s", runtime.NumCPU(), model, system, runtime.Version())
}

// update puts the text into a document, in place of what stood there before.
func update(file, text string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(old), begin)
	after := "\n"
	if ok {
		if _, after, ok = strings.Cut(rest, end); !ok {
			return fmt.Errorf("%s has the line %q, but not %q behind it", file, begin, end)
		}
	} else {
		before = strings.TrimRight(before, "\n") + "\n\n## Compared with other designs\n"
	}
	return os.WriteFile(file, []byte(before+begin+"\n"+text+end+after), 0o600)
}
