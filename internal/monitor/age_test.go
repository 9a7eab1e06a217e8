package monitor

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/lzstock/lzstock/market"
)

// histogram gives how much a registry's histogram has counted.
func histogram(t *testing.T, r *prometheus.Registry, name string) *dto.Histogram {
	t.Helper()
	all, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if m.GetName() == name {
			return m.GetMetric()[0].GetHistogram()
		}
	}
	t.Fatalf("no metric %s", name)
	return nil
}

func TestAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		e := newTestEngine(t, &sessionLog{}, Config{Registry: registry})
		if err := e.start(t.Context()); err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		for batch, m := range []Message{
			{Events: []market.Event{
				{Channel: market.Trades, Symbol: "A", Trade: &market.Trade{Time: now.Add(-time.Minute)}},
				{Channel: market.Trades, Symbol: "A", Trade: &market.Trade{Time: now.Add(-3 * time.Second)}},
			}, Stored: now.Add(-2 * time.Second)},
			{}, // damaged, and from a bus that does not tell the time
		} {
			m.Batch, m.Epoch, m.Source = uint64(batch+1), 1, "x"
			for i := range m.Events {
				m.Events[i].Seq = market.MakeSeq(m.Batch, i)
			}
			if err := e.apply(t.Context(), &m); err != nil {
				t.Fatal(err)
			}
		}
		for name, want := range map[string]float64{"lzstock_monitor_source_age_seconds": 3, "lzstock_monitor_bus_age_seconds": 2} {
			if h := histogram(t, registry, name); h.GetSampleCount() != 1 || h.GetSampleSum() != want {
				t.Errorf("%s: %d of %v s, want 1 of %v s", name, h.GetSampleCount(), h.GetSampleSum(), want)
			}
		}
	})
}
