package report

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Report is all that a run has found. Figures that say nothing else are of the
// window: the time between the ramp up and the ramp down.
type Report struct {
	Started     time.Time         `json:"started"`
	Seconds     float64           `json:"seconds"`
	Window      float64           `json:"window_seconds"`
	Interrupted bool              `json:"interrupted"`
	Setup       Setup             `json:"setup"`
	Clients     Clients           `json:"clients"`
	Healthy     Group             `json:"healthy"`
	Slow        Group             `json:"slow"`
	Closes      []Close           `json:"closes"`      // by the server, in the whole run
	Refused     map[string]uint64 `json:"refused"`     // upgrades that were refused, by HTTP status
	DialErrors  map[string]uint64 `json:"dial_errors"` // connections that did not come about, by cause
	Errors      map[string]uint64 `json:"errors"`      // in-band, by code
	Throttles   uint64            `json:"throttles"`   // times that a client was told that conflation begins or ends
	Gaps        uint64            `json:"gaps"`        // announced losses
	Stale       uint64            `json:"stale"`       // times that a client was told that the feed is not live
	Server      *Server           `json:"server,omitempty"`
	Curve       []Point           `json:"curve"`
	Asserts     []Verdict         `json:"asserts,omitempty"`
}

// Setup says what was run.
type Setup struct {
	Version  string  `json:"version,omitempty"`
	Machine  string  `json:"machine"`
	Command  string  `json:"command,omitempty"`
	URL      string  `json:"url"`
	Clients  int     `json:"clients"`
	Symbols  int     `json:"symbols"`
	Universe int     `json:"universe"`
	Channels string  `json:"channels"`
	Delivery string  `json:"delivery"`
	Profile  string  `json:"profile,omitempty"`
	Stalled  float64 `json:"stalled"`
	Drip     float64 `json:"drip"`
	Churn    float64 `json:"churn"`
	Vanish   bool    `json:"vanish"`
	Loops    int     `json:"loops"`
}

// Clients counts the load's own sockets.
type Clients struct {
	Peak      int     `json:"peak"`              // open at the same time
	Opened    uint64  `json:"opened"`            // in all
	Left      uint64  `json:"left"`              // by our own will
	Churned   uint64  `json:"churned"`           // of these, to come back
	OpenedIn  float64 `json:"opened_in_seconds"` // until all wanted ones were open; 0: they never were
	Handshake Ages    `json:"handshake"`         // from connect to the answer of the upgrade
	Cores     float64 `json:"cores"`             // processors that the load itself used; 0: unknown
}

// Group is what one kind of clients got.
type Group struct {
	Clients        int     `json:"clients"`
	Total          Counts  `json:"total"`  // of the whole run
	Window         Counts  `json:"window"` // of the window
	EventsPerS     float64 `json:"events_per_second"`
	FramesPerS     float64 `json:"frames_per_second"`
	BytesPerS      float64 `json:"bytes_per_second"`
	EventsPerFrame float64 `json:"events_per_frame"`
	Conflated      float64 `json:"conflated_share"` // of the events that were meant for the clients
	Age            Ages    `json:"age"`             // of trades and quotes when they arrived, snapshots left out
}

// Counts are of what came in.
type Counts struct {
	Events    uint64 `json:"events"`    // messages of data, snapshots left out
	Snapshots uint64 `json:"snapshots"` // current values at subscribe
	Merged    uint64 `json:"merged"`    // events that gave way to later ones, as k says
	Frames    uint64 `json:"frames"`    // with data
	Bytes     uint64 `json:"bytes"`     // on the connection
	Losses    uint64 `json:"losses"`    // times that pq was not the last q of the topic
	Disorder  uint64 `json:"disorder"`  // times that q did not grow on a topic
	Bad       uint64 `json:"bad"`       // frames that could not be read
}

// Add adds counts.
func (c *Counts) Add(d *Counts) {
	c.Events += d.Events
	c.Snapshots += d.Snapshots
	c.Merged += d.Merged
	c.Frames += d.Frames
	c.Bytes += d.Bytes
	c.Losses += d.Losses
	c.Disorder += d.Disorder
	c.Bad += d.Bad
}

// Rates fills in what follows from the counts.
func (g *Group) Rates(seconds float64) {
	w := &g.Window
	if seconds > 0 {
		g.EventsPerS = float64(w.Events) / seconds
		g.FramesPerS = float64(w.Frames) / seconds
		g.BytesPerS = float64(w.Bytes) / seconds
	}
	if w.Frames > 0 {
		g.EventsPerFrame = float64(w.Events+w.Snapshots) / float64(w.Frames)
	}
	if n := w.Events + w.Merged; n > 0 {
		g.Conflated = float64(w.Merged) / float64(n)
	}
}

// Ages is the distribution of a time, in milliseconds.
type Ages struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p99_9_ms"`
	Max   float64 `json:"max_ms"`
}

// NewHistogram makes a histogram of microseconds, up to ten minutes.
func NewHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, Longest, 3)
}

// Longest is the greatest time that a histogram holds, in microseconds.
const Longest = int64(10 * time.Minute / time.Microsecond)

// AgesOf reads a histogram of microseconds.
func AgesOf(h *hdrhistogram.Histogram) Ages {
	if h.TotalCount() == 0 {
		return Ages{}
	}
	at := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1000 }
	return Ages{
		Count: h.TotalCount(), P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: float64(h.Max()) / 1000,
	}
}

// Close counts the sockets that the server closed with one code.
type Close struct {
	Code  uint16 `json:"code"` // 1006: without a close frame
	Slow  bool   `json:"slow"` // clients that stalled or dripped
	Count uint64 `json:"count"`
}

// Server is what the server's own metrics say.
type Server struct {
	URLs          []string           `json:"urls"`
	Before        Sample             `json:"before"`
	Peak          Sample             `json:"peak"` // each figure's greatest
	After         Sample             `json:"after"`
	CPUSeconds    float64            `json:"cpu_seconds"` // in the window
	Cores         float64            `json:"cores"`       // in the window
	CPUPerMillion float64            `json:"cpu_seconds_per_million_events"`
	SettledIn     float64            `json:"settled_in_seconds"` // from the last close until all was as before; -1: it never was
	Unsettled     []string           `json:"unsettled,omitempty"`
	Gateway       map[string]float64 `json:"gateway"` // what its counters grew by, and its gauges at the end
}

// Sample is the server at one moment; where it is several processes, their sum.
type Sample struct {
	CPU        float64 `json:"cpu_seconds"`
	RSS        float64 `json:"rss_bytes"`
	Goroutines float64 `json:"goroutines"`
	Files      float64 `json:"open_files"`
	Sockets    float64 `json:"sockets"`
	Topics     float64 `json:"topics"`
}

// Max keeps the greater of each figure.
func (s *Sample) Max(o Sample) {
	s.CPU = max(s.CPU, o.CPU)
	s.RSS = max(s.RSS, o.RSS)
	s.Goroutines = max(s.Goroutines, o.Goroutines)
	s.Files = max(s.Files, o.Files)
	s.Sockets = max(s.Sockets, o.Sockets)
	s.Topics = max(s.Topics, o.Topics)
}

// Point is a moment of the run. Its ages are those of healthy clients since the
// point before.
type Point struct {
	At         float64 `json:"at_seconds"`
	Open       int     `json:"open"`
	EventsPerS float64 `json:"events_per_second"`
	MergedPerS float64 `json:"merged_per_second"`
	FramesPerS float64 `json:"frames_per_second"`
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
	Max        float64 `json:"max_ms"`
	Cores      float64 `json:"cores"`
	RSS        float64 `json:"rss_bytes"`
	Goroutines float64 `json:"goroutines"`
	Measured   bool    `json:"measured"`
}

// Losses counts breaks of the chain of positions, of all clients in the whole run.
func (r *Report) Losses() uint64 { return r.Healthy.Total.Losses + r.Slow.Total.Losses }

// closes counts the sockets of one kind that the server closed.
func (r *Report) closes(slow bool) (n uint64) {
	for _, c := range r.Closes {
		if c.Slow == slow {
			n += c.Count
		}
	}
	return n
}

func sum(m map[string]uint64) (n uint64) {
	for _, v := range m {
		n += v
	}
	return n
}
