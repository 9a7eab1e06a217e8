package marketpb

import (
	"fmt"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/market"
)

// BarQuery gives the protobuf form of a query.
func BarQuery(q *market.BarQuery) *pb.GetBarsRequest {
	m := &pb.GetBarsRequest{
		Timeframe: pb.Timeframe(q.Timeframe), Limit: int32(q.Limit), PageToken: q.Token, Descending: q.Descending, Delay: int64(q.Delay),
	}
	for _, s := range q.Symbols {
		m.Symbols = append(m.Symbols, string(s))
	}
	if !q.Start.IsZero() {
		m.Start = new(q.Start.UnixNano())
	}
	if !q.End.IsZero() {
		m.End = new(q.End.UnixNano())
	}
	return m
}

// BarPage gives the protobuf form of a page.
func BarPage(p *market.BarPage) *pb.GetBarsResponse {
	m := &pb.GetBarsResponse{NextPageToken: p.Next}
	for i := range p.Symbols {
		m.Symbols = append(m.Symbols, SymbolBars(p.Symbols[i].Symbol, p.Symbols[i].Bars))
	}
	return m
}

// SymbolBars gives the protobuf form of bars of a symbol.
func SymbolBars(symbol market.Symbol, bars []market.Bar) *pb.SymbolBars {
	m := &pb.SymbolBars{Symbol: string(symbol), Bars: make([]*pb.Bar, len(bars))}
	for i := range bars {
		m.Bars[i] = Bar(&bars[i])
	}
	return m
}

// Bar gives the protobuf form of a bar.
func Bar(b *market.Bar) *pb.Bar {
	return &pb.Bar{
		Open: int64(b.Open), High: int64(b.High), Low: int64(b.Low), Close: int64(b.Close),
		Volume: int64(b.Volume), Trades: b.Trades, Vwap: int64(b.VWAP), Time: b.Time.UnixNano(),
	}
}

// FromBarPage reads a page, and says what is wrong with it.
func FromBarPage(m *pb.GetBarsResponse) (market.BarPage, error) {
	p := market.BarPage{Next: m.GetNextPageToken()}
	for _, s := range m.GetSymbols() {
		bars, err := FromSymbolBars(s)
		if err != nil {
			return market.BarPage{}, err
		}
		p.Symbols = append(p.Symbols, bars)
	}
	return p, nil
}

// FromSymbolBars reads bars of a symbol, and says what is wrong with them.
func FromSymbolBars(m *pb.SymbolBars) (market.SymbolBars, error) {
	out := market.SymbolBars{Symbol: market.Symbol(m.GetSymbol()), Bars: make([]market.Bar, len(m.GetBars()))}
	for i, b := range m.GetBars() {
		e, err := FromEvent(&pb.Event{Symbol: m.GetSymbol(), Channel: pb.Channel_CHANNEL_BARS, Payload: &pb.Event_Bar{Bar: b}})
		if err != nil {
			return out, fmt.Errorf("bar %d: %w", i, err)
		}
		out.Bars[i] = *e.Bar
	}
	return out, nil
}
