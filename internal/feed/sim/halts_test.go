package sim_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/lzstock/lzstock/internal/feed/sim"
	"github.com/lzstock/lzstock/market"
)

// halting follows the statuses of a market, and holds its trades and quotes to
// them.
type halting struct {
	t      *testing.T
	since  map[market.Symbol]time.Time // who is halted
	opened map[market.Symbol]bool      // who has resumed, and not quoted yet
	halts  map[market.Symbol]int
	most   int // halted at once
}

func (h *halting) event(e *market.Event) {
	since, halted := h.since[e.Symbol]
	if e.Status == nil {
		if halted {
			h.t.Errorf("%s is halted, and has %+v", e.Symbol, e)
		}
		if h.opened[e.Symbol] && e.Quote == nil {
			h.t.Errorf("%s resumes with a trade", e.Symbol)
		}
		delete(h.opened, e.Symbol)
		return
	}
	switch e.Status.Trading() {
	case market.TradingHalted:
		if halted {
			h.t.Errorf("%s is halted twice", e.Symbol)
		}
		h.since[e.Symbol] = e.Status.Time
		h.halts[e.Symbol]++
		h.most = max(h.most, len(h.since))
	case market.TradingResumed:
		if away := e.Status.Time.Sub(since); !halted || away < 15*time.Second || away > 80*time.Second {
			h.t.Errorf("%s resumes after %s, halted %t", e.Symbol, away, halted)
		}
		delete(h.since, e.Symbol)
		h.opened[e.Symbol] = true
	default:
		h.t.Errorf("status %+v", e.Status)
	}
}

// watchHalts plays a market for an hour.
func watchHalts(t *testing.T, opts sim.Options) (h *halting, total int) {
	t.Helper()
	opts.Rate = 40
	s := newMarket(t, opts)
	h = &halting{t: t, since: map[market.Symbol]time.Time{}, opened: map[market.Symbol]bool{}, halts: map[market.Symbol]int{}}
	for {
		e := s.Next()
		if e.Time().Sub(start) > time.Hour {
			break
		}
		h.event(&e)
	}
	for _, n := range h.halts {
		total += n
	}
	return h, total
}

func TestHaltsAreTold(t *testing.T) {
	for _, tc := range []struct {
		opts              sim.Options
		least, most, atMo int
	}{
		{sim.Options{Seed: 5}, 15, 40, 3},
		{sim.Options{Seed: 5, Halts: 30}, 15, 40, 3},
		{sim.Options{Seed: 6, Halts: 6}, 1, 9, 3},
		{sim.Options{Seed: 7, Halts: 3600}, 150, 400, 3}, // bounded by how many are halted at once
		{sim.Options{Seed: 8, Halts: sim.NoHalts}, 0, 0, 0},
	} {
		h, total := watchHalts(t, tc.opts)
		if total < tc.least || total > tc.most || h.most > tc.atMo {
			t.Errorf("%+v: %d halts in an hour, at most %d at once; want %d to %d, %d", tc.opts, total, h.most, tc.least, tc.most, tc.atMo)
		}
		for _, steady := range []market.Symbol{"FAKEPACA", "SPY", "BTC/USD"} {
			if h.halts[steady] > 0 {
				t.Errorf("%s halted", steady)
			}
		}
	}
}

// The default is the number that it says.
func TestDefaultHalts(t *testing.T) {
	a := take(newMarket(t, sim.Options{Seed: 7}), 20_000)
	b := take(newMarket(t, sim.Options{Seed: 7, Halts: sim.DefaultHalts}), 20_000)
	if !reflect.DeepEqual(a, b) {
		t.Error("the default is another course of events")
	}
}
