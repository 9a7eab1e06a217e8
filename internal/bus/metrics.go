package bus

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	up, pending                                prometheus.Gauge
	losses, batches, events, bytes, duplicates prometheus.Counter
	readBatches, readEvents, rereads           prometheus.Counter
	damaged, backpressure                      prometheus.Counter
	retries                                    *prometheus.CounterVec
	seconds, size                              prometheus.Histogram
}

// newMetrics registers the bus's metrics; several buses of one process share
// them. registry may be nil.
func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	r := &registrar{registry: registry}
	m := &metrics{
		up:         r.gauge("up", "1 while the bus can be reached."),
		pending:    r.gauge("pending_events", "Events that wait to be published."),
		losses:     r.counter("losses_total", "Times that the bus was lost."),
		batches:    r.counter("published_batches_total", "Batches stored."),
		events:     r.counter("published_events_total", "Events stored."),
		bytes:      r.counter("published_bytes_total", "Bytes of envelopes stored."),
		duplicates: r.counter("duplicate_batches_total", "Batches that the bus had already."),
		retries: register(r, prometheus.NewCounterVec(prometheus.CounterOpts(opts("publish_retries_total",
			"Attempts to publish that were repeated, by why.")), []string{"reason"})),
		readBatches:  r.counter("read_batches_total", "Batches read."),
		readEvents:   r.counter("read_events_total", "Events read."),
		rereads:      r.counter("rereads_total", "Times that reading began anew after a hole or silence."),
		damaged:      r.counter("damaged_messages_total", "Messages on the bus that were no batches."),
		backpressure: r.counter("backpressure_seconds_total", "Time for which sources were held up by a slow bus."),
		seconds: r.histogram("publish_seconds", "Time from sending a batch to its acknowledgement, repeats included.",
			[]float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5}),
		size: r.histogram("batch_events", "Events a batch.", []float64{1, 2, 4, 8, 16, 32, 64, 128, 256}),
	}
	m.begin()
	return m, r.err
}

// begin makes all values of labels, so that they are there from the start.
func (m *metrics) begin() {
	for _, reason := range []string{whyLost, whyFull, whyNobody, whyStoring, whyOther} {
		m.retries.WithLabelValues(reason)
	}
}

func (m *metrics) published(events, bytes int, took time.Duration, duplicate bool) {
	m.seconds.Observe(took.Seconds())
	if duplicate {
		m.duplicates.Inc()
		return
	}
	m.batches.Inc()
	m.events.Add(float64(events))
	m.bytes.Add(float64(bytes))
	m.size.Observe(float64(events))
}

func (m *metrics) read(events int) {
	m.readBatches.Inc()
	m.readEvents.Add(float64(events))
}

type registrar struct {
	registry prometheus.Registerer
	err      error
}

func opts(name, help string) prometheus.Opts {
	return prometheus.Opts{Namespace: "lzstock", Subsystem: "bus", Name: name, Help: help}
}

func (r *registrar) gauge(name, help string) prometheus.Gauge {
	return register(r, prometheus.NewGauge(prometheus.GaugeOpts(opts(name, help))))
}

func (r *registrar) counter(name, help string) prometheus.Counter {
	return register(r, prometheus.NewCounter(prometheus.CounterOpts(opts(name, help))))
}

func (r *registrar) histogram(name, help string, buckets []float64) prometheus.Histogram {
	return register(r, prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: "lzstock", Subsystem: "bus", Name: name, Help: help, Buckets: buckets,
	}))
}

func register[C prometheus.Collector](r *registrar, c C) C {
	if r.registry == nil {
		return c
	}
	err := r.registry.Register(c)
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if old, ok := already.ExistingCollector.(C); ok {
			return old
		}
	}
	if err != nil {
		r.err = errors.Join(r.err, err)
	}
	return c
}
