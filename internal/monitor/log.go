package monitor

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/lzstock/lzstock/market"
)

// Log is the bus as the monitor reads it.
type Log interface {
	// Epoch gives the epoch of the stream as it is now.
	Epoch() market.Epoch
	// Bounds gives the places of the first and of the last batch that are held;
	// where none are, first is after last. It fails, and does not wait, while the
	// bus is lost.
	Bounds(ctx context.Context) (first, last market.Seq, err error)
	// Read gives the batches after the one that holds after, in order, and waits
	// for new ones, until ctx ends or the bus is lost. The last pair holds an
	// error; an Expired where batches are no longer held.
	Read(ctx context.Context, after market.Seq) iter.Seq2[Message, error]
	// SaveCheckpoint keeps data under a name, in place of what was kept before.
	SaveCheckpoint(ctx context.Context, name string, data []byte) error
	// LoadCheckpoint gives what was kept last under the name.
	LoadCheckpoint(ctx context.Context, name string) ([]byte, error)
}

// Message is one batch of the feed.
type Message struct {
	Batch  uint64 // its place, one more than that of the message before
	Epoch  market.Epoch
	Source string         // who published it
	Stored time.Time      // when the bus stored it; zero where that is not known
	Events []market.Event // with their Seq, ascending; the monitor takes them over
}

// Expired is what an error of Log.Read is (errors.As) where batches are no longer
// held.
type Expired interface {
	error
	// Resume gives what to pass to Read to go on with the first one that is held.
	Resume() market.Seq
}

// Reasons why reading ends that are the monitor's own.
var (
	errEpoch  = errors.New("the bus holds another stream than before")
	errSilent = errors.New("the bus does not answer")
	errStuck  = errors.New("the bus holds batches that do not come")
	errHole   = errors.New("a batch is missing from the sequence")
	errAgain  = errors.New("the stretch before the checkpoint cannot be read")
)

// endOf gives the last place of a batch.
func endOf(batch uint64) market.Seq { return market.MakeSeq(batch, market.BatchLimit-1) }

// endBefore gives the last place before the batch that holds s.
func endBefore(s market.Seq) market.Seq {
	if s.Batch() == 0 {
		return 0
	}
	return endOf(s.Batch() - 1)
}
