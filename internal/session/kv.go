package session

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Failures of a KV. They are matched with errors.Is. Any other error means that
// the store could not be asked; whether a write then took place is not known.
var (
	// ErrExists says that a key to create is there.
	ErrExists = errors.New("the key exists")
	// ErrConflict says that a key is not of the revision that was expected, or
	// not there.
	ErrConflict = errors.New("the key is of another revision")
	// ErrNoKey says that there is no such key.
	ErrNoKey = errors.New("no such key")
	// ErrFull says that the store takes no more.
	ErrFull = errors.New("the store is full")
)

// KV is the store that gateways share. Keys are letters, digits and ".", and
// each expires by itself, ttl after it was last written, at most a few seconds
// late; a ttl is at least a second. Every change has a revision greater than
// that of any change before it, over all keys. Whoever reads sees every write
// that was acknowledged before.
//
// Memory is one within a process, internal/bus has one over JetStream. Both pass
// the suite of session/kvtest.
type KV interface {
	// Create writes a key that is not there, or fails with ErrExists or ErrFull.
	Create(ctx context.Context, key string, value []byte, ttl time.Duration) (rev uint64, err error)
	// Update writes a key whose revision is rev, or fails with ErrConflict.
	Update(ctx context.Context, key string, value []byte, ttl time.Duration, rev uint64) (uint64, error)
	// Get reads a key, or fails with ErrNoKey.
	Get(ctx context.Context, key string) (Entry, error)
	// Delete removes a key whose revision is rev, or fails with ErrConflict.
	// Where rev is 0, it removes what there is, if anything.
	Delete(ctx context.Context, key string, rev uint64) error
	// Watch gives what there is, one entry a key in no order, with an OpDelete
	// for what was deleted lately; then an OpSynced; then every change as it
	// comes, in order. Of changes of one key that come fast it may give the last
	// alone. It ends with an error, in the last pair, which holds no entry: the
	// cause of ctx, or why the store cannot be watched any longer. Whoever wants
	// to go on watches anew.
	Watch(ctx context.Context) iter.Seq2[Entry, error]
}

// Entry is a key as it stands, or one change of it.
type Entry struct {
	Op    Op
	Key   string
	Value []byte // of OpPut; shared, so not to be changed
	// Rev is the change's revision. That of OpSynced is the one up to which the
	// entries before it are complete: what is not among them is not there.
	Rev uint64
}

// Op is what an Entry says.
type Op uint8

// The ops.
const (
	OpPut    Op = iota // the key has this value
	OpDelete           // Delete removed it
	OpExpire           // its time was over
	OpSynced           // no key: all that there was has been given
)

// DeleteKept is how long a KV remembers a Delete for those who begin to watch.
const DeleteKept = time.Hour
