package app

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/lzstock/lzstock/internal/gateway"
	"github.com/lzstock/lzstock/internal/ops"
	"github.com/lzstock/lzstock/internal/safetext"
	"github.com/lzstock/lzstock/market"
	pages "github.com/lzstock/lzstock/web/ops"
)

// What a part's state means for who looks.
const (
	levelOK   = "ok"
	levelWarn = "warn"
	levelBad  = "bad"
)

// operator makes the page that operators look at, and adds what keeps its history.
func (b *builder) operator(title string) error {
	files, err := pages.Files()
	if err != nil {
		return fmt.Errorf("the operator's page: %w", err)
	}
	h, err := ops.NewHistory(b.registry, b.Logger)
	if err != nil {
		return err
	}
	b.add(part{name: "history", run: h.Run})
	b.page = func(mux *http.ServeMux) error {
		c := ops.Config{
			Title: title, Build: b.Build.String(), Files: files, History: h, Logger: b.Logger, State: b.state, Slow: b.slow,
		}
		if slices.ContainsFunc(b.parts, func(p part) bool { return p.drain != nil }) {
			c.Drain = func() any { return b.drain.status() }
		}
		p, err := ops.NewPage(c)
		if err != nil {
			return err
		}
		p.Admin(mux)
		return nil
	}
	return nil
}

// state gives how the parts are.
func (b *builder) state() []ops.State {
	var out []ops.State
	for _, c := range b.checks {
		s := ops.State{Name: c.Name, State: "ready", Level: levelOK}
		if err := c.Ready(); err != nil {
			s.State, s.Level, s.Text = "not ready", levelBad, safetext.Redact(err.Error())
		}
		out = append(out, s)
	}
	for _, more := range b.states {
		out = append(out, more()...)
	}
	return out
}

// feedState gives the feed, and its sources, as clients are told.
func feedState(f *market.Feed) []ops.State {
	if f == nil || f.State == 0 {
		return []ops.State{{Name: "feed", State: "unknown", Level: levelWarn, Text: "no monitor has answered yet"}}
	}
	out := []ops.State{aFeed("feed", f.State, f.Reason, f.Since)}
	for _, s := range f.Sources {
		out = append(out, aFeed("source "+s.Name, s.State, s.Reason, s.Since))
	}
	return out
}

func aFeed(name string, state market.FeedState, reason market.FeedReason, since time.Time) ops.State {
	s := ops.State{Name: name, State: state.String(), Level: levelOK, Since: since}
	switch state {
	case market.FeedStale:
		s.Level = levelWarn
	case market.FeedDown:
		s.Level = levelBad
	case market.FeedLive:
	}
	if reason != 0 {
		s.Text = reason.String()
	}
	return s
}

// monitorInUse gives the monitor that the gateway reads, as the metrics have it.
func (b *builder) monitorInUse() []ops.State {
	s := ops.State{Name: "monitor in use", State: "none", Level: levelBad}
	families, _ := b.registry.Gather() // what could be had is there all the same
	for _, f := range families {
		if f.GetName() != "lzstock_upstream_monitor" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetGauge().GetValue() == 1 {
				s.State, s.Level = m.GetLabel()[0].GetValue(), levelOK
			}
		}
	}
	return []ops.State{s}
}

// watchGateway has the page show what it can of a gateway.
func (b *builder) watchGateway(g *gateway.Gateway, sink *gatewaySink) {
	b.slow = func(ctx context.Context, most int) (any, error) { return g.Slowest(ctx, most) }
	b.states = append(b.states, b.monitorInUse, func() []ops.State { return feedState(sink.feed.Load()) })
}
