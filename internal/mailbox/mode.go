package mailbox

import (
	"errors"
	"fmt"
)

// Mode says what happens to events that are not taken in time.
type Mode uint8

// The modes; the package comment says what each promises.
const (
	Adaptive Mode = iota
	Every
	Latest
)

// String gives the protocol's word for the mode.
func (m Mode) String() string {
	switch m {
	case Adaptive:
		return "adaptive"
	case Every:
		return "every"
	case Latest:
		return "latest"
	}
	return fmt.Sprintf("mode(%d)", uint8(m))
}

// Default limits, in events.
const (
	AdaptiveLimit = 256
	EveryLimit    = 65536
)

// defaultKeep is what Options.Keep is without a word.
const defaultKeep = 64

// Errors of Add, in mode Every.
var (
	ErrOverflow = errors.New("more events wait than the mailbox may hold")
	ErrMerged   = errors.New("the feed itself had to merge events")
)

// Options configure a mailbox.
type Options struct {
	Mode Mode
	// Limit is the greatest number of events that wait in modes Adaptive and
	// Every; 0 means the mode's default. Latest holds one event a topic.
	Limit int
	// Keep is the greatest number of places that an empty queue holds on to; 0
	// means 64. A mailbox that fills and empties all the time wants more, one of
	// thousands that are mostly empty does not.
	Keep int
}
