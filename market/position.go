package market

import (
	"fmt"
	"strconv"
	"strings"
)

// Seq is an event's place within one epoch of the feed, the q of the protocol:
// the bus's sequence of the batch that carried it × 256, plus its index in the
// batch. It is one increasing number over the whole feed, the same on every
// replica. 0 is before everything.
type Seq uint64

// BatchLimit is the greatest number of events in one batch on the bus.
const BatchLimit = 256

// MakeSeq gives the place of event index (0 to 255) in the batch that the bus
// stored under the sequence batch.
func MakeSeq(batch uint64, index int) Seq { return Seq(batch*BatchLimit + uint64(index)) }

// Batch gives the bus's sequence of the batch that holds s.
func (s Seq) Batch() uint64 { return uint64(s) / BatchLimit }

// Index gives the place of s in its batch.
func (s Seq) Index() int { return int(s % BatchLimit) }

// Epoch names one life of the feed's stream: the Unix time, in milliseconds, at
// which the stream was created. Positions of different epochs do not compare.
type Epoch uint64

// Position is a place in the feed that holds anywhere and at any time.
type Position struct {
	Epoch Epoch
	Seq   Seq
}

// IsZero reports whether p is no position.
func (p Position) IsZero() bool { return p == Position{} }

// String gives "<epoch>-<q>", as clients send it in since.
func (p Position) String() string {
	return strconv.FormatUint(uint64(p.Epoch), 10) + "-" + strconv.FormatUint(uint64(p.Seq), 10)
}

// ParsePosition reads what String wrote.
func ParsePosition(s string) (Position, error) {
	epoch, seq, ok := strings.Cut(s, "-")
	e, errE := strconv.ParseUint(epoch, 10, 64)
	q, errQ := strconv.ParseUint(seq, 10, 64)
	if !ok || errE != nil || errQ != nil {
		return Position{}, fmt.Errorf("bad position %q: want <epoch>-<q>, two whole numbers", s)
	}
	return Position{Epoch: Epoch(e), Seq: Seq(q)}, nil
}
