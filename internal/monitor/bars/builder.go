package bars

import (
	"cmp"
	"slices"
	"time"

	"github.com/lzstock/lzstock/market"
)

// Defaults of Config.
const (
	Correctable = 15 * time.Minute
	Jump        = time.Hour
)

// BehindLimit is the number of events in a row, all far behind the watermark,
// that move it back.
const BehindLimit = 100

// Config configures a Builder. Its zero value works.
type Config struct {
	// Zone is where days begin; nil means UTC.
	Zone *time.Location
	// Correctable is for how long late trades correct a minute that is over; 0
	// means 15 minutes.
	Correctable time.Duration
	// Jump is how far ahead of its source an event may be and still be believed
	// at once; 0 means one hour.
	Jump time.Duration
}

// Stats counts what entered no minute bar.
type Stats struct {
	Late uint64 // trades of minutes that are no longer correctable
	Wild uint64 // events whose time nothing confirmed
	Back uint64 // times that a source's watermark moved back
}

// Builder builds the bars of one feed. It is not safe for concurrent use.
type Builder struct {
	cfg     Config
	sources map[string]*source
	stats   Stats
	over    []Minute // what Over gives
}

// source is what one source's watermark governs.
type source struct {
	name    string
	mark    int64 // the watermark; it and all times are Unix nanoseconds
	minute  int64 // the start of its minute
	second  int64 // the start of its second
	dayEnd  int64 // the end of its day
	held    *tick // far ahead of the watermark, not confirmed
	behind  int   // events in a row that were far behind
	symbols map[market.Symbol]*series
	open    []*series // those with a minute bar
	changed []*series // those that owe a day bar
}

// tick is what an event means to bars.
type tick struct {
	place
	symbol market.Symbol
	trade  bool
	price  market.Price
	size   market.Size
}

// series is one symbol of one source.
type series struct {
	symbol  market.Symbol
	minute  sum   // open where it has trades
	closed  []sum // correctable minutes, ascending
	day     sum
	dayEnd  int64
	changed bool // owes a day bar
}

// New makes a Builder.
func New(cfg Config) *Builder {
	if cfg.Zone == nil {
		cfg.Zone = time.UTC
	}
	if cfg.Correctable <= 0 {
		cfg.Correctable = Correctable
	}
	if cfg.Jump <= 0 {
		cfg.Jump = Jump
	}
	return &Builder{cfg: cfg, sources: map[string]*source{}}
}

// Stats tells what was counted since the Builder was made.
func (b *Builder) Stats() Stats { return b.stats }

// Over gives the minutes behind the bars and updatedBars among what the last Add
// derived, in that order. The next Add uses the slice again.
func (b *Builder) Over() []Minute { return b.over }

// Add takes the next event of the feed, which came from the named source, and
// appends the events that it derives to dst, all with e's position. Events other
// than trades and quotes derive nothing.
func (b *Builder) Add(dst []market.Event, name string, e *market.Event) []market.Event {
	b.over = b.over[:0]
	t := tick{symbol: e.Symbol}
	switch {
	case e.Trade != nil:
		t.place = place{e.Trade.Time.UnixNano(), e.Seq}
		t.trade, t.price, t.size = true, e.Trade.Price, e.Trade.Size
	case e.Quote != nil:
		t.place = place{e.Quote.Time.UnixNano(), e.Seq}
	default:
		return dst
	}
	s := b.sources[name]
	if s == nil {
		s = &source{name: name, symbols: map[market.Symbol]*series{}}
		b.sources[name] = s
		b.setMark(s, t.time)
	}
	jump := int64(b.cfg.Jump)
	switch {
	case t.time-s.mark > jump:
		return b.ahead(dst, s, t)
	case s.mark-t.time > jump:
		if s.behind++; s.behind >= BehindLimit {
			dst = b.stepBack(dst, s, t)
		}
	default:
		s.behind = 0
	}
	b.forgetHeld(s)
	return b.apply(dst, s, t, t.seq)
}

// ahead takes an event that is far ahead of its source.
func (b *Builder) ahead(dst []market.Event, s *source, t tick) []market.Event {
	jump := int64(b.cfg.Jump)
	s.behind = 0
	held := s.held
	if held == nil || held.time-t.time > jump {
		b.forgetHeld(s)
		s.held = &t
		return dst
	}
	if t.time-held.time > jump { // it confirms the one before, and needs confirmation itself
		s.held = &t
		return b.apply(dst, s, *held, t.seq)
	}
	s.held = nil
	// The greater time first, so that the watermark moves once: else a topic
	// could occur twice at one position.
	first, second := *held, t
	if first.time < second.time {
		first, second = second, first
	}
	return b.apply(b.apply(dst, s, first, t.seq), s, second, t.seq)
}

func (b *Builder) forgetHeld(s *source) {
	if s.held != nil {
		b.stats.Wild++
		s.held = nil
	}
}

// apply lets a believed event move the watermark and, if it is a trade, enter
// its bars. What it derives takes the position seq.
func (b *Builder) apply(dst []market.Event, s *source, t tick, seq market.Seq) []market.Event {
	owed := false
	if t.time > s.mark {
		minute, second, dayEnd := s.minute, s.second, s.dayEnd
		b.setMark(s, t.time)
		if s.minute != minute {
			dst = b.closeMinutes(dst, s, seq)
		}
		if s.dayEnd != dayEnd {
			dst = flushDays(dst, s, seq)
		} else {
			owed = s.second != second
		}
	}
	if t.trade {
		dst = b.trade(dst, s, t, seq)
	}
	if owed {
		dst = flushDays(dst, s, seq)
	}
	return dst
}

func (b *Builder) setMark(s *source, t int64) {
	s.mark = t
	s.minute, s.second = floor(t, time.Minute), floor(t, time.Second)
	if t >= s.dayEnd {
		_, s.dayEnd = b.day(t)
	}
}

func floor(t int64, unit time.Duration) int64 {
	rest := t % int64(unit)
	if rest < 0 {
		rest += int64(unit)
	}
	return t - rest
}

func (b *Builder) day(t int64) (start, end int64) { return Day(b.cfg.Zone, t) }

// Day gives the start and the end of the day of a zone that holds t, all in Unix
// nanoseconds.
func Day(zone *time.Location, t int64) (start, end int64) {
	y, m, d := time.Unix(0, t).In(zone).Date()
	return midnight(zone, y, m, d), midnight(zone, y, m, d+1)
}

// midnight gives the first moment of a day. Some zones have put their clocks
// forward at midnight; Date then gives an hour before or after the jump.
func midnight(zone *time.Location, y int, m time.Month, d int) int64 {
	t := time.Date(y, m, d, 0, 0, 0, 0, zone)
	if t.Hour() > 12 {
		t = t.Add(time.Duration(24-t.Hour()) * time.Hour)
	}
	return t.UnixNano()
}

// trade puts a trade into its bars.
func (b *Builder) trade(dst []market.Event, s *source, t tick, seq market.Seq) []market.Event {
	se := s.symbols[t.symbol]
	if se == nil {
		se = &series{symbol: t.symbol}
		s.symbols[t.symbol] = se
	}
	switch start := floor(t.time, time.Minute); {
	case start == s.minute:
		if se.minute.trades == 0 {
			se.minute.start = start
			s.open = append(s.open, se)
		}
		se.minute.add(t.place, t.price, t.size)
	case start < b.cutoff(s):
		b.stats.Late++
	default:
		bar := se.correct(start, b.cutoff(s))
		bar.add(t.place, t.price, t.size)
		dst = append(dst, event(market.UpdatedBars, se.symbol, seq, bar))
		b.over = append(b.over, Minute{Source: s.name, Symbol: se.symbol, Sum: Sum{*bar}})
	}
	b.dayTrade(s, se, t)
	return dst
}

func (b *Builder) dayTrade(s *source, se *series, t tick) {
	if t.time >= se.dayEnd || se.day.trades == 0 {
		start, end := b.day(t.time)
		se.day, se.dayEnd = sum{start: start}, end
	} else if t.time < se.day.start {
		return
	}
	se.day.add(t.place, t.price, t.size)
	if !se.changed {
		se.changed = true
		s.changed = append(s.changed, se)
	}
}

// cutoff gives the start of the oldest minute that late trades correct.
func (b *Builder) cutoff(s *source) int64 { return s.minute - int64(b.cfg.Correctable) }

// correct gives the bar of a minute that is over, which is made where the symbol
// had no trade in it.
func (se *series) correct(start, cutoff int64) *sum {
	se.prune(cutoff)
	i, found := slices.BinarySearchFunc(se.closed, start, func(c sum, t int64) int { return cmp.Compare(c.start, t) })
	if !found {
		se.closed = slices.Insert(se.closed, i, sum{start: start})
	}
	return &se.closed[i]
}

func (se *series) prune(cutoff int64) {
	n := 0
	for n < len(se.closed) && se.closed[n].start < cutoff {
		n++
	}
	se.closed = slices.Delete(se.closed, 0, n)
}

// closeMinutes emits the open minute bars and keeps them for corrections.
func (b *Builder) closeMinutes(dst []market.Event, s *source, seq market.Seq) []market.Event {
	sortSeries(s.open)
	for _, se := range s.open {
		dst = append(dst, event(market.Bars, se.symbol, seq, &se.minute))
		b.over = append(b.over, Minute{Source: s.name, Symbol: se.symbol, Sum: Sum{se.minute}})
		se.prune(b.cutoff(s))
		if se.minute.start >= b.cutoff(s) {
			se.closed = append(se.closed, se.minute)
		}
		se.minute = sum{}
	}
	s.open = s.open[:0]
	return dst
}

// flushDays emits the day bars that changed.
func flushDays(dst []market.Event, s *source, seq market.Seq) []market.Event {
	sortSeries(s.changed)
	for _, se := range s.changed {
		dst = append(dst, event(market.DailyBars, se.symbol, seq, &se.day))
		se.changed = false
	}
	s.changed = s.changed[:0]
	return dst
}

func sortSeries(list []*series) {
	slices.SortFunc(list, func(a, b *series) int { return cmp.Compare(a.symbol, b.symbol) })
}

// stepBack moves the watermark back to t.
func (b *Builder) stepBack(dst []market.Event, s *source, t tick) []market.Event {
	dst = flushDays(b.closeMinutes(dst, s, t.seq), s, t.seq)
	s.behind, s.dayEnd = 0, 0
	b.setMark(s, t.time)
	for _, se := range s.symbols {
		se.closed = slices.DeleteFunc(se.closed, func(c sum) bool { return c.start >= s.minute })
		if se.day.start >= s.dayEnd {
			se.day, se.dayEnd = sum{}, 0
		}
	}
	b.stats.Back++
	return dst
}

func event(c market.Channel, symbol market.Symbol, seq market.Seq, s *sum) market.Event {
	return market.Event{Seq: seq, Channel: c, Symbol: symbol, Bar: s.bar()}
}
