package market

import (
	"fmt"
	"time"
)

// FeedState tells whether prices are current.
type FeedState uint8

// The states of a feed.
const (
	FeedLive  FeedState = iota + 1 // prices are current
	FeedStale                      // the source was lost less than 10 s ago, or is catching up
	FeedDown                       // the source has been lost for 10 s or more
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

// Feed is the state of the feed and since when it holds.
type Feed struct {
	State FeedState
	Since time.Time
	Epoch Epoch // the feed's epoch; 0 while it is not known
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
