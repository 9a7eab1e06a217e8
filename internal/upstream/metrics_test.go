package upstream

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lzstock/lzstock/market"
)

// TestAge: a message is as old as its last trade or quote; a bar's time says
// nothing of its age.
func TestAge(t *testing.T) {
	registry := prometheus.NewRegistry()
	m, err := newMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_700_000_000, 0)
	bar := market.Event{Channel: market.Bars, Bar: &market.Bar{Time: now.Add(-time.Minute)}}
	m.came([]market.Event{{Channel: market.Trades, Trade: &market.Trade{Time: now.Add(-2 * time.Second)}}, bar}, now)
	m.came([]market.Event{bar}, now)
	all, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range all {
		if family.GetName() != "lzstock_upstream_age_seconds" {
			continue
		}
		if h := family.GetMetric()[0].GetHistogram(); h.GetSampleCount() != 1 || h.GetSampleSum() != 2 {
			t.Errorf("%d ages of %v s, want one of 2 s", h.GetSampleCount(), h.GetSampleSum())
		}
		return
	}
	t.Error("no such metric")
}
