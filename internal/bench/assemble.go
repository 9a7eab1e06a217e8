package bench

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/lzstock/lzstock/internal/bench/report"
	"github.com/lzstock/lzstock/internal/safetext"
)

// report puts together what the run has found.
func (r *runner) report(ctx context.Context, settled settling) *report.Report {
	t, c := r.total, r.cfg
	out := &report.Report{
		Started: r.begun, Seconds: time.Since(r.begun).Seconds(), Window: r.measured.Seconds(), Interrupted: ctx.Err() != nil,
		Setup: report.Setup{
			Version: c.Version, Command: c.Command, Machine: fmt.Sprintf("%s/%s, %d processors", runtime.GOOS, runtime.GOARCH, runtime.NumCPU()),
			URL: safetext.Redact(c.URL), Clients: greatest(r.stages), Symbols: c.Symbols, Universe: len(c.Universe), Channels: channelList(c), Delivery: delivery(c),
			Profile: c.Profile, Stalled: float64(c.Stalled), Drip: float64(c.Drip), Churn: float64(c.Churn), Vanish: c.Vanish, Loops: runtime.GOMAXPROCS(0),
		},
		Clients: report.Clients{
			Peak: r.most, Opened: t.opened, Left: t.left, Churned: t.churned, OpenedIn: r.opened.Seconds(), Handshake: report.AgesOf(t.shake),
		},
		Refused: maps.Clone(t.refused), DialErrors: maps.Clone(t.failed), Errors: maps.Clone(t.errors),
		Throttles: t.throttle, Gaps: t.gaps, Stale: t.stale, Curve: r.curve,
	}
	if out.Window > 0 {
		out.Clients.Cores = r.own / out.Window
	}
	for i, g := range []*report.Group{&out.Healthy, &out.Slow} {
		g.Total, g.Window, g.Age = t.counts[i], r.window[i], report.AgesOf(r.age[i])
		g.Rates(out.Window)
	}
	for id := range out.Setup.Clients {
		if r.fleet.temper(id) == eager {
			out.Healthy.Clients++
		} else {
			out.Slow.Clients++
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(t.closes), func(a, b closing) int {
		return (int(a.code)-int(b.code))*int(groups) + int(a.of) - int(b.of)
	}) {
		out.Closes = append(out.Closes, report.Close{Code: k.code, Slow: k.of == slow, Count: t.closes[k]})
	}
	if len(c.Admin) > 0 {
		out.Server = r.server(out, settled)
	}
	return out
}

func (r *runner) server(out *report.Report, settled settling) *report.Server {
	s := &report.Server{
		URLs: r.servers.urls, Before: r.before.sample, Peak: r.peak, After: r.last.sample,
		CPUSeconds: r.cpu, SettledIn: settled.after.Seconds(), Unsettled: settled.left, Gateway: map[string]float64{},
	}
	if settled.after < 0 {
		s.SettledIn = -1
	}
	if out.Window > 0 {
		s.Cores = r.cpu / out.Window
	}
	if n := out.Healthy.Window.Events + out.Slow.Window.Events; n > 0 {
		s.CPUPerMillion = r.cpu / float64(n) * 1e6
	}
	for series, v := range r.last.gateway {
		if isCounter(series) {
			v -= r.before.gateway[series]
		}
		s.Gateway[series] = v
	}
	return s
}

func channelList(c *Config) string {
	var names []string
	for _, ch := range c.Channels {
		names = append(names, ch.String())
	}
	return strings.Join(names, ",")
}

func delivery(c *Config) string {
	switch {
	case c.Delivery == 0:
		return "adaptive"
	case c.Interval > 0:
		return fmt.Sprintf("%s every %s", c.Delivery, c.Interval)
	}
	return c.Delivery.String()
}
