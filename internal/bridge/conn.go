package bridge

import (
	"time"

	"github.com/lzstock/lzstock/internal/wire"
)

// Conn is a connection as a bridge needs it. Read is called by one goroutine and
// TryWrite and Write by one at a time; Close by any, and it frees the others.
type Conn interface {
	// Read waits for the next message or control frame, whose payload is valid
	// until the next Read. Where the peer broke the rules, the error holds an *End
	// with the reason; any other error means that the peer is gone.
	Read() (Message, error)
	// TryWrite takes as much of p as the connection has room for at this moment.
	// It never waits.
	TryWrite(p []byte) (int, error)
	// Write waits until all of p is taken, at most for a time; then its error is
	// os.ErrDeadlineExceeded and n tells what was taken.
	Write(p []byte, limit time.Duration) (n int, err error)
	Close() error
}

// Message is what the peer sent. Fragments have been put together.
type Message struct {
	Op      wire.Opcode
	Payload []byte
}
