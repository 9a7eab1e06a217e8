package bars

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/market"
)

// Zone gives the name of the zone in which days begin.
func (b *Builder) Zone() string { return b.cfg.Zone.String() }

// Save gives the Builder's state, which shares nothing with it. A Builder that
// loads it goes on as this one does.
func (b *Builder) Save() []*pb.BarSource {
	out := make([]*pb.BarSource, 0, len(b.sources))
	for _, name := range slices.Sorted(maps.Keys(b.sources)) {
		s := b.sources[name]
		m := &pb.BarSource{Name: name, Watermark: s.mark, Behind: uint32(s.behind)}
		if h := s.held; h != nil {
			m.Held = &pb.BarTick{
				Time: h.time, Seq: uint64(h.seq), Symbol: string(h.symbol),
				Trade: h.trade, Price: int64(h.price), Size: int64(h.size),
			}
		}
		for _, symbol := range slices.Sorted(maps.Keys(s.symbols)) {
			se := s.symbols[symbol]
			se.prune(b.cutoff(s))
			v := &pb.BarSeries{Symbol: string(symbol), DayChanged: se.changed}
			v.Minute, v.Day = se.minute.save(), se.day.save()
			for i := range se.closed {
				v.Closed = append(v.Closed, se.closed[i].save())
			}
			m.Series = append(m.Series, v)
		}
		out = append(out, m)
	}
	return out
}

// Load puts what Save gave into a new Builder with the same Config. An error
// says what cannot be; the Builder is of no use then.
func (b *Builder) Load(list []*pb.BarSource) error {
	for _, m := range list {
		if err := b.loadSource(m); err != nil {
			return fmt.Errorf("bars of source %q: %w", m.GetName(), err)
		}
	}
	return nil
}

func (b *Builder) loadSource(m *pb.BarSource) error {
	if b.sources[m.GetName()] != nil {
		return errors.New("the source occurs twice")
	}
	if !plausible(m.GetWatermark()) {
		return fmt.Errorf("watermark %d is not between 1970 and 2200", m.GetWatermark())
	}
	s := &source{name: m.GetName(), behind: int(m.GetBehind()), symbols: make(map[market.Symbol]*series, len(m.GetSeries()))}
	b.setMark(s, m.GetWatermark())
	if h := m.GetHeld(); h != nil {
		s.held = &tick{
			place: place{h.GetTime(), market.Seq(h.GetSeq())}, symbol: market.Symbol(h.GetSymbol()),
			trade: h.GetTrade(), price: market.Price(h.GetPrice()), size: market.Size(h.GetSize()),
		}
		if err := s.held.symbol.Validate(); err != nil {
			return err
		}
		if !plausible(s.held.time) || s.held.size < 0 {
			return fmt.Errorf("held event of %s: its time or size cannot be", s.held.symbol)
		}
	}
	for _, v := range m.GetSeries() {
		se, err := b.loadSeries(s, v)
		if err != nil {
			return fmt.Errorf("symbol %q: %w", v.GetSymbol(), err)
		}
		s.symbols[se.symbol] = se
		if se.minute.trades > 0 {
			s.open = append(s.open, se)
		}
		if se.changed {
			s.changed = append(s.changed, se)
		}
	}
	b.sources[m.GetName()] = s
	return nil
}

func (b *Builder) loadSeries(s *source, v *pb.BarSeries) (*series, error) {
	se := &series{symbol: market.Symbol(v.GetSymbol()), changed: v.GetDayChanged()}
	if err := se.symbol.Validate(); err != nil {
		return nil, err
	}
	if s.symbols[se.symbol] != nil {
		return nil, errors.New("it occurs twice")
	}
	var err error
	if v.GetMinute() != nil {
		if se.minute, err = loadSum(v.GetMinute()); err != nil {
			return nil, err
		}
		if se.minute.start != s.minute {
			return nil, errors.New("its open minute is not the watermark's")
		}
	}
	se.closed = make([]sum, len(v.GetClosed()))
	for i, c := range v.GetClosed() {
		if se.closed[i], err = loadSum(c); err != nil {
			return nil, err
		}
	}
	if !slices.IsSortedFunc(se.closed, func(a, b sum) int { return cmp.Compare(a.start, b.start) }) {
		return nil, errors.New("its minutes are out of order")
	}
	if v.GetDay() != nil {
		if se.day, err = loadSum(v.GetDay()); err != nil {
			return nil, err
		}
		_, se.dayEnd = b.day(se.day.start)
	} else if se.changed {
		return nil, errors.New("its day changed, and has no trades")
	}
	return se, nil
}

// save gives nil for an empty sum.
func (s *sum) save() *pb.BarSum {
	if s.trades == 0 {
		return nil
	}
	return &pb.BarSum{
		Start: s.start, Trades: s.trades,
		Open: int64(s.open), High: int64(s.high), Low: int64(s.low), Close: int64(s.close),
		OpenTime: s.first.time, OpenSeq: uint64(s.first.seq),
		CloseTime: s.last.time, CloseSeq: uint64(s.last.seq),
		Volume: slices.Clone(s.volume[:]), Amount: slices.Clone(s.amount[:]),
	}
}

func loadSum(m *pb.BarSum) (sum, error) {
	s := sum{
		start: m.GetStart(), trades: m.GetTrades(),
		open: market.Price(m.GetOpen()), high: market.Price(m.GetHigh()),
		low: market.Price(m.GetLow()), close: market.Price(m.GetClose()),
		first: place{m.GetOpenTime(), market.Seq(m.GetOpenSeq())},
		last:  place{m.GetCloseTime(), market.Seq(m.GetCloseSeq())},
	}
	if s.trades == 0 || !plausible(s.start) || len(m.GetVolume()) != len(s.volume) || len(m.GetAmount()) != len(s.amount) {
		return sum{}, errors.New("a bar without trades, time or sums")
	}
	copy(s.volume[:], m.GetVolume())
	copy(s.amount[:], m.GetAmount())
	if average, ok := s.average(); !ok || s.volume != [2]uint64{} && (average < s.low || average > s.high) {
		return sum{}, errors.New("a bar whose average price is not between its prices")
	}
	return s, nil
}

// plausible reports whether t lies where events do.
func plausible(t int64) bool {
	return t >= 0 && time.Unix(0, t).UTC().Year() <= 2200
}
