package sim

import (
	"time"

	"github.com/lzstock/lzstock/market"
)

// instrument is one thing that trades. All amounts are in billionths.
type instrument struct {
	profile
	open int64
	mid  int64 // where the price is, finer than a tick

	step, market, level int64 // of the walk, when mid was moved last

	quoted      bool // since it opened or resumed
	bid, ask    int64
	haltedUntil int64 // 0 where it is not
	trades      int64
}

func newInstrument(p profile) *instrument {
	open := p.cents * cent
	return &instrument{profile: p, open: open, mid: open}
}

// follow moves the price to the present.
func (in *instrument) follow(s *Sim) {
	steps := s.step - in.step
	if steps == 0 {
		return
	}
	vol := annual(in.vol)
	if s.burst == in {
		vol *= 3
	}
	move := s.rnd.noise(vol, steps)
	move += (s.market - in.market) * in.beta / 1000
	move += s.levels[in.sector] - in.level
	in.step, in.market, in.level = s.step, s.market, s.levels[in.sector]

	const most = 50_000_000 // 5 % at once
	in.mid += scale(in.mid, min(max(move, -most), most))
	in.mid -= (in.mid - in.open) >> 21 * min(steps, 1<<20)
	in.mid = max(in.mid, 10*cent)
}

// stale reports whether the quote must be renewed before anybody trades.
func (in *instrument) stale() bool {
	return !in.quoted || in.mid < in.bid || in.mid > in.ask
}

func (in *instrument) quote(s *Sim, at time.Time) market.Event {
	ticks := max(1, scale(in.mid, in.spread*1000)/cent)
	switch r := s.rnd.below(20); {
	case s.burst == in:
		ticks += 1 + s.rnd.below(ticks+1)
	case r == 0:
		ticks *= 2
	case r < 6:
		ticks++
	}
	in.bid = max((in.mid-ticks*cent/2)/cent, 1) * cent
	in.ask = in.bid + ticks*cent
	in.quoted = true
	q := &market.Quote{
		BidExchange: Exchange, BidPrice: market.Price(in.bid), BidSize: in.depth(s.rnd),
		AskExchange: Exchange, AskPrice: market.Price(in.ask), AskSize: in.depth(s.rnd),
		Time: at, Tape: in.tape,
	}
	if in.unit == wholeUnit {
		q.Conditions = s.quoted
	}
	return market.Event{Channel: market.Quotes, Symbol: in.symbol, Quote: q}
}

// depth gives the size at one side of a quote: round lots, or some fraction.
func (in *instrument) depth(r *random) market.Size {
	lots := 1 + r.below(6) + 4*r.tail()
	if in.unit != wholeUnit {
		return market.Size((lots*in.lot + r.below(in.lot)) * in.unit)
	}
	return market.Size(lots * in.lot * in.unit)
}

func (in *instrument) trade(s *Sim, at time.Time) market.Event {
	in.trades++
	ticks := (in.ask - in.bid) / cent
	price := in.bid
	switch r := s.rnd.below(10); {
	case r < 4:
		price = in.ask
	case r < 6:
		price += s.rnd.below(ticks+1) * cent
	}
	size, odd := in.amount(s.rnd)
	t := &market.Trade{
		ID: in.trades, Exchange: Exchange, Price: market.Price(price), Size: size, Time: at, Tape: in.tape,
	}
	switch {
	case in.unit != wholeUnit:
	case odd:
		t.Conditions = s.odd
	default:
		t.Conditions = s.regular
	}
	return market.Event{Channel: market.Trades, Symbol: in.symbol, Trade: t}
}

// amount gives the size of a trade, and whether it is less than a round lot.
func (in *instrument) amount(r *random) (market.Size, bool) {
	lots := int64(1)
	switch n := r.below(20); {
	case in.lot == 1:
		lots += r.tail()
	case n < 11:
		return market.Size(r.between(1, in.lot-1) * in.unit), true
	case n > 17:
		lots += 1 + r.below(4) + 5*r.tail()
	}
	return market.Size(lots * in.lot * in.unit), false
}
