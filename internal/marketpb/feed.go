package marketpb

import (
	"fmt"
	"time"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/market"
)

// maxSources is how many sources a feed's state may tell of.
const maxSources = 256

// Feed gives the protobuf form of a feed's state. The epoch is not part of it.
func Feed(f *market.Feed) *pb.FeedState {
	m := &pb.FeedState{State: pb.FeedState_State(f.State), Since: f.Since.UnixNano(), Reason: pb.FeedState_Reason(f.Reason)}
	for _, s := range f.Sources {
		m.Sources = append(m.Sources, &pb.FeedState_Source{
			Name: s.Name, State: pb.FeedState_State(s.State), Reason: pb.FeedState_Reason(s.Reason), Since: s.Since.UnixNano(),
		})
	}
	return m
}

// CheckFeed says what is wrong with a feed's state that came.
func CheckFeed(m *pb.FeedState) error {
	known := func(s pb.FeedState_State) bool { return s >= pb.FeedState_STATE_LIVE && s <= pb.FeedState_STATE_DOWN }
	if !known(m.GetState()) {
		return fmt.Errorf("a feed of state %s", m.GetState())
	}
	if n := len(m.GetSources()); n > maxSources {
		return fmt.Errorf("a feed of %d sources: want at most %d", n, maxSources)
	}
	for _, s := range m.GetSources() {
		if !known(s.GetState()) || s.GetName() == "" || len(s.GetName()) > market.MaxSymbolLen {
			return fmt.Errorf("a source %.40q of state %s", s.GetName(), s.GetState())
		}
	}
	return nil
}

// FromFeed reads a feed's state for which CheckFeed gave no error. Reasons that
// are not known are left out.
func FromFeed(m *pb.FeedState) market.Feed {
	f := market.Feed{State: market.FeedState(m.GetState()), Since: time.Unix(0, m.GetSince()).UTC(), Reason: reason(m.GetReason())}
	for _, s := range m.GetSources() {
		f.Sources = append(f.Sources, market.FeedSource{
			Name: s.GetName(), State: market.FeedState(s.GetState()), Reason: reason(s.GetReason()), Since: time.Unix(0, s.GetSince()).UTC(),
		})
	}
	return f
}

func reason(r pb.FeedState_Reason) market.FeedReason {
	if r < pb.FeedState_REASON_UNSPECIFIED || r > pb.FeedState_REASON_MONITOR {
		return 0
	}
	return market.FeedReason(r)
}
