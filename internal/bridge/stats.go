package bridge

import (
	"sync/atomic"
	"time"

	"github.com/lzstock/lzstock/internal/wire"
)

type counters struct {
	open    atomic.Int64
	streams atomic.Int64
	writes  atomic.Uint64
	bytes   atomic.Uint64
	frames  atomic.Uint64
	helpers atomic.Uint64
	shed    atomic.Uint64
	drains  atomic.Uint64
	ages    atomic.Uint64
	ends    [wire.NumReasons]atomic.Uint64
	shown   [numAges + 1]atomic.Uint64
	aged    atomic.Int64 // the ages' sum, in nanoseconds
}

// opened counts a bridge in or out.
func (c *counters) opened(f wire.Framing, n int64) {
	c.open.Add(n)
	if f == wire.EventStream {
		c.streams.Add(n)
	}
}

func (c *counters) ended(r wire.Reason) { c.ends[r].Add(1) }

// Stats are counts over a factory's life, and what is there now.
type Stats struct {
	Open    int                     // bridges
	Streams int                     // of these, to event streams
	Writes  uint64                  // attempts of the shards
	Bytes   uint64                  // offered in these attempts
	Frames  uint64                  // in these
	Helpers uint64                  // times that a connection did not take everything at once
	Shed    uint64                  // heartbeats that gave way to data
	Drains  uint64                  // clients that were told to move because of a drain
	Ages    uint64                  // clients that were told to move because of their age
	Ends    [wire.NumReasons]uint64 // by reason
	// Shown counts how old the last trade or quote of a write was, by its time at the
	// source, when the connection had been offered it: up to each of AgeLimits, and
	// beyond. One write in some is looked at.
	Shown [numAges + 1]uint64
	Aged  time.Duration // the ages' sum
}

// numAges is how many limits Stats.Shown has.
const numAges = 16

// AgeLimits gives the upper limits of Stats.Shown.
func AgeLimits() [numAges]time.Duration {
	return [...]time.Duration{
		500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
		25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
		time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
	}
}

// ageEvery is how many writes there are to one whose age is taken. It is a prime,
// so that where many sockets are written to in turn it is not the same ones.
const ageEvery = 17

// took counts the age of what a connection was offered.
func (c *counters) took(age time.Duration) {
	age = min(max(age, 0), time.Hour) // clocks may differ, and a tape's prices are years old
	i, limits := 0, AgeLimits()
	for i < len(limits) && age > limits[i] {
		i++
	}
	c.shown[i].Add(1)
	c.aged.Add(int64(age))
}

// Stats gives the counts of the factory's bridges.
func (f *Factory) Stats() Stats {
	c := &f.stats
	st := Stats{
		Open: int(c.open.Load()), Streams: int(c.streams.Load()), Writes: c.writes.Load(), Bytes: c.bytes.Load(), Frames: c.frames.Load(),
		Helpers: c.helpers.Load(), Shed: c.shed.Load(), Aged: time.Duration(c.aged.Load()),
		Drains: c.drains.Load(), Ages: c.ages.Load(),
	}
	for i := range c.shown {
		st.Shown[i] = c.shown[i].Load()
	}
	for i := range c.ends {
		st.Ends[i] = c.ends[i].Load()
	}
	return st
}
