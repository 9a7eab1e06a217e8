package ingest

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
)

// Results of a batch, as metric labels.
const (
	resultStored    = "stored"
	resultDuplicate = "duplicate"
	resultRefused   = "refused"
	resultFailed    = "failed"
)

type metrics struct {
	batches *prometheus.CounterVec
	events  prometheus.Counter
	refused prometheus.Counter
	symbols *prometheus.CounterVec
	storing prometheus.Histogram
}

func newMetrics(s *Service, registry prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		batches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lzstock_ingest_batches_total",
			Help: "Batches of publishers: stored, known already (duplicate), without a good event (refused), or not stored (failed).",
		}, []string{"result"}),
		events: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "lzstock_ingest_events_total", Help: "Events of publishers that were stored for the first time.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "lzstock_ingest_refused_events_total", Help: "Events of publishers that were refused.",
		}),
		symbols: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lzstock_ingest_new_symbol_refusals_total",
			Help: "Events that were refused because their symbols are new, and the feed or the publisher has as many as it may.",
		}, []string{"limit"}),
		storing: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "lzstock_ingest_store_seconds", Help: "How long the bus took to store a batch.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 4, 9),
		}),
	}
	if registry == nil {
		return m, nil
	}
	streams := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "lzstock_ingest_streams", Help: "Publishers' streams that are open.",
	}, func() float64 { n, _ := s.load(); return float64(n) })
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "lzstock_ingest_waiting_batches", Help: "Batches that were read and wait for the bus, over all streams.",
	}, func() float64 { _, n := s.load(); return float64(n) })
	var errs []error
	for _, c := range []prometheus.Collector{m.batches, m.events, m.refused, m.symbols, m.storing, streams, waiting} {
		errs = append(errs, registry.Register(c))
	}
	return m, errors.Join(errs...)
}

// answered counts a batch of which so many events are stored.
func (m *metrics) answered(resp *pb.PublishResponse, stored int) {
	m.refused.Add(float64(len(resp.GetRefused())))
	switch {
	case stored == 0:
		m.batches.WithLabelValues(resultRefused).Inc()
	case resp.GetDuplicate():
		m.batches.WithLabelValues(resultDuplicate).Inc()
	default:
		m.batches.WithLabelValues(resultStored).Inc()
		m.events.Add(float64(stored))
	}
}
