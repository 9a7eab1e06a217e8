package marketpb

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/market"
)

func TestFeedComesBack(t *testing.T) {
	at := time.Unix(1_700_000_000, 5).UTC()
	f := market.Feed{State: market.FeedDown, Since: at, Reason: market.FeedLost}
	for i, r := range append(market.FeedReasons(), 0) {
		f.Sources = append(f.Sources, market.FeedSource{Name: strings.Repeat("n", i+1), State: market.FeedLive, Reason: r, Since: at})
	}
	m := Feed(&f)
	if err := CheckFeed(m); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f, FromFeed(m)); diff != "" {
		t.Error(diff)
	}
	for r := range pb.FeedState_Reason_name {
		if name := strings.ToLower(strings.TrimPrefix(pb.FeedState_Reason(r).String(), "REASON_")); r != 0 && name != market.FeedReason(r).String() {
			t.Errorf("reason %d is %s here and %s there", r, name, market.FeedReason(r))
		}
	}
	// A later service may know more reasons.
	m.Reason, m.Sources[0].Reason = 99, -1
	if got := FromFeed(m); got.Reason != 0 || got.Sources[0].Reason != 0 || CheckFeed(m) != nil {
		t.Errorf("%+v", got)
	}
}

func TestBadFeeds(t *testing.T) {
	source := func(name string, s pb.FeedState_State) *pb.FeedState {
		return &pb.FeedState{State: pb.FeedState_STATE_LIVE, Sources: []*pb.FeedState_Source{{Name: name, State: s}}}
	}
	for name, m := range map[string]*pb.FeedState{
		"no state":        {},
		"unknown state":   {State: 4},
		"a nameless one":  source("", pb.FeedState_STATE_LIVE),
		"a long name":     source(strings.Repeat("n", 33), pb.FeedState_STATE_LIVE),
		"no source state": source("sim", 0),
		"too many":        {State: pb.FeedState_STATE_LIVE, Sources: make([]*pb.FeedState_Source, 257)},
	} {
		if CheckFeed(m) == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
