package mailbox

import (
	"errors"
	"fmt"
	"math"
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
}

func (m *Mailbox) set(o Options) {
	m.mode, m.limit = o.Mode, int32(min(o.Limit, math.MaxInt32))
	switch {
	case m.limit > 0:
	case o.Mode == Every:
		m.limit = EveryLimit
	default:
		m.limit = AdaptiveLimit
	}
}
