package past_test

import (
	"cmp"
	"errors"
	"math/big"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/lzstock/lzstock/internal/monitor/bars"
	"github.com/lzstock/lzstock/internal/monitor/past"
	"github.com/lzstock/lzstock/market"
)

// tick is a trade of the model.
type tick struct {
	source string
	symbol market.Symbol
	at     time.Time
	price  int64
	size   int64
	seq    market.Seq
}

// trades draws trades of two sources, some of them late, but none too late for its
// minute to be corrected.
func trades(t *rapid.T) (out []tick) {
	now := map[string]time.Time{}
	for i := range rapid.IntRange(1, 400).Draw(t, "trades") {
		source := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "source")
		if now[source].IsZero() {
			now[source] = time.Date(2026, 3, 7, 21, 0, 0, 0, time.UTC)
		}
		now[source] = now[source].Add(time.Duration(rapid.Int64Range(0, int64(40*time.Minute)).Draw(t, "step")))
		late := time.Duration(rapid.Int64Range(0, int64(14*time.Minute)).Draw(t, "late"))
		if rapid.Bool().Draw(t, "in order") {
			late = 0
		}
		out = append(out, tick{
			source: source, symbol: market.Symbol(rapid.SampledFrom([]string{"A", "B", "C/D"}).Draw(t, "symbol")),
			at: now[source].Add(-late), price: rapid.Int64Range(1, 1<<45).Draw(t, "price"), size: rapid.Int64Range(0, 1<<40).Draw(t, "size"),
			seq: market.Seq(i + 1),
		})
	}
	return out
}

// fill has a builder make minutes of trades, and a store keep them.
func fill(s *past.Store, zone *time.Location, list []tick, stored func(i int) time.Time) {
	b := bars.New(bars.Config{Zone: zone})
	for i, k := range list {
		b.Add(nil, k.source, &market.Event{Seq: k.seq, Channel: market.Trades, Symbol: k.symbol, Trade: &market.Trade{
			Price: market.Price(k.price), Size: market.Size(k.size), Time: k.at,
		}})
		over := b.Over()
		for m := range over {
			s.Add(&over[m], stored(i))
		}
	}
}

// model makes bars of trades in the plainest way.
func model(list []tick, zone *time.Location, q *market.BarQuery) (out []market.SymbolBars) {
	last := map[string]time.Time{}
	for _, k := range list {
		if k.at.After(last[k.source]) {
			last[k.source] = k.at
		}
	}
	start := func(t time.Time) time.Time {
		if q.Timeframe == market.Day {
			y, m, d := t.In(zone).Date()
			return time.Date(y, m, d, 0, 0, 0, 0, zone).UTC()
		}
		return t.Truncate(q.Timeframe.Length())
	}
	for _, symbol := range slices.Sorted(slices.Values(q.Symbols)) {
		groups := map[time.Time][]tick{}
		for _, k := range list {
			over := k.at.Truncate(time.Minute).Before(last[k.source].Truncate(time.Minute))
			if at := start(k.at); k.symbol == symbol && over && !at.Before(q.Start) && (q.End.IsZero() || !at.After(q.End)) {
				groups[at] = append(groups[at], k)
			}
		}
		var of []market.Bar
		for at, list := range groups {
			of = append(of, bar(at, list))
		}
		slices.SortFunc(of, func(a, b market.Bar) int {
			if q.Descending {
				a, b = b, a
			}
			return a.Time.Compare(b.Time)
		})
		if len(of) > 0 {
			out = append(out, market.SymbolBars{Symbol: symbol, Bars: of})
		}
	}
	return out
}

func bar(at time.Time, list []tick) market.Bar {
	slices.SortFunc(list, func(a, b tick) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.seq, b.seq)) })
	first, last := list[0], list[len(list)-1]
	b := market.Bar{Time: at, Open: market.Price(first.price), Close: market.Price(last.price), High: market.Price(first.price), Low: market.Price(first.price)}
	volume, amount := new(big.Int), new(big.Int)
	for _, k := range list {
		b.High, b.Low = max(b.High, market.Price(k.price)), min(b.Low, market.Price(k.price))
		b.Trades++
		volume.Add(volume, big.NewInt(k.size))
		amount.Add(amount, new(big.Int).Mul(big.NewInt(k.size), big.NewInt(k.price)))
	}
	b.Volume, b.VWAP = market.Size(volume.Int64()), b.Close
	if volume.Sign() > 0 { // (2a + v) / 2v
		twice := new(big.Int).Add(amount, amount)
		b.VWAP = market.Price(twice.Add(twice, volume).Quo(twice, new(big.Int).Add(volume, volume)).Int64())
	}
	return b
}

// query draws a query without a limit.
func query(t *rapid.T) market.BarQuery {
	q := market.BarQuery{
		Symbols:    []market.Symbol{"C/D", "A", "B", "A", "NONE"}[:rapid.IntRange(1, 5).Draw(t, "symbols")],
		Timeframe:  rapid.SampledFrom(market.Timeframes()).Draw(t, "timeframe"),
		Descending: rapid.Bool().Draw(t, "descending"), Limit: market.MaxPage,
	}
	begin := time.Date(2026, 3, 7, 20, 0, 0, 0, time.UTC)
	if rapid.Bool().Draw(t, "has start") {
		q.Start = begin.Add(time.Duration(rapid.IntRange(0, 5*24*60).Draw(t, "start")) * time.Minute)
	}
	if rapid.Bool().Draw(t, "has end") {
		q.End = begin.Add(time.Duration(rapid.IntRange(0, 8*24*60).Draw(t, "end")) * time.Minute)
	}
	return q
}

func unique(symbols []market.Symbol) []market.Symbol {
	return slices.Compact(slices.Sorted(slices.Values(symbols)))
}

// TestBarsAreThoseOfTheModel has clocks go forward within the days.
func TestBarsAreThoseOfTheModel(t *testing.T) {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		list := trades(t)
		s := past.New(past.Config{Zone: zone, Keep: 1000 * time.Hour})
		fill(s, zone, list, func(int) time.Time { return time.Unix(0, 0) })
		q := query(t)
		page, err := s.Page(&q, time.Now())
		if err != nil || page.Next != "" {
			t.Fatalf("next %q, error %v", page.Next, err)
		}
		asked := q
		asked.Symbols = unique(q.Symbols)
		want := model(list, zone, &asked)
		if diff := gocmp.Diff(want, page.Symbols); diff != "" {
			t.Fatalf("bars differ from the model's (-want +got):\n%s", diff)
		}
		// In pages: the same, each bar once.
		var pages []market.SymbolBars
		q.Limit = rapid.IntRange(1, 20).Draw(t, "limit")
		for n := 0; ; n++ {
			page, err := s.Page(&q, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			count := 0
			for _, sb := range page.Symbols {
				if count += len(sb.Bars); len(sb.Bars) == 0 {
					t.Fatalf("%s stands in a page without bars", sb.Symbol)
				}
				if k := len(pages) - 1; k >= 0 && pages[k].Symbol == sb.Symbol {
					pages[k].Bars = append(pages[k].Bars, sb.Bars...)
				} else {
					pages = append(pages, sb)
				}
			}
			if count > q.Limit || count == 0 && n > 0 || page.Next != "" && count < q.Limit {
				t.Fatalf("page %d has %d bars of at most %d, next %q", n, count, q.Limit, page.Next)
			}
			if q.Token = page.Next; page.Next == "" {
				break
			}
		}
		if diff := gocmp.Diff(want, pages); diff != "" {
			t.Fatalf("pages, put together, are not the whole (-want +got):\n%s", diff)
		}
	})
}

// TestDelay has nothing shown before its time: neither a minute that has just ended,
// nor one that was corrected just now.
func TestDelay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := trades(t)
		begin := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
		known := func(i int) time.Time { return begin.Add(time.Duration(i) * time.Minute) }
		delay := 15 * time.Minute
		n := rapid.IntRange(0, len(list)).Draw(t, "known")
		whole := past.New(past.Config{})
		fill(whole, time.UTC, list, known)
		now := known(n).Add(delay)
		q := market.BarQuery{Symbols: []market.Symbol{"A", "B", "C/D"}, Timeframe: market.Minute, Limit: market.MaxPage, Delay: delay}
		got, err := whole.Page(&q, now)
		if err != nil {
			t.Fatal(err)
		}
		early := past.New(past.Config{}) // what was known at that time
		fill(early, time.UTC, list[:min(n+1, len(list))], known)
		q.Delay = 0
		want, err := early.Page(&q, now)
		if err != nil {
			t.Fatal(err)
		}
		for _, sb := range got.Symbols {
			i := slices.IndexFunc(want.Symbols, func(o market.SymbolBars) bool { return o.Symbol == sb.Symbol })
			for _, b := range sb.Bars {
				if i < 0 || !slices.Contains(want.Symbols[i].Bars, b) {
					t.Fatalf("bar %+v of %s was not known %s before", b, sb.Symbol, delay)
				}
			}
		}
	})
}

func minute(symbol market.Symbol, at time.Time, price market.Price) *bars.Minute {
	b := bars.New(bars.Config{})
	e := market.Event{Seq: 1, Channel: market.Trades, Symbol: symbol, Trade: &market.Trade{Price: price, Size: 1, Time: at}}
	b.Add(nil, "x", &e)
	e.Trade = &market.Trade{Price: price, Size: 1, Time: at.Add(time.Minute)}
	b.Add(nil, "x", &e)
	return &b.Over()[0]
}

func count(t *testing.T, s *past.Store, symbol market.Symbol, f market.Timeframe) []market.Bar {
	t.Helper()
	p, err := s.Page(&market.BarQuery{Symbols: []market.Symbol{symbol}, Timeframe: f, Limit: market.MaxPage}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Symbols) == 0 {
		return nil
	}
	return p.Symbols[0].Bars
}

func TestRetention(t *testing.T) {
	day := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	s := past.New(past.Config{Keep: 48 * time.Hour})
	for h := range 24 * 5 {
		s.Add(minute("A", day.Add(time.Duration(h)*time.Hour), 1), day)
	}
	// The newest is of day 4, 23:00, so that day 2 is the last that is kept, whole.
	if got := count(t, s, "A", market.Day); len(got) != 3 || !got[0].Time.Equal(day.AddDate(0, 0, 2)) || got[0].Trades != 24 {
		t.Errorf("days %+v", got)
	}
	if s.Len() != 72 {
		t.Errorf("%d minutes, want 72", s.Len())
	}
	// A correction takes the place of what it corrects.
	s.Add(minute("A", day.AddDate(0, 0, 4), 7), day)
	if got := count(t, s, "A", market.Minute); s.Len() != 72 || got[48].Open != 7 {
		t.Errorf("%d minutes, the corrected one is %+v", s.Len(), got[48])
	}
	if _, ok := s.PreviousDay("A", day.AddDate(0, 0, 2)); ok {
		t.Error("there is a day before the first")
	}
	if b, ok := s.PreviousDay("A", day.AddDate(0, 0, 4).Add(7*time.Hour)); !ok || !b.Time.Equal(day.AddDate(0, 0, 3)) {
		t.Errorf("the day before is %+v, %v", b, ok)
	}
}

func TestMost(t *testing.T) {
	day := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	s := past.New(past.Config{Most: 100})
	for m := range 60 {
		s.Add(minute("A", day.Add(time.Duration(m)*time.Minute), 1), day)
		s.Add(minute("B", day.AddDate(0, 0, 1).Add(time.Duration(m)*time.Minute), 1), day)
	}
	// The first day went when there were 101; what came of it later stays.
	if a, b := count(t, s, "A", market.Minute), count(t, s, "B", market.Minute); len(a) >= 60 || len(b) != 60 || s.Len() != len(a)+len(b) {
		t.Errorf("%d of A, %d of B, %d in all", len(a), len(b), s.Len())
	}
	s = past.New(past.Config{Most: 100})
	for m := range 300 {
		s.Add(minute("A", day.Add(time.Duration(m)*time.Minute), 1), day)
	}
	got := count(t, s, "A", market.Minute)
	if len(got) > 100 || !got[len(got)-1].Time.Equal(day.Add(299*time.Minute)) || got[0].Time.Minute() != 0 {
		t.Errorf("%d minutes from %s to %s", len(got), got[0].Time, got[len(got)-1].Time)
	}
}

func TestTokens(t *testing.T) {
	s := past.New(past.Config{})
	day := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	s.Add(minute("A", day, 1), day)
	s.Add(minute("A", day.Add(time.Hour), 1), day)
	q := market.BarQuery{Symbols: []market.Symbol{"A"}, Timeframe: market.Minute, Limit: 1}
	p, err := s.Page(&q, day)
	if err != nil || p.Next == "" {
		t.Fatalf("next %q, error %v", p.Next, err)
	}
	for _, q := range []market.BarQuery{
		{Symbols: []market.Symbol{"B"}, Timeframe: market.Minute, Limit: 1, Token: p.Next},
		{Symbols: q.Symbols, Timeframe: market.Minute, Limit: 1, Token: "x"},
		{Symbols: q.Symbols, Timeframe: market.Minute, Limit: 1, Token: p.Next + "AAAA"},
		{Symbols: q.Symbols, Timeframe: market.Minute, Limit: 1, Token: "%%%"},
	} {
		if _, err := s.Page(&q, day); !errors.Is(err, market.ErrPageToken) {
			t.Errorf("%+v: error %v", q, err)
		}
	}
}
