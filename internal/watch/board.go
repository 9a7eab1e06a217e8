package watch

import (
	"cmp"
	"slices"
	"time"

	"github.com/lzstock/lzstock/client"
	"github.com/lzstock/lzstock/market"
)

// What is kept of a symbol.
const (
	points     = 24  // of its sparkline: the last price of each second that had a trade
	keptTrades = 64  // for its detail
	keptBars   = 240 // minutes, for its detail
)

// board is what a terminal shows of the market and of the connection. It grows
// with the number of symbols only.
type board struct {
	rows  map[market.Symbol]*row
	gone  map[market.Symbol]bool // the user took them off; a "*" brings their events all the same
	conn  client.State
	notes []string // what the gateway refused
	gaps  int      // losses so far
	dirty bool     // something has changed since it was drawn last

	second       time.Time // in which events are counted
	count, rate  int       // of events, in this second and in the one before
	events, most uint64    // handed out, and merged into others, in all
}

// row is what is known of a symbol.
type row struct {
	first, last market.Price
	trend       style // of the last change
	quote       *market.Quote
	day         *market.Bar
	spark       []market.Price
	sparked     time.Time // the second of the last point
	trades      []market.Trade
	bars        []market.Bar   // by time
	lacks       error          // why minutes of the past are not among them
	seen        time.Time      // when its last event came
	halt        *market.Status // why it is not traded; nil where it is, or nobody said
	simulated   bool
	hasLast     bool
}

func newBoard(symbols []market.Symbol) *board {
	b := &board{rows: make(map[market.Symbol]*row), gone: make(map[market.Symbol]bool), dirty: true}
	for _, s := range symbols {
		b.add(s)
	}
	return b
}

// add has a symbol shown, with or without a price.
func (b *board) add(s market.Symbol) {
	if s == market.AllSymbols {
		clear(b.gone)
		return
	}
	delete(b.gone, s)
	b.row(s)
	b.dirty = true
}

func (b *board) remove(s market.Symbol) {
	delete(b.rows, s)
	b.gone[s] = true
	b.dirty = true
}

func (b *board) row(s market.Symbol) *row {
	r := b.rows[s]
	if r == nil {
		r = &row{}
		b.rows[s] = r
	}
	return r
}

func (b *board) event(e *client.Event, now time.Time) {
	b.tick(now)
	b.count++
	b.events++
	b.most += uint64(e.Count() - 1)
	if b.gone[e.Symbol] {
		return
	}
	r := b.row(e.Symbol)
	b.dirty = true
	switch {
	case e.Status != nil:
		switch e.Status.Trading() {
		case market.TradingHalted:
			r.halt = e.Status
		case market.TradingResumed:
			r.halt = nil
		}
		return // it is no price: the age goes on
	case e.Trade != nil:
		r.price(e.Trade.Price, e.Trade.Time)
		r.trades = last(append(r.trades, *e.Trade), keptTrades)
	case e.Quote != nil:
		r.quote = e.Quote
	case e.Bar != nil:
		r.bar(e.Channel, e.Bar)
	}
	r.simulated = r.simulated || simulated(&e.Event)
	r.seen = now
}

// tick begins a new second of counting where one is over.
func (b *board) tick(now time.Time) {
	switch d := now.Sub(b.second); {
	case d < time.Second && d >= 0:
	case d < 2*time.Second && d >= 0:
		b.second, b.rate, b.count = b.second.Add(time.Second), b.count, 0
	default:
		b.second, b.rate, b.count = now, 0, 0
	}
}

func (r *row) price(p market.Price, at time.Time) {
	second := at.Truncate(time.Second)
	if n := len(r.spark); n > 0 && !second.After(r.sparked) {
		r.spark[n-1] = p
	} else {
		r.spark, r.sparked = last(append(r.spark, p), points), second
	}
	if !r.hasLast {
		r.first, r.last, r.hasLast = p, p, true
		return
	}
	switch {
	case p > r.last:
		r.trend = green
	case p < r.last:
		r.trend = red
	}
	r.last = p
}

func (r *row) bar(c market.Channel, bar *market.Bar) {
	if !r.hasLast {
		r.first, r.last, r.hasLast = bar.Close, bar.Close, true
	}
	if c == market.DailyBars {
		r.day = bar
		return
	}
	r.minute(*bar)
}

// minute puts one in its place, or takes the place of its earlier form.
func (r *row) minute(bar market.Bar) {
	i, found := slices.BinarySearchFunc(r.bars, bar.Time, func(b market.Bar, t time.Time) int { return b.Time.Compare(t) })
	if found {
		r.bars[i] = bar
		return
	}
	r.bars = last(slices.Insert(r.bars, i, bar), keptBars)
}

// past takes minutes of the past, each in its last form: what came live may have
// been corrected while nobody looked.
func (b *board) past(s market.Symbol, bars []market.Bar, err error) {
	r := b.rows[s]
	if r == nil {
		return
	}
	r.lacks = err
	for _, bar := range bars {
		r.minute(bar)
	}
	b.dirty = true
}

// last gives the n last elements, and lets go of what is before them now and then.
func last[T any](s []T, n int) []T {
	if len(s) <= n {
		return s
	}
	if s = s[len(s)-n:]; cap(s) == len(s) {
		s = append(make([]T, 0, 2*n), s...)
	}
	return s
}

func (b *board) state(s client.State, _ time.Time) { b.conn, b.dirty = s, true }

func (b *board) gap(g client.Gap, _ time.Time) {
	b.gaps++
	if g.Reason == client.Renumbered { // a new feed, which says anew who is halted
		for _, r := range b.rows {
			r.halt = nil
		}
	}
	b.dirty = true
}

func (b *board) rejected(r client.Rejection, _ time.Time) {
	const most = 3
	b.notes = last(append(b.notes, r.Topic.String()+": "+r.Reason), most)
	b.dirty = true
}

// full is never so: a board holds no more than the symbols there are.
func (b *board) full() bool { return false }

// current tells whether the prices can be trusted to be.
func (b *board) current() bool {
	return b.conn.Phase == client.Connected && (b.conn.Feed.State == market.FeedLive || b.conn.Feed.State == 0)
}

// column is what a table can be sorted by.
type column int

// The columns, in the order in which a key goes through them.
const (
	bySymbol column = iota
	byPrice
	byChange
	bySpread
	byVolume
	byAge
	columns
)

// sorted gives the symbols in order. Those without a value come last.
func (b *board) sorted(by column, reverse bool) []market.Symbol {
	list := make([]market.Symbol, 0, len(b.rows))
	for s := range b.rows {
		list = append(list, s)
	}
	slices.SortFunc(list, func(x, y market.Symbol) int {
		p, q := b.rows[x], b.rows[y]
		if has := b.has(q, by) - b.has(p, by); has != 0 {
			return has
		}
		n := 0
		if b.has(p, by) == 0 {
			return cmp.Compare(x, y)
		}
		switch by {
		case byPrice:
			n = cmp.Compare(q.last, p.last)
		case byChange:
			n = cmp.Compare(share(q.first, q.last), share(p.first, p.last))
		case bySpread:
			n = cmp.Compare(share(p.quote.BidPrice, p.quote.AskPrice), share(q.quote.BidPrice, q.quote.AskPrice))
		case byVolume:
			n = cmp.Compare(q.day.Volume, p.day.Volume)
		case byAge:
			n = q.seen.Compare(p.seen)
		case bySymbol, columns:
		}
		if n == 0 {
			n = cmp.Compare(x, y)
		}
		if reverse {
			n = -n
		}
		return n
	})
	return list
}

// has is 1 where a row has a value in a column, else 0.
func (b *board) has(r *row, by column) int {
	ok := true
	switch by {
	case byPrice, byChange:
		ok = r.hasLast
	case bySpread:
		ok = r.quote != nil && r.quote.BidPrice > 0 && r.quote.AskPrice > 0
	case byVolume:
		ok = r.day != nil
	case byAge:
		ok = !r.seen.IsZero()
	case bySymbol, columns:
	}
	if ok {
		return 1
	}
	return 0
}

// share is how much of the first price the second one is more. It only orders.
func share(from, to market.Price) float64 {
	if from == 0 {
		return 0
	}
	return float64(to-from) / float64(from)
}
