package bridge_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/market"
)

// TestAges: one write in 17 tells how old its last trade is; snapshots, bars and
// prices that are shown late tell nothing.
func TestAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, bridge.Config{PingEvery: time.Hour, PeerTimeout: time.Hour, HeartbeatEvery: time.Hour})
		late := st.another()
		of := func(h *hub.Hub, seq market.Seq, age time.Duration) {
			t.Helper()
			if err := h.Publish(t.Context(), []market.Event{
				{Seq: seq, Channel: market.Trades, Symbol: "A", Trade: &market.Trade{Price: 1, Time: time.Now().Add(-age)}},
				{Seq: seq, Channel: market.Bars, Symbol: "A", Bar: &market.Bar{Time: time.Now().Add(-time.Minute)}},
			}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		of(st.hub, 1, time.Minute) // a snapshot
		p := st.connect(&talk{symbols: []market.Symbol{"A"}}, bridge.Options{})
		if got := p.text(); got == "" {
			t.Error("no snapshot")
		}
		for seq := range market.Seq(2 * 17) {
			of(st.hub, seq+2, 30*time.Millisecond)
			p.text()
		}
		s := st.factory.Stats()
		if s.Shown != [len(s.Shown)]uint64{6: 2} || s.Aged != 60*time.Millisecond {
			t.Errorf("%d writes: ages %v, %v together; want two of 30 ms", s.Writes, s.Shown, s.Aged)
		}

		for seq := range market.Seq(17) { // a tape's, and a clock that is ahead
			of(st.hub, seq+100, time.Duration(1-2*int(seq%2))*24*time.Hour)
			p.text()
		}
		if s := st.factory.Stats(); s.Shown[0]+s.Shown[len(s.Shown)-1] != 1 || s.Aged > time.Hour+60*time.Millisecond {
			t.Errorf("ages %v, %v together; want one more of an hour or of nothing", s.Shown, s.Aged)
		}

		before := st.factory.Stats().Shown
		q := st.connect(&talk{symbols: []market.Symbol{"A"}}, bridge.Options{Hub: late.hub})
		for seq := range market.Seq(2 * 17) {
			of(late.hub, seq+1, 30*time.Millisecond)
			q.text()
		}
		if s := st.factory.Stats(); s.Shown != before {
			t.Errorf("ages %v, want %v: late prices do not count", s.Shown, before)
		}
	})
}
