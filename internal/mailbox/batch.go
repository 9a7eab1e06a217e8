package mailbox

import (
	"slices"
	"sync"

	"github.com/lzstock/lzstock/market"
)

// MaxFormats is the number of encodings that a batch can cache.
const MaxFormats = 8

// Encode appends the encoding of e in one of up to MaxFormats formats to dst.
type Encode func(dst []byte, format int, e *market.Event) []byte

// Batch is a run of events that is shared by all who carry it. Each format is
// encoded at most once, by the first who needs it.
type Batch struct {
	events []market.Event
	encode Encode
	cache  [MaxFormats]encoded
}

type encoded struct {
	once   sync.Once
	bytes  []byte
	bounds []int32 // bounds[i] is where event i ends in bytes
}

// NewBatch takes over events, which nobody may change any more. encode may be
// nil where nobody asks for bodies.
func NewBatch(events []market.Event, encode Encode) *Batch {
	return &Batch{events: events, encode: encode}
}

// Len gives the number of events.
func (b *Batch) Len() int { return len(b.events) }

// Item gives event i.
func (b *Batch) Item(i int) Item { return Item{batch: b, index: int32(i)} }

// Item is one event of a batch.
type Item struct {
	batch *Batch
	index int32
}

// Event gives the event, which must not be changed.
func (it Item) Event() *market.Event { return &it.batch.events[it.index] }

// Body gives the event's bytes in one format, which must not be changed.
func (it Item) Body(format int) []byte {
	c := &it.batch.cache[format]
	c.once.Do(func() { it.batch.fill(c, format) })
	start := int32(0)
	if it.index > 0 {
		start = c.bounds[it.index-1]
	}
	return c.bytes[start:c.bounds[it.index]]
}

func (b *Batch) fill(c *encoded, format int) {
	c.bounds = make([]int32, len(b.events))
	for i := range b.events {
		c.bytes = b.encode(c.bytes, format, &b.events[i])
		c.bounds[i] = int32(len(c.bytes))
		if i == 0 { // events of one format have about one size
			c.bytes = slices.Grow(c.bytes, len(c.bytes)*9/8*(len(b.events)-1))
		}
	}
}
