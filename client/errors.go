package client

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// ErrClosed is the error of calls to a client that has been closed.
var ErrClosed = errors.New("client closed")

// Retry says whether and how to try again.
type Retry uint8

// The answers.
const (
	RetryNever   Retry = iota + 1 // not unchanged: the same would happen again
	RetryBackoff                  // after a random wait that grows
	RetryNow                      // at once
)

// String gives "never", "backoff" or "now".
func (r Retry) String() string { return wire.Advice(r).String() }

// Error is what the gateway, or the way to it, said no with.
type Error struct {
	Op     string        // what was tried: "connect", "read" or "subscribe"
	Code   int           // the protocol's error code, or the HTTP status of a refused upgrade; 0 where there is none
	Close  int           // the code of the close frame; 0 where there was none
	Reason string        // in words
	Retry  Retry         // what the client does, or would have to do
	After  time.Duration // the gateway asked not to come back earlier
	Err    error         // behind it, where there is one
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	b.WriteString(": ")
	b.WriteString(e.Reason)
	if e.Err != nil {
		if e.Reason != "" {
			b.WriteString(": ")
		}
		b.WriteString(e.Err.Error())
	}
	if e.Code != 0 {
		fmt.Fprintf(&b, " (code %d)", e.Code)
	}
	if e.Close != 0 {
		fmt.Fprintf(&b, " (close %d)", e.Close)
	}
	return b.String()
}

// Unwrap gives the error behind it.
func (e *Error) Unwrap() error { return e.Err }

// Rejection is a topic that the gateway refused.
type Rejection struct {
	Topic  market.Topic
	Code   int
	Reason string
}

// RejectedError is Subscribe's error where the gateway refused some topics and
// accepted the others.
type RejectedError struct {
	Rejected []Rejection
}

func (e *RejectedError) Error() string {
	list := make([]string, len(e.Rejected))
	for i, r := range e.Rejected {
		list[i] = r.Topic.String() + " (" + r.Reason + ")"
	}
	return "subscribe: refused: " + strings.Join(list, ", ")
}

// retryOf reads the advice of an in-band error.
func retryOf(c wire.Code) Retry {
	if c.Retry() {
		return RetryBackoff
	}
	return RetryNever
}
