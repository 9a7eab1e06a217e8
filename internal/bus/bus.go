package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lzstock/lzstock/market"
)

// DedupWindow is how long the bus recognises a batch's id.
const DedupWindow = 2 * time.Minute

// Failures of a bus. They are matched with errors.Is.
var (
	// ErrExpired says that batches are no longer held; the error is an
	// *ExpiredError.
	ErrExpired = errors.New("events are no longer held")
	// ErrEpoch says that the stream is not the one that the position belongs to:
	// it was created anew, or has lost its end.
	ErrEpoch = errors.New("the position is of another epoch of the stream")
	// ErrLost says that the bus could not be reached. It may return.
	ErrLost = errors.New("the bus is lost")
	// ErrNotFound says that there is no checkpoint of this name.
	ErrNotFound = errors.New("no such checkpoint")
	// ErrTooLarge says that the bus takes no message of this size.
	ErrTooLarge = errors.New("the batch is too large for the bus")
	// ErrClosed says that Close was called.
	ErrClosed = errors.New("the bus is closed")
)

// ExpiredError says that a reader asked for batches that are no longer held.
type ExpiredError struct {
	After market.Seq // what the reader has
	First market.Seq // the first place that can still be read
}

func (e *ExpiredError) Error() string {
	return fmt.Sprintf("events after %d are no longer held: the first is %d", e.After, e.First)
}

// Is matches ErrExpired.
func (e *ExpiredError) Is(target error) bool { return target == ErrExpired }

// Resume gives what to pass to Read to begin with First.
func (e *ExpiredError) Resume() market.Seq { return before(e.First) }

// before gives the last place of the batch before the one that holds s.
func before(s market.Seq) market.Seq {
	if s.Batch() == 0 {
		return 0
	}
	return market.MakeSeq(s.Batch()-1, market.BatchLimit-1)
}

// Batch is a run of events on its way to the bus.
type Batch struct {
	// Source names who publishes: 1 to 32 letters, digits, "_" or "-".
	Source string
	// ID is recognised for DedupWindow: a second batch with the same one is not
	// stored. Empty means a new one.
	ID string
	// Events are 1 to 256 valid events. Seq, Prev and Merged are not carried.
	Events []market.Event
}

// Stored says where a batch is.
type Stored struct {
	First, Last market.Seq // of its first and its last event
	Duplicate   bool       // it was there before
}

// Message is one batch from the bus.
type Message struct {
	Batch  uint64       // the bus's sequence, from 1
	Epoch  market.Epoch // that it belongs to
	Source string
	Stored time.Time // when the bus stored it
	// Events have their place in Seq. There are none where the message was none
	// of ours, or damaged; that was counted and logged.
	Events []market.Event
}

// Health says whether the bus can be reached.
type Health struct {
	OK      bool
	Since   time.Time
	Err     error           // why not, where it is not OK
	Changed <-chan struct{} // closed when this Health no longer holds
}

// Publisher stores batches.
type Publisher interface {
	Publish(ctx context.Context, b Batch) (Stored, error)
}

// ValidateSource says what is wrong with a source's name.
func ValidateSource(source string) error {
	ok := source != "" && len(source) <= 32
	for _, c := range source {
		switch {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			ok = false
		}
	}
	if !ok {
		return fmt.Errorf("bad source %q: want 1 to 32 letters, digits, _ or -", source)
	}
	return nil
}

// place gives where a batch of n events is.
func place(batch uint64, n int, duplicate bool) Stored {
	return Stored{First: market.MakeSeq(batch, 0), Last: market.MakeSeq(batch, n-1), Duplicate: duplicate}
}
