package obs

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// AgeBuckets gives the limits in seconds of every histogram of ages, so that hops
// compare.
func AgeBuckets() []float64 {
	return []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
}

// oldest is what an age counts as at most. A tape's prices are years old, and
// would make every mean worthless.
const oldest = time.Hour

// Age gives what data of one hop's age counts as, in seconds: never less than 0,
// where clocks differ, and at most an hour, where what is shown was recorded.
func Age(d time.Duration) float64 { return min(max(d, 0), oldest).Seconds() }

// NewAge makes a histogram of ages, which are given to it as Age writes them.
func NewAge(opts prometheus.HistogramOpts) prometheus.Histogram {
	opts.Buckets = AgeBuckets()
	return prometheus.NewHistogram(opts)
}
