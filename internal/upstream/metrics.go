package upstream

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	connected, topics                  prometheus.Gauge
	events, ignored, requests, foreign prometheus.Counter
	reconnects, failovers, holes       *prometheus.CounterVec
	monitor                            *prometheus.GaugeVec
	interruption                       prometheus.Histogram
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "lzstock", Subsystem: "upstream", Name: name, Help: help})
	}
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "lzstock", Subsystem: "upstream", Name: name, Help: help}
	}
	m := &metrics{
		connected:  gauge("connected", "1 while the Watch stream is sound and everything has been resumed."),
		topics:     gauge("topics", "Topics that the stream carries or is asked to."),
		events:     prometheus.NewCounter(counter("events_total", "Live events passed on.")),
		ignored:    prometheus.NewCounter(counter("ignored_events_total", "Events that came twice, or of topics that were dropped.")),
		requests:   prometheus.NewCounter(counter("requests_total", "WatchRequests sent.")),
		foreign:    prometheus.NewCounter(counter("foreign_releases_total", "Releases of topics that nobody had: a fault in the gateway.")),
		reconnects: prometheus.NewCounterVec(counter("reconnects_total", "Streams that ended or never began, by reason."), []string{"reason"}),
		failovers:  prometheus.NewCounterVec(counter("failovers_total", "Moves to another monitor, by why the one before was left."), []string{"reason"}),
		holes: prometheus.NewCounterVec(counter("holes_total",
			"Missing events of a topic that were noticed, that a replay has brought, or that a gap announces."), []string{"outcome"}),
		monitor: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "lzstock", Subsystem: "upstream", Name: "monitor", Help: "1 for the monitor that is in use.",
		}, []string{"monitor"}),
		interruption: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "lzstock", Subsystem: "upstream", Name: "interruption_seconds",
			Help:    "Time from the last word of one stream until the next one had resumed everything.",
			Buckets: []float64{0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60, 300},
		}),
	}
	for _, outcome := range []string{"noticed", "repaired", "announced"} {
		m.holes.WithLabelValues(outcome) // so that 0 is seen
	}
	if registry == nil {
		return m, nil
	}
	var failed error
	for _, c := range []prometheus.Collector{
		m.connected, m.topics, m.events, m.ignored, m.requests, m.foreign, m.reconnects, m.failovers, m.holes, m.monitor, m.interruption,
	} {
		failed = errors.Join(failed, registry.Register(c))
	}
	return m, failed
}
