package bridge

import (
	"sync/atomic"

	"github.com/lzstock/lzstock/internal/wire"
)

type counters struct {
	open    atomic.Int64
	writes  atomic.Uint64
	bytes   atomic.Uint64
	helpers atomic.Uint64
	shed    atomic.Uint64
	drains  atomic.Uint64
	ages    atomic.Uint64
	ends    [wire.NumReasons]atomic.Uint64
}

func (c *counters) ended(r wire.Reason) { c.ends[r].Add(1) }

// Stats are counts over a factory's life, and what is there now.
type Stats struct {
	Open    int                     // bridges
	Writes  uint64                  // attempts of the shards
	Bytes   uint64                  // offered in these attempts
	Helpers uint64                  // times that a connection did not take everything at once
	Shed    uint64                  // heartbeats that gave way to data
	Drains  uint64                  // clients that were told to move because of a drain
	Ages    uint64                  // clients that were told to move because of their age
	Ends    [wire.NumReasons]uint64 // by reason
}

// Stats gives the counts of the factory's bridges.
func (f *Factory) Stats() Stats {
	c := &f.stats
	st := Stats{
		Open: int(c.open.Load()), Writes: c.writes.Load(), Bytes: c.bytes.Load(),
		Helpers: c.helpers.Load(), Shed: c.shed.Load(),
		Drains: c.drains.Load(), Ages: c.ages.Load(),
	}
	for i := range c.ends {
		st.Ends[i] = c.ends[i].Load()
	}
	return st
}
