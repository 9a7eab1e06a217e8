package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lzstock/lzstock/internal/nearest"
	"github.com/lzstock/lzstock/market"
)

// priceQuery is what a request for prices asks for.
type priceQuery struct {
	market.BarQuery
	prefix string // of listings
}

// priceParams are the parameters that requests for prices may have.
type priceParams struct {
	feeds   []string // that a feed may be
	symbols int      // greatest number of symbols; 0: there are none
	bars    bool     // for bars
	list    bool     // for listings
}

// names lists the parameters.
func (p *priceParams) names() (out []string) {
	if p.list {
		return []string{"limit", "page_token", "prefix"}
	}
	out = []string{"currency", "feed"}
	if p.bars {
		out = append(out, "adjustment", "asof", "end", "limit", "page_token", "sort", "start", "timeframe")
	}
	if p.symbols > 0 {
		out = append(out, "symbols")
	}
	slices.Sort(out)
	return out
}

// parse reads a query. Its errors are for the client.
func (p *priceParams) parse(values url.Values) (q priceQuery, err error) {
	known := p.names()
	for name, list := range values {
		if !slices.Contains(known, name) {
			hint := ""
			if near := nearest.Name(name, known); near != "" {
				hint = ": did you mean " + near + "?"
			}
			return q, fmt.Errorf("parameter %.40q is not known%s Want one of %s", name, cmp.Or(hint, "."), strings.Join(known, ", "))
		}
		if len(list) > 1 && name != "symbols" {
			return q, fmt.Errorf("parameter %s is given %d times: want it once", name, len(list))
		}
	}
	if p.symbols > 0 {
		if q.Symbols, err = symbolsOf(values["symbols"], p.symbols); err != nil {
			return q, err
		}
	}
	if err := p.harmless(values); err != nil {
		return q, err
	}
	q.prefix, q.Token, q.Limit = values.Get("prefix"), values.Get("page_token"), market.DefaultPage
	if len(q.prefix) > maxPrefix {
		return q, fmt.Errorf("prefix has %d bytes: want %d at the most", len(q.prefix), maxPrefix)
	}
	if len(q.Token) > maxToken {
		return q, market.ErrPageToken
	}
	if text := values.Get("limit"); text != "" {
		if q.Limit, err = strconv.Atoi(text); err != nil || q.Limit < 1 || q.Limit > market.MaxPage {
			return q, fmt.Errorf("limit is %.20q: want a number from 1 to %d", text, market.MaxPage)
		}
	}
	if p.bars {
		err = q.bars(values)
	}
	return q, err
}

const (
	maxPrefix = 100
	maxToken  = 200
)

func symbolsOf(lists []string, most int) (out []market.Symbol, err error) {
	for _, list := range lists {
		for s := range strings.SplitSeq(list, ",") {
			symbol := market.Symbol(strings.TrimSpace(s))
			if symbol == "" || slices.Contains(out, symbol) {
				continue
			}
			if err := symbol.Validate(); err != nil {
				return nil, fmt.Errorf("symbols: %w", err)
			}
			if out = append(out, symbol); len(out) > most {
				return nil, fmt.Errorf("symbols: more than %d of them, ask for some at a time", most)
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("symbols is missing: want a list such as symbols=AAPL,MSFT")
	}
	return out, nil
}

// harmless refuses the parameters of Alpaca that would change the answer there, and
// cannot here.
func (p *priceParams) harmless(values url.Values) error {
	if feed := values.Get("feed"); feed != "" && !slices.Contains(p.feeds, feed) {
		return fmt.Errorf("feed is %.20q: want one of %s, which are all the same here", feed, strings.Join(p.feeds, ", "))
	}
	if currency := values.Get("currency"); currency != "" && currency != "USD" {
		return fmt.Errorf("currency is %.10q: prices are not converted, want USD or nothing", currency)
	}
	if adjustment := values.Get("adjustment"); adjustment != "" && adjustment != "raw" {
		return fmt.Errorf("adjustment is %.20q: prices are as they were traded, want raw or nothing", adjustment)
	}
	if asof := values.Get("asof"); asof != "" && asof != "-" {
		if _, err := time.Parse(time.DateOnly, asof); err != nil {
			return fmt.Errorf("asof is %.20q: want a day such as 2026-01-05, or -; symbols are taken as they are anyway", asof)
		}
	}
	return nil
}

func (q *priceQuery) bars(values url.Values) (err error) {
	text := values.Get("timeframe")
	if text == "" {
		return fmt.Errorf("timeframe is missing: want one of %s", timeframes())
	}
	if q.Timeframe, err = market.ParseTimeframe(text); err != nil {
		return err
	}
	switch order := values.Get("sort"); order {
	case "", "asc":
	case "desc":
		q.Descending = true
	default:
		return fmt.Errorf("sort is %.20q: want asc or desc", order)
	}
	if q.Start, err = timeOf("start", values.Get("start"), 0); err != nil {
		return err
	}
	if q.End, err = timeOf("end", values.Get("end"), 24*time.Hour-1); err != nil {
		return err
	}
	if !q.Start.IsZero() && !q.End.IsZero() && q.End.Before(q.Start) {
		return fmt.Errorf("end %s is before start %s", q.End.Format(time.RFC3339Nano), q.Start.Format(time.RFC3339Nano))
	}
	return nil
}

func timeframes() string {
	var out []string
	for _, f := range market.Timeframes() {
		out = append(out, f.String())
	}
	return strings.Join(out, ", ")
}

// timeOf reads a time, or a day, to whose first moment it adds day.
func timeOf(name, text string, day time.Duration) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		if t, err = time.Parse(time.DateOnly, text); err != nil {
			return time.Time{}, fmt.Errorf("%s is %.40q: want a time such as 2026-01-05T15:04:05Z, or a day such as 2026-01-05", name, text)
		}
		t = t.Add(day)
	}
	if t = t.UTC(); t.Year() < 1970 || t.Year() > 2200 {
		return time.Time{}, fmt.Errorf("%s is %s: want a time between 1970 and 2200", name, t.Format(time.RFC3339))
	}
	return t, nil
}
