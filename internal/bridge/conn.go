package bridge

import (
	"time"

	"github.com/lzstock/lzstock/internal/wire"
)

// Conn is a connection as a bridge needs it. Offer and Push are called by one
// goroutine at a time; Close by any, and it frees the others.
type Conn interface {
	// Start passes on what the peer sends to in, one call at a time, until the
	// connection ends, which Close sees to at the latest. It is called once.
	Start(in Inbox)
	// Offer writes what the connection has room for at this moment, and gives what
	// is left for Push. It never waits. What is left is valid as long as p is.
	Offer(p []byte) (rest []byte, err error)
	// Push writes what Offer left, and gives what it could not within a time; its
	// error is os.ErrDeadlineExceeded then.
	Push(rest []byte, limit time.Duration) ([]byte, error)
	Close() error
}

// Inbox takes what a connection receives.
type Inbox interface {
	// Message takes a message or control frame, whose payload is valid until it
	// returns.
	Message(m Message)
	// Broken says that the peer broke the rules, and which. No message follows.
	Broken(end *End)
	// Flooded says that the peer keeps sending after that: the connection is closed
	// without waiting for its answer.
	Flooded()
	// End is called once, last: nothing comes any more.
	End(err error)
}

// Message is what the peer sent. Fragments have been put together.
type Message struct {
	Op      wire.Opcode
	Payload []byte
}
