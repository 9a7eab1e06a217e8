package ops

import (
	"math"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// kind is how a metric becomes a figure.
type kind uint8

const (
	gauge   kind = iota // its value
	rate                // how much it has grown, a second
	byLabel             // the same for each value of a label: a figure "name.value" each
	ages                // two figures, "name_p50" and "name_p99", in seconds, of what came in the last window
	share               // how much of another metric's growth its own is
)

// figure is how one figure, or some, come from a metric. Several series are summed.
type figure struct {
	name   string
	metric string
	kind   kind
	of     string // label of byLabel, metric of share
}

// window is what percentiles are taken from: a second may have few observations, or none.
const window = 10 * time.Second

// figures are all that there are. A process has those whose metrics it has.
func figures() []figure {
	return []figure{
		{"sockets", "lzstock_gateway_sockets", gauge, ""},
		{"event_streams", "lzstock_gateway_event_streams", gauge, ""},
		{"topics", "lzstock_gateway_topics", gauge, ""},
		{"inbox", "lzstock_gateway_inbox_depth", gauge, ""},
		{"events_in", "lzstock_gateway_events_total", rate, ""},
		{"events", "lzstock_gateway_delivered_total", rate, ""},
		{"frames", "lzstock_gateway_frames_total", rate, ""},
		{"bytes", "lzstock_gateway_written_bytes_total", rate, ""},
		{"conflated", "lzstock_gateway_conflated_total", share, "lzstock_gateway_delivered_total"},
		{"age", "lzstock_gateway_age_seconds", ages, ""},
		{"closes", "lzstock_gateway_ended_total", byLabel, "reason"},
		{"refused", "lzstock_gateway_refused_total", byLabel, "cause"},
		{"upstream", "lzstock_upstream_connected", gauge, ""},
		{"upstream_age", "lzstock_upstream_age_seconds", ages, ""},
		{"monitor_feed", "lzstock_monitor_feed_state", gauge, ""},
		{"monitor_streams", "lzstock_monitor_streams", gauge, ""},
		{"monitor_events", "lzstock_monitor_events_total", rate, ""},
		{"monitor_age", "lzstock_monitor_bus_age_seconds", ages, ""},
		{"bus", "lzstock_bus_up", gauge, ""},
		{"bus_events", "lzstock_bus_published_events_total", rate, ""},
		{"bus_ack", "lzstock_bus_publish_seconds", ages, ""},
		{"bus_pending", "lzstock_bus_pending_events", gauge, ""},
		{"node_ready", "lzstock_node_ready", gauge, ""},
		{"node_leader", "lzstock_node_leader", gauge, ""},
		{"node_store", "lzstock_node_store_bytes", gauge, ""},
		{"feed_events", "lzstock_feed_events_total", rate, ""},
		{"feed_lag", "lzstock_feed_lag_seconds", gauge, ""},
		{"memory", "process_resident_memory_bytes", gauge, ""},
		{"heap", "go_memstats_heap_inuse_bytes", gauge, ""},
		{"goroutines", "go_goroutines", gauge, ""},
		{"cpu", "process_cpu_seconds_total", rate, ""},
		{"files", "process_open_fds", gauge, ""},
	}
}

// histogram is what has been counted up to each limit; the last is of all.
type histogram struct {
	limits []float64
	counts []float64
}

// reading is what the metrics said at one time.
type reading struct {
	at     time.Time
	values map[string]float64 // by metric, or by metric, a dot, and a label's value
	ages   map[string]histogram
}

// read takes what the figures need from the metrics.
func read(at time.Time, families []*dto.MetricFamily) reading {
	r := reading{at: at, values: map[string]float64{}, ages: map[string]histogram{}}
	all := make(map[string]*dto.MetricFamily, len(families))
	for _, f := range families {
		all[f.GetName()] = f
	}
	for _, f := range figures() {
		family := all[f.metric]
		if family == nil {
			continue
		}
		for _, m := range family.GetMetric() {
			switch f.kind {
			case ages:
				r.ages[f.metric] = sum(r.ages[f.metric], m.GetHistogram())
			case byLabel:
				r.values[f.metric+"."+label(m, f.of)] += value(m)
			case gauge, rate, share:
				r.values[f.metric] += value(m)
			}
		}
	}
	return r
}

func value(m *dto.Metric) float64 {
	switch {
	case m.GetGauge() != nil:
		return m.GetGauge().GetValue()
	case m.GetCounter() != nil:
		return m.GetCounter().GetValue()
	}
	return m.GetUntyped().GetValue()
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// sum adds a series to a histogram of the same limits.
func sum(h histogram, m *dto.Histogram) histogram {
	if h.counts == nil {
		h = histogram{counts: make([]float64, len(m.GetBucket())+1)}
		for _, b := range m.GetBucket() {
			h.limits = append(h.limits, b.GetUpperBound())
		}
	}
	for i, b := range m.GetBucket() {
		h.counts[i] += float64(b.GetCumulativeCount())
	}
	h.counts[len(h.counts)-1] += float64(m.GetSampleCount())
	return h
}

// quantile gives the value below which a part of what was counted between two
// readings lies, read between the limits in a straight line; NaN where nothing was.
// What lies beyond the last limit counts as that.
func quantile(q float64, before, now histogram) float64 {
	last := len(now.counts) - 1
	if last < 1 || (before.counts != nil && len(before.counts) != len(now.counts)) {
		return math.NaN()
	}
	grown := func(i int) float64 {
		if before.counts == nil {
			return now.counts[i]
		}
		return now.counts[i] - before.counts[i]
	}
	total := grown(last)
	if total <= 0 {
		return math.NaN()
	}
	rank := q * total
	i := 0
	for i < last && grown(i) < rank {
		i++
	}
	if i >= len(now.limits) {
		return now.limits[len(now.limits)-1]
	}
	low, below := 0.0, 0.0
	if i > 0 {
		low, below = now.limits[i-1], grown(i-1)
	}
	inside := grown(i) - below
	if inside <= 0 {
		return now.limits[i]
	}
	return low + (now.limits[i]-low)*(rank-below)/inside
}

// sample makes the figures of a second. old is the reading a window ago, for
// percentiles; where there was none it is the first.
func sample(old, before, now *reading) map[string]float64 {
	out := map[string]float64{}
	seconds := now.at.Sub(before.at).Seconds()
	grown := func(name string) float64 {
		v := now.values[name] - before.values[name] // a series that begins was 0 before
		if v < 0 || seconds <= 0 {
			return math.NaN() // it has begun anew
		}
		return v
	}
	for _, f := range figures() {
		switch f.kind {
		case gauge:
			if v, ok := now.values[f.metric]; ok {
				out[f.name] = v
			}
		case rate:
			if _, ok := now.values[f.metric]; ok {
				out[f.name] = grown(f.metric) / seconds
			}
		case byLabel:
			for name := range now.values {
				if v, ok := strings.CutPrefix(name, f.metric+"."); ok {
					out[f.name+"."+v] = grown(name) / seconds
				}
			}
		case share:
			if _, ok := now.values[f.metric]; ok {
				out[f.name] = 0
				if all := grown(f.of); all > 0 {
					out[f.name] = min(1, grown(f.metric)/all)
				}
			}
		case ages:
			if h, ok := now.ages[f.metric]; ok {
				out[f.name+"_p50"] = quantile(0.5, old.ages[f.metric], h)
				out[f.name+"_p99"] = quantile(0.99, old.ages[f.metric], h)
			}
		}
	}
	return out
}

// Metrics names the metrics that the figures come from.
func Metrics() []string {
	var out []string
	for _, f := range figures() {
		out = append(out, f.metric)
		if f.kind == share {
			out = append(out, f.of)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
