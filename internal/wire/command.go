package wire

import (
	"fmt"
	"time"

	"github.com/lzstock/lzstock/market"
)

// Limits of what ParseCommand reads, whatever the gateway's own limits are.
const (
	MaxCommand = 1 << 20 // bytes of one command
	MaxID      = 128     // bytes of an id
	maxDepth   = 8       // of objects and arrays in one another
)

// The range of interval_ms and hb_ms.
const (
	MinInterval  = 100 * time.Millisecond
	MaxInterval  = 10 * time.Second
	MinHeartbeat = time.Second
	MaxHeartbeat = time.Minute
)

// Action is what a command asks for.
type Action uint8

// The actions.
const (
	Auth Action = iota + 1
	Subscribe
	Unsubscribe
	List // native only
	Ping // native only
)

// String gives the protocol's word.
func (a Action) String() string {
	switch a {
	case Auth:
		return "auth"
	case Subscribe:
		return "subscribe"
	case Unsubscribe:
		return "unsubscribe"
	case List:
		return "list"
	case Ping:
		return "ping"
	}
	return fmt.Sprintf("action(%d)", uint8(a))
}

// Command is what a client asks for.
type Command struct {
	Action Action
	ID     ID

	Key, Secret, Token string // of auth: key and secret, or token

	// Of subscribe and unsubscribe.
	Topics   []market.Topic // none twice; in the order of channels, and as given within one
	Rejected []Rejection    // topics whose symbol is none; native only
	Options
}

// Options are what a subscription may say beside its topics.
type Options struct {
	Delivery  Delivery        // 0: not given
	Interval  *time.Duration  // nil: not given; 0: none
	Heartbeat time.Duration   // 0: not given
	Snapshot  bool            // send the current values first; true unless told otherwise
	Since     market.Position // in place of them, send what came after; zero: not given
}

// CommandError says what was wrong with a command, as the client is to be told.
type CommandError struct {
	ErrorMessage
}

func (e *CommandError) Error() string {
	return fmt.Sprintf("bad command: %d %s", int(e.Code), e.Text())
}

func refuse(id ID, code Code, format string, args ...any) *CommandError {
	return &CommandError{ErrorMessage{ID: id, Code: code, Detail: fmt.Sprintf(format, args...)}}
}
