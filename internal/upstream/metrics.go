package upstream

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	connected, topics                  prometheus.Gauge
	events, ignored, requests, foreign prometheus.Counter
	reconnects                         *prometheus.CounterVec
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
	}
	if registry == nil {
		return m, nil
	}
	var failed error
	for _, c := range []prometheus.Collector{m.connected, m.topics, m.events, m.ignored, m.requests, m.foreign, m.reconnects} {
		failed = errors.Join(failed, registry.Register(c))
	}
	return m, failed
}
