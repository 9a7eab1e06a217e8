// Command compare runs LZStock and the baselines one after the other, again and
// again, under the same load, and writes a table. The load is that of `lzstock
// bench`; the prices are the simulator's, through one Market Monitor that all of
// them read from.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lzstock/lzstock/internal/bench/report"

	"github.com/lzstock/lzstock/bench/internal/process"
)

// options are the flags.
type options struct {
	rounds int
	hold   time.Duration
	works  string
	only   string
	update string
}

// work is one load: so many sockets, and so many events a second at the source, of
// which each socket gets about a tenth.
type work struct{ sockets, rate int }

func (w work) String() string {
	return fmt.Sprintf("%s sockets, %s events/s offered", group(w.sockets), group(w.sockets*w.rate/10))
}

// contestant is one way to bring the prices to clients.
type contestant struct {
	key, name string
	command   func(bin, listen, admin, monitor string) []string
}

func contestants() []contestant {
	baseline := func(name string, more ...string) func(bin, listen, admin, monitor string) []string {
		return func(bin, listen, admin, monitor string) []string {
			return append([]string{filepath.Join(bin, name), "-listen", listen, "-admin", admin, "-monitor", monitor}, more...)
		}
	}
	return []contestant{
		{"lzstock", "LZStock", func(bin, listen, admin, monitor string) []string {
			return []string{filepath.Join(bin, "lzstock"), "--log-level", "error", "gateway", "--listen", listen, "--admin", admin, "--monitor", monitor}
		}},
		{"textbook", "textbook", baseline("textbook")},
		{"floor", "floor, a write an event", baseline("floor")},
		{"coalesced", "floor, coalesced", baseline("floor", "-coalesce")},
	}
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 2, "how often each contestant has its turn")
	flag.DurationVar(&o.hold, "hold", 8*time.Second, "time that is measured in each run")
	flag.StringVar(&o.works, "works", "1000x200,5000x400,5000x2000", "loads: sockets x events a second at the source, of which a socket gets a tenth")
	flag.StringVar(&o.only, "only", "", "only these contestants: some of lzstock,textbook,floor,coalesced")
	flag.StringVar(&o.update, "update", "", "write the tables into this document, in place of the last ones")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := compare(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		stop()
		os.Exit(1)
	}
}

func compare(ctx context.Context, o options) error {
	works, err := parseWorks(o.works)
	if err != nil {
		return err
	}
	list, err := choose(o.only)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "lzstock-compare-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // what is left is the system's to clean
	r := &runner{dir: dir, hold: o.hold}
	if err := r.build(ctx); err != nil {
		return err
	}
	var out strings.Builder
	begun := time.Now()
	for _, w := range works {
		results, err := r.work(ctx, w, list, o.rounds)
		if err != nil {
			return err
		}
		writeTable(&out, w, list, results)
	}
	text := heading(ctx, begun, o) + out.String()
	if o.update == "" {
		_, err = os.Stdout.WriteString(text)
		return err
	}
	return update(o.update, text)
}

func parseWorks(text string) ([]work, error) {
	var out []work
	for part := range strings.SplitSeq(text, ",") {
		a, b, _ := strings.Cut(part, "x")
		sockets, err := strconv.Atoi(a)
		rate, err2 := strconv.Atoi(b)
		if err != nil || err2 != nil || sockets < 1 || rate < 1 {
			return nil, fmt.Errorf("%q is no load; want SOCKETSxRATE, such as 1000x200", part)
		}
		out = append(out, work{sockets, rate})
	}
	return out, nil
}

func choose(only string) ([]contestant, error) {
	if only == "" {
		return contestants(), nil
	}
	var out []contestant
	for key := range strings.SplitSeq(only, ",") {
		found := false
		for _, c := range contestants() {
			if c.key == key {
				out, found = append(out, c), true
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no contestant %q; want some of lzstock,textbook,floor,coalesced", key)
		}
	}
	return out, nil
}

// work lets the contestants have their turns under one load, and gives each one's
// reports.
func (r *runner) work(ctx context.Context, w work, list []contestant, rounds int) (map[string][]*report.Report, error) {
	monitor, err := process.Address(ctx)
	if err != nil {
		return nil, err
	}
	prices, err := process.Start(ctx, "up", filepath.Join(r.dir, "lzstock"), "--log-level", "error", "up",
		"--source", fmt.Sprintf("sim?symbols=%d&rate=%d", universe, w.rate), "--listen", "127.0.0.1:0", "--admin", "off", "--grpc", monitor)
	if err != nil {
		return nil, err
	}
	defer prices.Stop()
	if err := prices.Listens(ctx, monitor); err != nil {
		return nil, err
	}
	out := map[string][]*report.Report{}
	for range rounds {
		for _, c := range list {
			rep, err := r.turn(ctx, w, c, monitor)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", w, c.name, err)
			}
			out[c.key] = append(out[c.key], rep)
			fmt.Fprintf(os.Stderr, "%s: %s: %.0f events/s, age p99 %.0f ms, %.1f µs CPU an event\n",
				w, c.name, rep.Healthy.EventsPerS, rep.Healthy.Age.P99, rep.Server.CPUPerMillion)
		}
	}
	return out, nil
}

// turn puts the load on one contestant.
func (r *runner) turn(ctx context.Context, w work, c contestant, monitor string) (rep *report.Report, err error) {
	listen, err := process.Address(ctx)
	if err != nil {
		return nil, err
	}
	admin, err := process.Address(ctx)
	if err != nil {
		return nil, err
	}
	command := c.command(r.dir, listen, admin, monitor)
	p, err := process.Start(ctx, c.key, command...)
	if err != nil {
		return nil, err
	}
	defer p.Stop()
	if err := errors.Join(p.Listens(ctx, listen), p.Ready(ctx, admin)); err != nil {
		return nil, err
	}
	return r.bench(ctx, w, listen, admin)
}
