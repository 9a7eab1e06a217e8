package gateway

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/wire"
)

// metrics are what the gateway shows of itself. What hub and bridges count is
// read when it is asked for.
type metrics struct {
	g        *Gateway
	refused  *prometheus.CounterVec // by cause
	commands *prometheus.CounterVec // by action
	errors   *prometheus.CounterVec // by code
	rest     *prometheus.HistogramVec

	sockets, streams, topics, inbox  *prometheus.Desc
	queued                           *prometheus.Desc
	draining, notices                *prometheus.Desc
	ends, writes, bytes, frames      *prometheus.Desc
	helpers, shed                    *prometheus.Desc
	events, delivered, merged        *prometheus.Desc
	replayed, fetches, gaps          *prometheus.Desc
	sessions, attached, session, age *prometheus.Desc
	stored                           *prometheus.Desc
}

func newMetrics(g *Gateway, reg prometheus.Registerer) (*metrics, error) {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("lzstock_gateway_"+name, help, labels, nil)
	}
	counter := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lzstock_gateway_" + name, Help: help}, []string{label})
	}
	m := &metrics{
		g:         g,
		refused:   counter("refused_total", "Requests refused before the upgrade.", "cause"),
		commands:  counter("commands_total", "Commands of clients.", "action"),
		errors:    counter("command_errors_total", "Commands answered with an error.", "code"),
		rest:      restSeconds(),
		sockets:   desc("sockets", "Open sockets, event streams among them."),
		streams:   desc("event_streams", "Open event streams."),
		draining:  desc("draining", "1 once the gateway is taken out of service: its sockets are told to move."),
		notices:   desc("reconnect_notices_total", "Clients that were told to move to another connection.", "reason"),
		topics:    desc("topics", "Topics that the hub holds."),
		queued:    desc("queued_clients", "Clients for whom a shard has work that it does in slices."),
		inbox:     desc("inbox_depth", "Batches and commands that wait in the fullest shard's inbox."),
		ends:      desc("ended_total", "Sockets that have ended.", "reason"),
		writes:    desc("writes_total", "Write system calls of the shards."),
		bytes:     desc("written_bytes_total", "Bytes offered to sockets."),
		frames:    desc("frames_total", "Frames offered to sockets: WebSocket frames, and events of event streams."),
		helpers:   desc("busy_total", "Times that a socket did not take everything at once."),
		shed:      desc("heartbeats_shed_total", "Heartbeats that gave way to data."),
		events:    desc("events_total", "Events from upstream."),
		delivered: desc("delivered_total", "Events put into clients' mailboxes."),
		merged:    desc("conflated_total", "Events that gave way to later ones in mailboxes."),
		replayed:  desc("replayed_events_total", "Events of the past, put into mailboxes of clients that resumed."),
		fetches:   desc("replay_fetches_total", "Times that a client's past had to come from a monitor."),
		gaps:      desc("resume_gaps_total", "Clients that resumed and were told that events are lost to them."),
		sessions:  prometheus.NewDesc("lzstock_sessions", "Sessions on all gateways that keep theirs together.", nil, nil),
		stored:    prometheus.NewDesc("lzstock_sessions_bytes", "Bytes that these sessions take.", nil, nil),
		attached:  prometheus.NewDesc("lzstock_sessions_attached", "Sessions that a socket of this gateway has.", nil, nil),
		session:   prometheus.NewDesc("lzstock_session_events_total", "What was done with sessions here, and what was refused.", []string{"event"}, nil),
		age: desc("age_seconds",
			"Time from an event's time at its source until a socket was offered it; of the last trade or quote of one write in 17, prices that are shown late left out."),
	}
	for _, c := range []prometheus.Collector{m.refused, m.commands, m.errors, m.rest, m} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

// Describe sends the descriptions of what Collect reads.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		m.sockets, m.streams, m.topics, m.inbox, m.queued, m.ends, m.writes, m.bytes, m.frames, m.helpers, m.shed, m.events, m.delivered, m.merged,
		m.sessions, m.stored, m.attached, m.session, m.age, m.replayed, m.fetches, m.gaps, m.draining, m.notices,
	} {
		ch <- d
	}
}

// Collect reads the counts of hub and bridges.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	b, h := m.g.bridges.Stats(), m.g.hub.Stats()
	gauge(m.sockets, b.Open)
	gauge(m.streams, b.Streams)
	draining := 0
	if m.g.Draining() {
		draining = 1
	}
	gauge(m.draining, draining)
	count(m.notices, b.Drains, wire.Drain.String())
	count(m.notices, b.Ages, wire.MaxAge.String())
	gauge(m.topics, h.Topics)
	gauge(m.inbox, h.Inbox)
	gauge(m.queued, h.Queued)
	count(m.writes, b.Writes)
	count(m.bytes, b.Bytes)
	count(m.frames, b.Frames)
	count(m.helpers, b.Helpers)
	count(m.shed, b.Shed)
	count(m.events, h.Events)
	count(m.delivered, h.Delivered)
	count(m.merged, h.Merged)
	count(m.replayed, h.Replayed)
	count(m.fetches, h.Fetches)
	count(m.gaps, h.Gaps)
	ch <- ages(m.age, &b)
	s := m.g.sessions.Stats()
	gauge(m.sessions, s.Sessions)
	gauge(m.stored, s.Bytes)
	gauge(m.attached, s.Attached)
	for event, n := range map[string]uint64{
		"created": s.Created, "attached": s.Attaches, "detached": s.Detaches, "deleted": s.Deletes, "revoked": s.Revocations,
		"superseded": s.Superseded, "user_quota": s.UserQuota, "total_quota": s.TotalQuota, "user_bytes": s.UserBytes, "total_bytes": s.TotalBytes, "unavailable": s.Unavailable, "store_failure": s.Failures,
	} {
		count(m.session, n, event)
	}
	for i, n := range b.Ends {
		if n > 0 {
			count(m.ends, n, wire.Reason(i).String())
		}
	}
}

// ages gives the bridges' counts of ages as a histogram.
func ages(d *prometheus.Desc, s *bridge.Stats) prometheus.Metric {
	limits, n := bridge.AgeLimits(), uint64(0)
	buckets := make(map[float64]uint64, len(limits))
	for i, limit := range limits {
		n += s.Shown[i]
		buckets[limit.Seconds()] = n
	}
	return prometheus.MustNewConstHistogram(d, n+s.Shown[len(limits)], s.Aged.Seconds(), buckets)
}
