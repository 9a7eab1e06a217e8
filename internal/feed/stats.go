package feed

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lzstock/lzstock/market"
)

// Stats says what a Feed has done.
type Stats struct {
	Trades, Quotes uint64        // given to the publisher
	Statuses       uint64        // likewise
	Rate           float64       // events a second, over the last second or so
	Elapsed        time.Duration // since Run began
	EventTime      time.Time     // of the last event
	Position       time.Duration // of the last event in the tape or the simulation
	Lag            time.Duration // behind the schedule
	Round          uint64        // of a tape that loops, from 1
	Skipped        uint64        // bad lines passed over
	Mended         uint64        // numbers with a float's artefact
}

// Events gives all that was given to the publisher.
func (s Stats) Events() uint64 { return s.Trades + s.Quotes + s.Statuses }

// String gives a line for people who watch the progress.
func (s Stats) String() string {
	text := fmt.Sprintf("%d events, %.0f/s, at %s", s.Events(), s.Rate, s.EventTime.Format("2006-01-02 15:04:05"))
	if s.Round > 1 {
		text += fmt.Sprintf(", round %d", s.Round)
	}
	if s.Lag > 10*time.Millisecond {
		text += fmt.Sprintf(", %s behind", s.Lag.Round(time.Millisecond))
	}
	if s.Skipped > 0 {
		text += fmt.Sprintf(", %d bad lines skipped", s.Skipped)
	}
	return text
}

// meter keeps the stats of a feed that is running.
type meter struct {
	mu         sync.Mutex
	stats      Stats
	started    time.Time
	since      time.Time // begin of the second in which the rate is measured
	eventsThen uint64
}

func (m *meter) begin(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.started, m.since = now, now
	m.stats.Round = 1
}

func (m *meter) played(now time.Time, events []market.Event, at, lag time.Duration) {
	var trades, statuses uint64
	for i := range events {
		switch {
		case events[i].Trade != nil:
			trades++
		case events[i].Status != nil:
			statuses++
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.stats
	s.Trades += trades
	s.Statuses += statuses
	s.Quotes += uint64(len(events)) - trades - statuses
	s.EventTime = events[len(events)-1].Time()
	s.Position, s.Lag = at, lag
	if past := now.Sub(m.since); past >= time.Second {
		s.Rate = rate(s.Events()-m.eventsThen, past)
		m.since, m.eventsThen = now, s.Events()
	}
}

func (m *meter) nextRound() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stats.Round++
}

func (m *meter) skip() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stats.Skipped++
	return m.stats.Skipped
}

func (m *meter) mend(n uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stats.Mended += n
}

func (m *meter) read(now time.Time) Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stats
	if m.started.IsZero() {
		return s
	}
	s.Elapsed = now.Sub(m.started)
	if past := now.Sub(m.since); past >= time.Second || s.Rate == 0 {
		s.Rate = rate(s.Events()-m.eventsThen, past)
	}
	return s
}

func rate(events uint64, past time.Duration) float64 {
	if past <= 0 {
		return 0
	}
	return float64(events) / past.Seconds()
}

// collector shows a feed's stats as metrics.
type collector struct {
	f                                            *Feed
	events, skipped, mended, lag, position, time *prometheus.Desc
	round                                        *prometheus.Desc
}

func newCollector(f *Feed) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("lzstock_feed_"+name, help, labels, prometheus.Labels{"source": f.cfg.Source.Name()})
	}
	return &collector{
		f:        f,
		events:   desc("events_total", "Events that the feed gave to the bus.", "channel"),
		skipped:  desc("skipped_lines_total", "Lines of the tape that were refused and passed over."),
		mended:   desc("mended_numbers_total", "Numbers of the tape in which a float's artefact was mended."),
		lag:      desc("lag_seconds", "How far the feed is behind its schedule."),
		position: desc("position_seconds", "Place of the last event, from the first of the tape or simulation."),
		time:     desc("event_timestamp_seconds", "Time of the last event, Unix seconds."),
		round:    desc("rounds_total", "How many times the tape was started."),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.events, c.skipped, c.mended, c.lag, c.position, c.time, c.round} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := c.f.Stats()
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	send(c.events, prometheus.CounterValue, float64(s.Trades), market.Trades.String())
	send(c.events, prometheus.CounterValue, float64(s.Quotes), market.Quotes.String())
	send(c.skipped, prometheus.CounterValue, float64(s.Skipped))
	send(c.mended, prometheus.CounterValue, float64(s.Mended))
	send(c.lag, prometheus.GaugeValue, s.Lag.Seconds())
	send(c.position, prometheus.GaugeValue, s.Position.Seconds())
	send(c.round, prometheus.CounterValue, float64(s.Round))
	if !s.EventTime.IsZero() {
		send(c.time, prometheus.GaugeValue, float64(s.EventTime.UnixNano())/1e9)
	}
}
