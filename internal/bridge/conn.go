package bridge

import (
	"time"

	"github.com/lzstock/lzstock/internal/wire"
)

// Conn is a connection as a bridge needs it. TryWrite and Write are called by one
// goroutine at a time; Close by any, and it frees the others.
type Conn interface {
	// Start passes on what the peer sends to in, one call at a time, until the
	// connection ends, which Close sees to at the latest. It is called once.
	Start(in Inbox)
	// TryWrite takes as much of p as the connection has room for at this moment.
	// It never waits.
	TryWrite(p []byte) (int, error)
	// Write waits until all of p is taken, at most for a time; then its error is
	// os.ErrDeadlineExceeded and n tells what was taken.
	Write(p []byte, limit time.Duration) (n int, err error)
	Close() error
}

// Inbox takes what a connection receives.
type Inbox interface {
	// Message takes a message or control frame, whose payload is valid until it
	// returns.
	Message(m Message)
	// Broken says that the peer broke the rules, and which. No message follows.
	Broken(end *End)
	// End is called once, last: nothing comes any more.
	End(err error)
}

// Message is what the peer sent. Fragments have been put together.
type Message struct {
	Op      wire.Opcode
	Payload []byte
}
