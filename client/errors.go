package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
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

	missing bool // events are, which the next connection is to bring
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
	if e.Retry == RetryNever {
		if what := e.Remedy(); what != "" {
			b.WriteString("; " + what)
		}
	}
	return b.String()
}

// Remedy says what has to change before another attempt makes sense; it is empty
// where only the Reason tells.
func (e *Error) Remedy() string {
	switch e.Close {
	case 1002, 1003, 1007, 1009, 1010, 4004:
		return "the client and the gateway do not understand each other: update the older one"
	case 4002:
		return "the gateway wants to know who it is: set a key and its secret, or a token"
	case 4003:
		return "the credentials or the session are good no more: get new ones"
	case 4005:
		return "each client needs a session of its own"
	}
	var unknown *tls.CertificateVerificationError
	switch {
	case e.aboutCredentials():
		return "check the key and its secret, or the token"
	case e.Op == "connect" && e.Code == http.StatusNotFound:
		return "check the URL: the native endpoint is /v1/stream, and a session may have expired"
	case errors.As(e.Err, &unknown):
		return "check the URL's host, or trust the certificate's issuer"
	}
	return ""
}

// aboutCredentials tells whether other credentials may help.
func (e *Error) aboutCredentials() bool {
	switch e.Close {
	case 4001, 4003:
		return true
	case 0:
		return e.Op == "connect" && (e.Code == http.StatusUnauthorized || e.Code == http.StatusForbidden ||
			e.Code == int(wire.CodeNotAuthenticated) || e.Code == int(wire.CodeAuthFailed))
	}
	return false
}

// Unwrap gives the error behind it.
func (e *Error) Unwrap() error { return e.Err }

// GapReason says why events will not come.
type GapReason uint8

// The reasons of a gap.
const (
	Expired     GapReason = iota + 1 // the gateway no longer holds what came after the position
	Renumbered                       // the feed began anew: positions are of another epoch
	NotResumed                       // the gateway cannot resume
	Unexplained                      // the gateway says that it has sent what never came, and sends it no more
)

// String gives "expired", "epoch", "not resumed" or "unexplained".
func (r GapReason) String() string {
	switch r {
	case Expired:
		return "expired"
	case Renumbered:
		return "epoch"
	case NotResumed:
		return "not resumed"
	case Unexplained:
		return "unexplained"
	}
	return fmt.Sprintf("gap(%d)", uint8(r))
}

// Gap is a loss: events behind From and up to To may be missing, of all topics
// where none is named. Current values follow, but for an unexplained one.
type Gap struct {
	Reason   GapReason
	From, To market.Position
	Topics   []market.Topic
}

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
