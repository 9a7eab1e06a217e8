package past

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/lzstock/lzstock/internal/monitor/bars"
	"github.com/lzstock/lzstock/market"
)

// Page answers a query, whose limit and symbols are valid. Nothing that became known
// after now, less the query's delay, is in it. Its error is market.ErrPageToken.
func (s *Store) Page(q *market.BarQuery, now time.Time) (market.BarPage, error) {
	w := window{
		frame: q.Timeframe, zone: s.cfg.Zone, from: math.MinInt64, to: math.MaxInt64, known: math.MaxInt64, descending: q.Descending,
	}
	if q.Delay > 0 {
		w.known = now.Add(-q.Delay).UnixNano()
	}
	if !q.Start.IsZero() {
		w.from = nanos(q.Start)
	}
	if !q.End.IsZero() {
		w.to = nanos(q.End)
	}
	symbols := slices.Compact(slices.Sorted(slices.Values(q.Symbols)))
	seen, at := market.Symbol(""), int64(0)
	if q.Token != "" {
		var ok bool
		if seen, at, ok = readToken(q.Token); !ok || !slices.Contains(symbols, seen) {
			return market.BarPage{}, market.ErrPageToken
		}
	}
	var page market.BarPage
	add := func(symbol market.Symbol, list []market.Bar) {
		if len(list) > 0 {
			page.Symbols = append(page.Symbols, market.SymbolBars{Symbol: symbol, Bars: list})
		}
	}
	room := q.Limit
	for _, symbol := range symbols {
		if symbol < seen {
			continue
		}
		own := w
		if symbol == seen && w.descending {
			own.to = min(w.to, at-1)
		} else if symbol == seen {
			own.from = max(w.from, at+1)
		}
		list := s.bars(symbol, own, room+1)
		if len(list) > room { // there are more: the next page begins behind the last that goes into this one
			add(symbol, list[:room])
			last := page.Symbols[len(page.Symbols)-1]
			page.Next = token(last.Symbol, last.Bars[len(last.Bars)-1].Time)
			return page, nil
		}
		add(symbol, list)
		room -= len(list)
	}
	return page, nil
}

// PreviousDay gives the bar of a symbol's last day before t.
func (s *Store) PreviousDay(symbol market.Symbol, t time.Time) (market.Bar, bool) {
	start, _ := bars.Day(s.cfg.Zone, t.UnixNano())
	list := s.bars(symbol, window{
		frame: market.Day, zone: s.cfg.Zone, from: math.MinInt64, to: start - 1, known: math.MaxInt64, descending: true,
	}, 1)
	if len(list) == 0 {
		return market.Bar{}, false
	}
	return list[0], true
}

func (s *Store) bars(symbol market.Symbol, w window, most int) []market.Bar {
	s.mu.RLock()
	se := s.symbols[symbol]
	s.mu.RUnlock()
	if se == nil || w.from > w.to {
		return nil
	}
	se.mu.RLock()
	defer se.mu.RUnlock()
	return w.of(se, most)
}

// nanos gives a time in Unix nanoseconds, or the nearest that there is.
func nanos(t time.Time) int64 {
	switch first, last := time.Unix(0, math.MinInt64), time.Unix(0, math.MaxInt64); {
	case t.Before(first):
		return math.MinInt64
	case t.After(last):
		return math.MaxInt64
	}
	return t.UnixNano()
}

// window says which bars are wanted of a symbol.
type window struct {
	frame      market.Timeframe
	zone       *time.Location
	from, to   int64 // of the intervals' starts
	known      int64 // nothing that became known later
	descending bool
}

// interval gives the interval that holds t.
func (w *window) interval(t int64) (start, end int64) {
	if w.frame == market.Day {
		return bars.Day(w.zone, t)
	}
	start = bars.Floor(t, w.frame.Length())
	return start, start + int64(w.frame.Length())
}

// of gives up to most bars.
func (w *window) of(se *series, most int) (out []market.Bar) {
	list := se.minutes
	low := se.before(w.from)
	high := low + sort.Search(len(list)-low, func(i int) bool { // intervals ascend as minutes do
		start, _ := w.interval(list[low+i].sum.Start())
		return start > w.to
	})
	for len(out) < most && low < high {
		i := low
		if w.descending {
			i = high - 1
		}
		start, end := w.interval(list[i].sum.Start())
		first, behind := low, high // the interval's minutes
		if w.descending {
			first = max(low, se.before(start))
			high = first
		} else {
			behind = min(high, se.before(end))
			low = behind
		}
		if start < w.from { // its first minutes may be before low
			continue
		}
		sum := w.sum(start, list[first:behind])
		if !sum.Empty() {
			out = append(out, sum.Bar())
		}
	}
	return out
}

// sum adds up the minutes of an interval. One of which any source's part is not to be
// known yet is left out whole.
func (w *window) sum(start int64, list []minute) (out bars.Sum) {
	for n := 0; len(list) > 0; list, n = list[n:], 0 {
		at, known := list[0].sum.Start(), true
		for n < len(list) && list[n].sum.Start() == at {
			known = known && list[n].stored <= w.known
			n++
		}
		if known && at+int64(time.Minute) <= w.known {
			for i := range n {
				out.Add(start, &list[i].sum)
			}
		}
	}
	return out
}

// token gives what stands for a bar's place.
func token(symbol market.Symbol, t time.Time) string {
	return base64.RawURLEncoding.EncodeToString(append(binary.BigEndian.AppendUint64(nil, uint64(t.UnixNano())), symbol...))
}

func readToken(s string) (market.Symbol, int64, bool) {
	const head = 8
	data, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(data) <= head {
		return "", 0, false
	}
	symbol := market.Symbol(data[head:])
	return symbol, int64(binary.BigEndian.Uint64(data)), symbol.Validate() == nil
}
