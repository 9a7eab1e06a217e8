package monitor

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lzstock/lzstock/internal/monitor/bars"
	"github.com/lzstock/lzstock/internal/obs"
	"github.com/lzstock/lzstock/market"
)

type metrics struct {
	events   [market.NumChannels]prometheus.Counter
	batches  prometheus.Counter
	position prometheus.Gauge
	state    prometheus.Gauge
	sources  *prometheus.GaugeVec
	rereads  prometheus.Counter
	holes    *prometheus.CounterVec
	gaps     prometheus.Counter
	lost     prometheus.Counter
	late     prometheus.Counter
	wild     prometheus.Counter
	back     prometheus.Counter
	leftOut  prometheus.Counter
	saved    *prometheus.CounterVec
	size     prometheus.Gauge
	restored *prometheus.CounterVec
	records  *prometheus.CounterVec
	streams  *prometheus.GaugeVec
	refused  prometheus.Counter
	calls    *prometheus.CounterVec

	sourceAge, busAge prometheus.Histogram
}

// newMetrics registers the monitor's metrics; registry may be nil.
func newMetrics(registry prometheus.Registerer, m *Monitor) (*metrics, error) {
	if registry == nil {
		registry = prometheus.NewRegistry()
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts(opts(name, help)))
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts(opts(name, help)))
	}
	age := func(name, help string) prometheus.Histogram {
		return obs.NewAge(prometheus.HistogramOpts{Namespace: "lzstock", Subsystem: "monitor", Name: name, Help: help})
	}
	events := prometheus.NewCounterVec(prometheus.CounterOpts(opts("events_total", "Events published to the hub, derived ones included.")), []string{"channel"})
	x := &metrics{
		batches:   counter("batches_total", "Batches read from the bus and published."),
		position:  gauge("position", "The last place of the feed that has been read."),
		state:     gauge("feed_state", "0 while starting, 1 live, 2 stale, 3 down."),
		sources:   prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("source_state", "What a source is: 1 live, 2 stale, 3 down; the reason is empty where there is none.")), []string{"source", "reason"}),
		rereads:   counter("rereads_total", "Times that reading the bus ended and began again."),
		holes:     prometheus.NewCounterVec(prometheus.CounterOpts(opts("holes_total", "Holes in the bus's sequence: noticed, repaired by reading again, given up.")), []string{"outcome"}),
		gaps:      counter("gaps_total", "Times that events were no longer held when they were to be read."),
		lost:      counter("lost_batches_total", "Batches that were no longer held when they were to be read."),
		late:      counter("late_trades_total", "Trades too late to correct their minute bar."),
		wild:      counter("wild_times_total", "Events left out of the bars because nothing confirmed their time."),
		back:      counter("watermark_resets_total", "Times that a source's time was moved back."),
		leftOut:   counter("left_out_events_total", "Events left out because the monitor holds as many symbols as it may."),
		saved:     prometheus.NewCounterVec(prometheus.CounterOpts(opts("checkpoints_total", "Checkpoints, by outcome.")), []string{"outcome"}),
		size:      gauge("checkpoint_bytes", "Size of the last checkpoint."),
		restored:  prometheus.NewCounterVec(prometheus.CounterOpts(opts("starts_total", "Starts, by what they began from.")), []string{"from"}),
		records:   prometheus.NewCounterVec(prometheus.CounterOpts(opts("bar_records_total", "Records of bars: saved, failed, given up, or found damaged.")), []string{"outcome"}),
		streams:   prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("streams", "Open streams.")), []string{"method"}),
		refused:   prometheus.NewCounter(prometheus.CounterOpts(opts("refused_requests_total", "Requests of Watch streams that were refused."))),
		calls:     prometheus.NewCounterVec(prometheus.CounterOpts(opts("calls_total", "Finished gRPC calls.")), []string{"method", "code"}),
		sourceAge: age("source_age_seconds", "Time from an event's time at its source until it was in the hub; of the last event of each batch."),
		busAge:    age("bus_age_seconds", "Time from when the bus stored a batch until it was in the hub."),
	}
	merged := prometheus.NewCounterFunc(prometheus.CounterOpts(opts("merged_events_total",
		"Events that gave way to later ones because a stream was slow, since the epoch began.")), func() float64 { return float64(m.hubStats().Merged) })
	inbox := prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts("hub_inbox", "Batches and commands that wait for the fullest shard.")),
		func() float64 { return float64(m.hubStats().Inbox) })
	minutes := prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts("bars", "Minutes that are kept for who asks for bars of the past.")), func() float64 {
		if e := m.current.Load(); e != nil {
			return float64(e.keeper.store.Len())
		}
		return 0
	})
	topics := prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts("hub_topics", "Topics that the hub holds.")),
		func() float64 { return float64(m.hubStats().Topics) })
	symbols := prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts("symbols", "Symbols that the monitor holds.")), func() float64 {
		_, n := m.Symbol("")
		return float64(n)
	})
	var errs []error
	for _, c := range []prometheus.Collector{
		events, x.batches, x.position, x.state, x.sources, x.rereads, x.holes, x.gaps, x.lost, x.late, x.wild, x.back, x.leftOut, symbols,
		x.saved, x.size, x.restored, x.records, minutes, x.streams, x.refused, x.calls, x.sourceAge, x.busAge, merged, inbox, topics,
	} {
		errs = append(errs, registry.Register(c))
	}
	for _, outcome := range []string{"noticed", "repaired", "given_up"} {
		x.holes.WithLabelValues(outcome) // so that 0 is seen
	}
	for _, c := range market.Channels() {
		x.events[c] = events.WithLabelValues(c.String())
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("register the monitor's metrics: %w", err)
	}
	return x, nil
}

func opts(name, help string) prometheus.Opts {
	return prometheus.Opts{Namespace: "lzstock", Subsystem: "monitor", Name: name, Help: help}
}

// published counts the events of one batch, by channel.
func (x *metrics) published(events []market.Event) {
	var n [market.NumChannels]int
	for i := range events {
		n[events[i].Channel]++
	}
	for c, count := range n {
		if count > 0 {
			x.events[c].Add(float64(count))
		}
	}
	x.batches.Inc()
}

// told shows the feed's state.
func (x *metrics) told(f *market.Feed) {
	x.state.Set(float64(f.State))
	x.sources.Reset() // some may be forgotten
	for _, s := range f.Sources {
		reason := ""
		if s.Reason != 0 {
			reason = s.Reason.String()
		}
		x.sources.WithLabelValues(s.Name, reason).Set(float64(s.State))
	}
}

// applied tells how old a batch is that is in the hub now.
func (x *metrics) applied(m *Message, now time.Time) {
	if n := len(m.Events); n > 0 {
		x.sourceAge.Observe(obs.Age(now.Sub(m.Events[n-1].Time())))
	}
	if !m.Stored.IsZero() {
		x.busAge.Observe(obs.Age(now.Sub(m.Stored)))
	}
}

// bars counts what a builder did since the last time.
func (x *metrics) bars(before, now bars.Stats) {
	x.late.Add(float64(now.Late - before.Late))
	x.wild.Add(float64(now.Wild - before.Wild))
	x.back.Add(float64(now.Back - before.Back))
}
