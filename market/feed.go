package market

import (
	"fmt"
	"slices"
	"time"
)

// FeedState tells whether prices are current.
type FeedState uint8

// The states of a feed.
const (
	FeedLive  FeedState = iota + 1 // prices are current
	FeedStale                      // some may not be: Feed.Reason says why
	FeedDown                       // none are: the feed has been lost for 10 s or more
)

// String gives the protocol's word: "live", "stale" or "down".
func (s FeedState) String() string {
	switch s {
	case FeedLive:
		return "live"
	case FeedStale:
		return "stale"
	case FeedDown:
		return "down"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// FeedReason says why a feed is not live, or why nothing comes from a source that
// is well.
type FeedReason uint8

// The reasons. A source that is live has none, FeedClosed or FeedEnded.
const (
	FeedSilent  FeedReason = iota + 1 // the source sends nothing, though by its own schedule it should
	FeedLost                          // the source is gone without a word
	FeedClosed                        // by its own schedule the source has nothing to send now
	FeedEnded                         // the source has sent all that it had
	FeedLagging                       // events are read later than they come
	FeedBus                           // the bus is lost, or its events are being caught up with
	FeedMonitor                       // the gateway has lost its monitor
)

// FeedReasons lists all reasons in order.
func FeedReasons() []FeedReason {
	return []FeedReason{FeedSilent, FeedLost, FeedClosed, FeedEnded, FeedLagging, FeedBus, FeedMonitor}
}

// String gives the protocol's word, such as "silent".
func (r FeedReason) String() string {
	switch r {
	case FeedSilent:
		return "silent"
	case FeedLost:
		return "lost"
	case FeedClosed:
		return "closed"
	case FeedEnded:
		return "ended"
	case FeedLagging:
		return "lagging"
	case FeedBus:
		return "bus"
	case FeedMonitor:
		return "monitor"
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// FeedSource is the state of one of the sources that the feed comes from.
type FeedSource struct {
	Name   string
	State  FeedState
	Reason FeedReason // 0: none
	Since  time.Time
}

// Feed is the state of the feed and since when it holds.
type Feed struct {
	State   FeedState
	Since   time.Time
	Epoch   Epoch        // the feed's epoch; 0 while it is not known
	Reason  FeedReason   // why it is not live; 0 where it is, or that is not known
	Sources []FeedSource // by name; those that say how they are. Shared: nobody changes them
}

// Same reports whether f says what other does, apart from since when.
func (f Feed) Same(other Feed) bool {
	return f.State == other.State && f.Epoch == other.Epoch && f.Reason == other.Reason &&
		slices.EqualFunc(f.Sources, other.Sources, func(a, b FeedSource) bool {
			return a.Name == b.Name && a.State == b.State && a.Reason == b.Reason
		})
}

// GapReason says why events were lost for good.
type GapReason uint8

// The reasons of a gap.
const (
	GapExpired GapReason = iota + 1 // the position is no longer held
	GapEpoch                        // the position is of another epoch
)

// String gives the protocol's word: "expired" or "epoch".
func (r GapReason) String() string {
	switch r {
	case GapExpired:
		return "expired"
	case GapEpoch:
		return "epoch"
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// Gap says that events after From, up to and including To, may be missing on
// Topics and will not come.
type Gap struct {
	Reason   GapReason
	From, To Position
	Topics   []Topic
}
