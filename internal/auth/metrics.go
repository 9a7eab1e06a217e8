package auth

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lzstock/lzstock/internal/session"
)

type metrics struct {
	attempts, reloads *prometheus.CounterVec
	stale             *prometheus.GaugeVec
	keys              prometheus.Gauge
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	const namespace, subsystem = "lzstock", "auth"
	m := &metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "auth_total", Help: "Attempts to authenticate, by method and result.",
		}, []string{"method", "result"}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "reloads_total", Help: "Times that credentials were loaded, or failed to in a new way.",
		}, []string{"source", "result"}),
		stale: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "stale", Help: "1 while a source cannot be loaded and what was loaded before is in use.",
		}, []string{"source"}),
		keys: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "keys", Help: "API keys in use.",
		}),
	}
	if registry == nil {
		return m, nil
	}
	var failed error
	for _, c := range []prometheus.Collector{m.attempts, m.reloads, m.stale, m.keys} {
		failed = errors.Join(failed, registry.Register(c))
	}
	return m, failed
}

func (m *metrics) attempt(method session.Method, err error) {
	m.attempts.WithLabelValues(string(method), result(err)).Inc()
}

func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrExpired):
		return "expired"
	case errors.Is(err, ErrUnavailable):
		return "unavailable"
	case errors.Is(err, ErrNotInUse):
		return "not_in_use"
	}
	return "refused"
}

// loaded counts an attempt to load a source.
func (m *metrics) loaded(source string, err error) {
	result, stale := "ok", 0.0
	if err != nil {
		result, stale = "failed", 1
	}
	m.reloads.WithLabelValues(source, result).Inc()
	m.stale.WithLabelValues(source).Set(stale)
}
