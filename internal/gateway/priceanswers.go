package gateway

import (
	"context"
	"net/http"
	"slices"

	"github.com/lzstock/lzstock/internal/session"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// values are the current values of one symbol; nil is none.
type values struct {
	trade          *market.Trade
	quote          *market.Quote
	minute         *market.Bar
	day, dayBefore *market.Bar
	minuteAt       market.Seq
}

// values asks for the current values of symbols on some channels.
func (g *Gateway) values(r *http.Request, symbols []market.Symbol, channels []market.Channel) (map[market.Symbol]*values, *problem) {
	var topics []market.Topic
	for _, c := range channels {
		for _, s := range symbols {
			topics = append(topics, market.Topic{Channel: c, Symbol: s})
			if c == market.Bars { // a minute may have been corrected since
				topics = append(topics, market.Topic{Channel: market.UpdatedBars, Symbol: s})
			}
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), pricesTimeout)
	defer cancel()
	events, before, err := g.cfg.Prices.Values(ctx, topics)
	if err != nil {
		return nil, g.pricesProblem(r.Context(), err)
	}
	out := map[market.Symbol]*values{}
	for i := range events {
		e := &events[i]
		v := out[e.Symbol]
		if v == nil {
			v = &values{}
			out[e.Symbol] = v
		}
		switch e.Channel {
		case market.Trades:
			v.trade = e.Trade
		case market.Quotes:
			v.quote = e.Quote
		case market.Bars, market.UpdatedBars:
			v.correct(e)
		case market.DailyBars:
			v.day = e.Bar
			if day, ok := before[e.Symbol]; ok {
				v.dayBefore = &day
			}
		default: // was not asked for
		}
	}
	return out, nil
}

// correct takes the bar of a minute: of the later minute, and of that in its last
// form.
func (v *values) correct(e *market.Event) {
	if v.minute == nil || e.Bar.Time.After(v.minute.Time) || e.Bar.Time.Equal(v.minute.Time) && e.Seq > v.minuteAt {
		v.minute, v.minuteAt = e.Bar, e.Seq
	}
}

// askCurrent reads a request for current values, and gets them, of the channels that
// the credentials cover.
func (g *Gateway) askCurrent(r *http.Request, who *session.Identity, channels ...market.Channel) (q priceQuery, single bool, all map[market.Symbol]*values, p *problem) {
	if q, single, p = g.ask(r, who, priceParams{}); p != nil {
		return q, single, nil, p
	}
	granted, p := covered(who, q.Symbols, channels...)
	if p == nil {
		p = current(who)
	}
	if p == nil {
		all, p = g.values(r, q.Symbols, granted)
	}
	return q, single, all, p
}

// getLatest answers the latest of one channel.
func (g *Gateway) getLatest(c market.Channel) pricesCall {
	return func(w http.ResponseWriter, r *http.Request, who *session.Identity) *problem {
		q, single, all, p := g.askCurrent(r, who, c)
		if p != nil {
			return p
		}
		one := map[market.Channel]string{market.Trades: "trade", market.Quotes: "quote", market.Bars: "bar"}[c]
		latest := func(dst []byte, v *values) ([]byte, bool) {
			switch {
			case c == market.Trades && v.trade != nil:
				return wire.AppendTradeObject(dst, v.trade), true
			case c == market.Quotes && v.quote != nil:
				return wire.AppendQuoteObject(dst, v.quote), true
			case c == market.Bars && v.minute != nil:
				return wire.AppendBarObject(dst, v.minute), true
			}
			return dst, false
		}
		if !single {
			g.send(w, r, append(appendBySymbol(append([]byte(`{"`), one+`s":`...), all, latest), '}'))
			return nil
		}
		body := append(wire.AppendText([]byte(`{"symbol":`), string(q.Symbols[0])), `,"`+one+`":`...)
		body, ok := latest(body, orNone(all[q.Symbols[0]]))
		if !ok {
			return noPrices(q.Symbols[0])
		}
		g.send(w, r, append(body, '}'))
		return nil
	}
}

// orNone gives v, or values without any where there are none.
func orNone(v *values) *values {
	if v == nil {
		return &values{}
	}
	return v
}

func noPrices(s market.Symbol) *problem {
	return &problem{Status: http.StatusNotFound, cause: "no-prices", Detail: "nothing of the kind has come for the symbol " + string(s) + " yet"}
}

// getSnapshots answers all current values of symbols, of the channels that the
// credentials cover.
func (g *Gateway) getSnapshots(w http.ResponseWriter, r *http.Request, who *session.Identity) *problem {
	q, single, all, p := g.askCurrent(r, who, market.Trades, market.Quotes, market.Bars, market.DailyBars)
	if p != nil {
		return p
	}
	if !single {
		g.send(w, r, appendBySymbol(nil, all, func(dst []byte, v *values) ([]byte, bool) {
			return append(v.append(append(dst, '{'), false), '}'), true
		}))
		return nil
	}
	v := all[q.Symbols[0]]
	if v == nil {
		return noPrices(q.Symbols[0])
	}
	body := wire.AppendText([]byte(`{"symbol":`), string(q.Symbols[0]))
	g.send(w, r, append(v.append(body, true), '}'))
	return nil
}

// append writes the fields of a snapshot, behind others or not.
func (v *values) append(dst []byte, behind bool) []byte {
	field := func(name string) {
		if behind {
			dst = append(dst, ',')
		}
		behind = true
		dst = append(dst, `"`+name+`":`...)
	}
	if v.trade != nil {
		field("latestTrade")
		dst = wire.AppendTradeObject(dst, v.trade)
	}
	if v.quote != nil {
		field("latestQuote")
		dst = wire.AppendQuoteObject(dst, v.quote)
	}
	for _, b := range []struct {
		name string
		bar  *market.Bar
	}{{"minuteBar", v.minute}, {"dailyBar", v.day}, {"prevDailyBar", v.dayBefore}} {
		if b.bar != nil {
			field(b.name)
			dst = wire.AppendBarObject(dst, b.bar)
		}
	}
	return dst
}

// getBars answers bars of the past.
func (g *Gateway) getBars(w http.ResponseWriter, r *http.Request, who *session.Identity) *problem {
	q, single, p := g.ask(r, who, priceParams{bars: true})
	if p != nil {
		return p
	}
	channels := []market.Channel{market.Bars}
	if q.Timeframe == market.Day {
		channels = append(channels, market.DailyBars)
	}
	if _, p := covered(who, q.Symbols, channels...); p != nil {
		return p
	}
	q.Delay = who.Grant.Delay
	ctx, cancel := context.WithTimeout(r.Context(), pricesTimeout)
	defer cancel()
	page, err := g.cfg.Prices.Bars(ctx, &q.BarQuery)
	if err != nil {
		return g.pricesProblem(r.Context(), err)
	}
	g.send(w, r, appendBars(nil, &page, single, q.Symbols[0]))
	return nil
}

func appendBars(dst []byte, page *market.BarPage, single bool, symbol market.Symbol) []byte {
	list := func(bars []market.Bar) {
		dst = append(dst, '[')
		for i := range bars {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = wire.AppendBarObject(dst, &bars[i])
		}
		dst = append(dst, ']')
	}
	dst = append(dst, `{"bars":`...)
	if single {
		var bars []market.Bar
		if len(page.Symbols) > 0 {
			bars = page.Symbols[0].Bars
		}
		list(bars)
		dst = wire.AppendText(append(dst, `,"symbol":`...), string(symbol))
	} else {
		dst = append(dst, '{')
		for i, s := range page.Symbols {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(wire.AppendText(dst, string(s.Symbol)), ':')
			list(s.Bars)
		}
		dst = append(dst, '}')
	}
	return appendNext(dst, page.Next)
}

// appendNext ends a page.
func appendNext(dst []byte, next string) []byte {
	dst = append(dst, `,"next_page_token":`...)
	if next == "" {
		return append(dst, `null}`...)
	}
	return append(wire.AppendText(dst, next), '}')
}

func appendListings(dst []byte, page *market.ListingPage) []byte {
	dst = append(dst, `{"symbols":[`...)
	for i, l := range page.Listings {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = wire.AppendText(append(dst, `{"symbol":`...), string(l.Symbol))
		if l.Name != "" {
			dst = wire.AppendText(append(dst, `,"name":`...), l.Name)
		}
		dst = append(dst, '}')
	}
	return appendNext(append(dst, ']'), page.Next)
}

// appendBySymbol writes an object of what f writes for each symbol, in alphabetical
// order; what it does not write is left out.
func appendBySymbol(dst []byte, all map[market.Symbol]*values, f func([]byte, *values) ([]byte, bool)) []byte {
	symbols := make([]market.Symbol, 0, len(all))
	for s := range all {
		symbols = append(symbols, s)
	}
	slices.Sort(symbols)
	dst = append(dst, '{')
	first := true
	for _, s := range symbols {
		before := len(dst)
		if !first {
			dst = append(dst, ',')
		}
		dst = append(wire.AppendText(dst, string(s)), ':')
		var ok bool
		if dst, ok = f(dst, all[s]); !ok {
			dst = dst[:before]
			continue
		}
		first = false
	}
	return append(dst, '}')
}

// send answers with a JSON document, with a line's end.
func (g *Gateway) send(w http.ResponseWriter, r *http.Request, body []byte) {
	g.headers(w, r)
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n')) // the client that left does not need it
}
