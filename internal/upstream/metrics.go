package upstream

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lzstock/lzstock/internal/obs"
	"github.com/lzstock/lzstock/market"
)

type metrics struct {
	connected, topics, waiting         prometheus.Gauge
	events, ignored, requests, foreign prometheus.Counter
	refused                            prometheus.Counter
	reconnects, failovers, holes       *prometheus.CounterVec
	monitor                            *prometheus.GaugeVec
	interruption, age                  prometheus.Histogram
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
		waiting:    gauge("waiting_topics", "Topics whose symbol the feed has never had: nobody is asked for them."),
		refused:    prometheus.NewCounter(counter("refused_requests_total", "WatchRequests that the monitor refused.")),
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
		age: obs.NewAge(prometheus.HistogramOpts{
			Namespace: "lzstock", Subsystem: "upstream", Name: "age_seconds",
			Help: "Time from an event's time at its source until it came from the monitor; of the last trade or quote of each message.",
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
		m.connected, m.topics, m.waiting, m.refused, m.events, m.ignored, m.requests, m.foreign, m.reconnects, m.failovers, m.holes, m.monitor, m.interruption, m.age,
	} {
		failed = errors.Join(failed, registry.Register(c))
	}
	return m, failed
}

// came tells how old the events are that have come, by the last whose time is that
// of what happened: a bar has its beginning's.
func (m *metrics) came(events []market.Event, now time.Time) {
	for i := len(events) - 1; i >= 0; i-- {
		if e := &events[i]; !e.Channel.IsBar() {
			m.age.Observe(obs.Age(now.Sub(e.Time())))
			return
		}
	}
}
