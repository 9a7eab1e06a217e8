package bars_test

import (
	"cmp"
	"math"
	"math/big"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/monitor/bars"
	"github.com/lzstock/lzstock/market"
)

var base = time.Date(2024, 8, 8, 23, 50, 0, 0, time.UTC)

func trade(seq market.Seq, symbol market.Symbol, at time.Time, price market.Price, size market.Size) market.Event {
	return market.Event{
		Seq: seq, Channel: market.Trades, Symbol: symbol,
		Trade: &market.Trade{Time: at, Price: price, Size: size},
	}
}

func quote(seq market.Seq, symbol market.Symbol, at time.Time) market.Event {
	return market.Event{Seq: seq, Channel: market.Quotes, Symbol: symbol, Quote: &market.Quote{Time: at}}
}

// model is what the package promises, the slow way: it keeps every trade and
// computes each bar anew.
type model struct {
	mark    time.Time
	trades  []market.Event
	changed map[market.Symbol]bool
	late    uint64
}

func (m *model) add(e *market.Event) (out []market.Event) {
	at := e.Time()
	if m.mark.IsZero() {
		m.mark = at
	}
	before := m.mark
	if at.After(m.mark) {
		m.mark = at
	}
	minute := m.mark.Truncate(time.Minute)
	if open := before.Truncate(time.Minute); open != minute {
		out = append(out, m.each(market.Bars, e.Seq, func(s market.Symbol) *market.Bar { return m.bar(s, open, open.Add(time.Minute)) })...)
	}
	newDay := before.Truncate(24*time.Hour) != m.mark.Truncate(24*time.Hour)
	if newDay {
		out = append(out, m.days(e.Seq)...)
	}
	if e.Trade != nil {
		last := m.lastDay(e.Symbol)
		m.trades = append(m.trades, *e)
		start := at.Truncate(time.Minute)
		switch {
		case start.Equal(minute):
		case start.Before(minute.Add(-15 * time.Minute)):
			m.late++
			// It stays out of its minute bar for good; no later trade can ask for
			// that bar, since the minute stays too old.
		default:
			out = append(out, market.Event{
				Seq: e.Seq, Channel: market.UpdatedBars, Symbol: e.Symbol, Bar: m.bar(e.Symbol, start, start.Add(time.Minute)),
			})
		}
		if !at.Before(last) {
			m.changed[e.Symbol] = true
		}
	}
	if before.Truncate(time.Second) != m.mark.Truncate(time.Second) && !newDay {
		out = append(out, m.days(e.Seq)...)
	}
	return out
}

// lastDay gives the start of the symbol's latest day.
func (m *model) lastDay(s market.Symbol) (last time.Time) {
	for _, e := range m.trades {
		if day := e.Time().Truncate(24 * time.Hour); e.Symbol == s && day.After(last) {
			last = day
		}
	}
	return last
}

func (m *model) days(seq market.Seq) []market.Event {
	out := m.each(market.DailyBars, seq, func(s market.Symbol) *market.Bar {
		if !m.changed[s] {
			return nil
		}
		day := m.lastDay(s)
		return m.bar(s, day, day.Add(24*time.Hour))
	})
	clear(m.changed)
	return out
}

func (m *model) each(c market.Channel, seq market.Seq, bar func(market.Symbol) *market.Bar) (out []market.Event) {
	for _, s := range []market.Symbol{"A", "B", "C"} {
		if b := bar(s); b != nil {
			out = append(out, market.Event{Seq: seq, Channel: c, Symbol: s, Bar: b})
		}
	}
	return out
}

func (m *model) bar(s market.Symbol, from, to time.Time) *market.Bar {
	var in []market.Event
	for _, e := range m.trades {
		if e.Symbol == s && !e.Time().Before(from) && e.Time().Before(to) {
			in = append(in, e)
		}
	}
	if len(in) == 0 {
		return nil
	}
	slices.SortFunc(in, func(a, b market.Event) int {
		return cmp.Or(a.Time().Compare(b.Time()), cmp.Compare(a.Seq, b.Seq))
	})
	b := &market.Bar{
		Open: in[0].Trade.Price, Close: in[len(in)-1].Trade.Price, High: math.MinInt64, Low: math.MaxInt64,
		Trades: uint64(len(in)), Time: from,
	}
	amount, volume := new(big.Int), new(big.Int)
	for _, e := range in {
		p, q := big.NewInt(int64(e.Trade.Price)), big.NewInt(int64(e.Trade.Size))
		amount.Add(amount, p.Mul(p, q))
		volume.Add(volume, q)
		b.High, b.Low = max(b.High, e.Trade.Price), min(b.Low, e.Trade.Price)
	}
	b.Volume = math.MaxInt64
	if volume.IsInt64() {
		b.Volume = market.Size(volume.Int64())
	}
	b.VWAP = b.Close
	if volume.Sign() > 0 {
		text := new(big.Rat).SetFrac(amount, volume).FloatString(0) // to the nearest, halves away from zero
		v, _ := new(big.Int).SetString(text, 10)
		b.VWAP = market.Price(v.Int64())
	}
	return b
}

func draw(t *rapid.T) []market.Event {
	price := rapid.OneOf(rapid.Int64Range(-5, 200), rapid.Int64())
	size := rapid.OneOf(rapid.Int64Range(0, 9), rapid.Int64Range(0, math.MaxInt64))
	steps := rapid.SampledFrom([]time.Duration{0, 1, 200 * time.Millisecond, time.Second, 20 * time.Second, 3 * time.Minute})
	back := rapid.SampledFrom([]time.Duration{0, 0, 0, 0, 300 * time.Millisecond, 50 * time.Second, 10 * time.Minute, 40 * time.Minute})
	now := base.Add(time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "start")))
	events := make([]market.Event, rapid.IntRange(0, 120).Draw(t, "n"))
	for i := range events {
		now = now.Add(steps.Draw(t, "step"))
		at := now.Add(-back.Draw(t, "back"))
		symbol := market.Symbol(rapid.SampledFrom([]string{"A", "B", "C"}).Draw(t, "symbol"))
		seq := market.MakeSeq(uint64(i/3+1), i%3)
		if rapid.IntRange(0, 4).Draw(t, "kind") == 0 {
			events[i] = quote(seq, symbol, at)
		} else {
			events[i] = trade(seq, symbol, at, market.Price(price.Draw(t, "price")), market.Size(size.Draw(t, "size")))
		}
	}
	return events
}

func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := draw(t)
		b, m := bars.New(bars.Config{}), &model{changed: map[market.Symbol]bool{}}
		for i := range events {
			got, want := b.Add(nil, "x", &events[i]), m.add(&events[i])
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Fatalf("event %d (-model +builder):\n%s", i, diff)
			}
			seen := map[market.Topic]bool{}
			for _, e := range got {
				if seen[e.Topic()] {
					t.Fatalf("event %d: %s occurs twice", i, e.Topic())
				}
				seen[e.Topic()] = true
			}
		}
		if got := b.Stats(); got != (bars.Stats{Late: m.late}) {
			t.Fatalf("stats %+v, want %d late", got, m.late)
		}
	})
}

// TestResume cuts a feed of two sources anywhere: a builder that loads the state
// goes on as the first would have.
func TestResume(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := draw(t)
		source := func(i int) string { return []string{"x", "y"}[i*7%3%2] }
		whole := bars.New(bars.Config{})
		cut := rapid.IntRange(0, len(events)).Draw(t, "cut")
		for i := range cut {
			whole.Add(nil, source(i), &events[i])
		}
		data, err := proto.Marshal(&pb.Checkpoint{Sources: whole.Save()})
		if err != nil {
			t.Fatal(err)
		}
		var saved pb.Checkpoint
		if err := proto.Unmarshal(data, &saved); err != nil {
			t.Fatal(err)
		}
		second := bars.New(bars.Config{})
		if err := second.Load(saved.GetSources()); err != nil {
			t.Fatal(err)
		}
		for i := cut; i < len(events); i++ {
			want, got := whole.Add(nil, source(i), &events[i]), second.Add(nil, source(i), &events[i])
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Fatalf("event %d after a cut at %d:\n%s", i, cut, diff)
			}
		}
	})
}

// TestWildTimes walks through what far jumps do; each step is one event and the
// channels that it derives.
func TestWildTimes(t *testing.T) {
	type step struct {
		at   time.Duration
		want []market.Channel
	}
	bar, day, upd := market.Bars, market.DailyBars, market.UpdatedBars
	for _, c := range []struct {
		name  string
		steps []step
		stats bars.Stats
	}{
		{"a bad clock closes nothing", []step{
			{0, nil}, {200 * 24 * time.Hour, nil}, {time.Second, []market.Channel{day}}, {time.Minute, []market.Channel{bar, day}},
		}, bars.Stats{Wild: 1}},
		{"the next morning is confirmed by its second event", []step{
			{0, nil}, {8 * time.Hour, nil}, {8*time.Hour + time.Millisecond, []market.Channel{bar, day}}, {8*time.Hour + time.Second, []market.Channel{day}},
		}, bars.Stats{}},
		{"the confirming event is the older one", []step{
			{0, nil}, {8*time.Hour + time.Minute, nil}, {8 * time.Hour, []market.Channel{bar, day, upd}},
		}, bars.Stats{}},
		{"a slow source is one event behind", []step{
			{0, nil}, {3 * time.Hour, nil}, {6 * time.Hour, []market.Channel{bar, day}}, {9 * time.Hour, []market.Channel{bar, day}},
		}, bars.Stats{}},
		{"a bad clock before the next morning", []step{
			{0, nil}, {200 * 24 * time.Hour, nil}, {8 * time.Hour, nil}, {8 * time.Hour, []market.Channel{bar, day}},
		}, bars.Stats{Wild: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := bars.New(bars.Config{})
			for i, s := range c.steps {
				e := trade(market.MakeSeq(uint64(i+1), 0), "A", base.Add(-9*time.Hour+s.at), 10, 1)
				var got []market.Channel
				for _, d := range b.Add(nil, "x", &e) {
					got = append(got, d.Channel)
					if d.Seq != e.Seq {
						t.Errorf("step %d: %s has seq %d", i, d.Topic(), d.Seq)
					}
				}
				if diff := gocmp.Diff(s.want, got); diff != "" {
					t.Errorf("step %d:\n%s", i, diff)
				}
			}
			if diff := gocmp.Diff(c.stats, b.Stats()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSourceThatStartsOver(t *testing.T) {
	b := bars.New(bars.Config{})
	seq := market.Seq(256)
	add := func(at time.Duration) []market.Event {
		seq++
		e := trade(seq, "A", base.Add(at), 10, 2)
		return b.Add(nil, "x", &e)
	}
	add(0)
	for range bars.BehindLimit - 1 {
		for _, e := range add(-30 * time.Hour) {
			t.Fatalf("derived %s at %d", e.Topic(), e.Seq)
		}
	}
	got := add(-30 * time.Hour)
	if len(got) != 2 || got[0].Channel != market.Bars || got[1].Channel != market.DailyBars || got[1].Bar.Volume != 2 {
		t.Fatalf("stepping back derived %+v", got)
	}
	got = add(-30*time.Hour + time.Minute)
	if len(got) != 2 || got[0].Channel != market.Bars || got[0].Bar.Volume != 2 || got[1].Bar.Volume != 4 {
		t.Fatalf("after stepping back: %+v", got)
	}
	if want := (bars.Stats{Late: bars.BehindLimit - 1, Back: 1}); b.Stats() != want {
		t.Errorf("stats %+v, want %+v", b.Stats(), want)
	}
}

func TestDaysOfAZone(t *testing.T) {
	for _, c := range []struct{ zone, at, start string }{
		{"America/New_York", "2024-03-10T03:59:59-04:00", "2024-03-10T00:00:00-05:00"}, // the day the clocks go forward
		{"America/New_York", "2024-11-03T23:59:59-05:00", "2024-11-03T00:00:00-04:00"}, // and back
		{"Asia/Tokyo", "2024-08-08T23:50:00Z", "2024-08-09T00:00:00+09:00"},
		{"America/Sao_Paulo", "2018-11-03T23:30:00-03:00", "2018-11-03T00:00:00-03:00"}, // the next midnight does not exist
		{"America/Sao_Paulo", "2018-11-04T01:00:00-02:00", "2018-11-04T01:00:00-02:00"},
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Skipf("no time zones here: %v", err)
		}
		at, start := parse(t, c.at), parse(t, c.start)
		b := bars.New(bars.Config{Zone: zone})
		first, second := trade(256, "A", at, 10, 1), quote(257, "A", at.Add(time.Second))
		out := b.Add(b.Add(nil, "x", &first), "x", &second)
		if len(out) == 0 || out[len(out)-1].Channel != market.DailyBars || !out[len(out)-1].Bar.Time.Equal(start) {
			t.Errorf("%s at %s: %+v", c.zone, c.at, out)
		}
	}
}

func parse(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestLoadRefuses(t *testing.T) {
	good := func() *pb.BarSource {
		b := bars.New(bars.Config{})
		for i := range 3 {
			e := trade(market.Seq(256+i), "A", base.Add(time.Duration(i)*time.Minute), 10, 3)
			b.Add(nil, "x", &e)
		}
		return b.Save()[0]
	}
	for name, spoil := range map[string]func(*pb.BarSource){
		"nothing":         func(*pb.BarSource) {},
		"symbol":          func(s *pb.BarSource) { s.Series[0].Symbol = "a b" },
		"twice":           func(s *pb.BarSource) { s.Series = append(s.Series, s.Series[0]) },
		"watermark":       func(s *pb.BarSource) { s.Watermark = math.MinInt64 },
		"other minute":    func(s *pb.BarSource) { s.Series[0].Minute.Start = 0 },
		"order":           func(s *pb.BarSource) { slices.Reverse(s.Series[0].Closed) },
		"short sum":       func(s *pb.BarSource) { s.Series[0].Day.Amount = nil },
		"overflow":        func(s *pb.BarSource) { s.Series[0].Day.Amount[1] = 99 },
		"average":         func(s *pb.BarSource) { s.Series[0].Day.Amount[0] = 999 },
		"wide average":    func(s *pb.BarSource) { s.Series[0].Day.Volume[1] = 1 },
		"changed without": func(s *pb.BarSource) { s.Series[0].Day, s.Series[0].DayChanged = nil, true },
		"held":            func(s *pb.BarSource) { s.Held = &pb.BarTick{Symbol: "A", Time: -1} },
	} {
		s := good()
		spoil(s)
		if err := bars.New(bars.Config{}).Load([]*pb.BarSource{s}); (err == nil) != (name == "nothing") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := bars.New(bars.Config{}).Load([]*pb.BarSource{good(), good()}); err == nil {
		t.Error("a source that occurs twice was taken")
	}
}

func BenchmarkAdd(b *testing.B) {
	const symbols = 100
	names := make([]market.Symbol, symbols)
	for i := range names {
		names[i] = market.Symbol([]byte{'A' + byte(i/10), 'A' + byte(i%10)})
	}
	for _, kind := range []string{"trades", "quotes"} {
		b.Run(kind, func(b *testing.B) {
			builder := bars.New(bars.Config{})
			var out []market.Event
			at, n := base, 0
			tr, qu := market.Trade{Price: 189_100_000_000, Size: 100_000_000_000}, market.Quote{}
			b.ReportAllocs()
			for b.Loop() {
				n++
				at = at.Add(50 * time.Microsecond) // 20,000 events a second
				e := market.Event{Seq: market.Seq(n), Symbol: names[n%symbols]}
				if kind == "trades" {
					tr.Time = at
					e.Channel, e.Trade = market.Trades, &tr
				} else {
					qu.Time = at
					e.Channel, e.Quote = market.Quotes, &qu
				}
				out = builder.Add(out[:0], "x", &e)
			}
		})
	}
}
