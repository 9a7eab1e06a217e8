// Package marketpb turns market events into their protobuf messages and back.
// It is the only place that knows both.
package marketpb

import (
	"fmt"
	"time"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/market"
)

// FromChannel gives the channel that c names, or an error where it names none.
func FromChannel(c pb.Channel) (market.Channel, error) {
	if c < pb.Channel_CHANNEL_TRADES || c > pb.Channel_CHANNEL_STATUSES {
		return 0, fmt.Errorf("channel %s: want one of CHANNEL_TRADES to CHANNEL_STATUSES", c)
	}
	return market.Channel(c), nil
}

// Position gives the protobuf form of p.
func Position(p market.Position) *pb.Position {
	return &pb.Position{Epoch: uint64(p.Epoch), Seq: uint64(p.Seq)}
}

// FromPosition reads p; nil is the zero position.
func FromPosition(p *pb.Position) market.Position {
	return market.Position{Epoch: market.Epoch(p.GetEpoch()), Seq: market.Seq(p.GetSeq())}
}

// ListedKey is the metadata of a Watch call that asks for the feed's symbols, with the
// value "1".
const ListedKey = "lzstock-listed"

// Symbols gives the protobuf form of symbols.
func Symbols(list []market.Symbol) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}

// FromSymbols reads symbols.
func FromSymbols(list []string) ([]market.Symbol, error) {
	out := make([]market.Symbol, len(list))
	for i, s := range list {
		out[i] = market.Symbol(s)
		if err := out[i].Validate(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Topics groups topics by channel, in the channels' order. The symbols keep
// theirs.
func Topics(topics []market.Topic) []*pb.Topics {
	var byChannel [market.NumChannels][]string
	for _, t := range topics {
		byChannel[t.Channel] = append(byChannel[t.Channel], string(t.Symbol))
	}
	var out []*pb.Topics
	for c, symbols := range byChannel {
		if len(symbols) > 0 {
			out = append(out, &pb.Topics{Channel: pb.Channel(c), Symbols: symbols})
		}
	}
	return out
}

// FromTopics reads a list of topics and returns an error for a channel that
// does not exist or a symbol that cannot be one. "*" is allowed.
func FromTopics(list []*pb.Topics) ([]market.Topic, error) {
	var out []market.Topic
	for _, l := range list {
		c, err := FromChannel(l.GetChannel())
		if err != nil {
			return nil, err
		}
		for _, s := range l.GetSymbols() {
			symbol := market.Symbol(s)
			if symbol != market.AllSymbols {
				if err := symbol.Validate(); err != nil {
					return nil, err
				}
			}
			out = append(out, market.Topic{Channel: c, Symbol: symbol})
		}
	}
	return out, nil
}

// Events gives the protobuf form of events. It shares their strings and slices.
func Events(events []market.Event) []*pb.Event {
	out := make([]*pb.Event, len(events))
	slab := make([]pb.Event, len(events))
	for i := range events {
		Fill(&slab[i], &events[i])
		out[i] = &slab[i]
	}
	return out
}

// Fill writes e into m, which must be zero.
func Fill(m *pb.Event, e *market.Event) {
	m.Seq, m.Prev, m.Merged = uint64(e.Seq), uint64(e.Prev), e.Merged
	m.Channel, m.Symbol = pb.Channel(e.Channel), string(e.Symbol)
	switch {
	case e.Trade != nil:
		t := e.Trade
		m.Payload = &pb.Event_Trade{Trade: &pb.Trade{
			Id: t.ID, Exchange: t.Exchange, Price: int64(t.Price), Size: int64(t.Size),
			Time: t.Time.UnixNano(), Conditions: t.Conditions, Tape: t.Tape,
		}}
	case e.Quote != nil:
		q := e.Quote
		m.Payload = &pb.Event_Quote{Quote: &pb.Quote{
			BidExchange: q.BidExchange, BidPrice: int64(q.BidPrice), BidSize: int64(q.BidSize),
			AskExchange: q.AskExchange, AskPrice: int64(q.AskPrice), AskSize: int64(q.AskSize),
			Time: q.Time.UnixNano(), Conditions: q.Conditions, Tape: q.Tape,
		}}
	case e.Bar != nil:
		b := e.Bar
		m.Payload = &pb.Event_Bar{Bar: &pb.Bar{
			Open: int64(b.Open), High: int64(b.High), Low: int64(b.Low), Close: int64(b.Close),
			Volume: int64(b.Volume), Trades: b.Trades, Vwap: int64(b.VWAP), Time: b.Time.UnixNano(),
		}}
	case e.Status != nil:
		s := e.Status
		m.Payload = &pb.Event_Status{Status: &pb.Status{
			Code: s.Code, Message: s.Message, ReasonCode: s.ReasonCode, ReasonMessage: s.ReasonMessage,
			Time: s.Time.UnixNano(), Tape: s.Tape,
		}}
	}
}

// FromEvents reads a list of events and validates each. The error names the
// first bad one.
func FromEvents(list []*pb.Event) ([]market.Event, error) {
	out := make([]market.Event, len(list))
	for i, m := range list {
		e, err := FromEvent(m)
		if err != nil {
			return nil, fmt.Errorf("event %d: %w", i, err)
		}
		out[i] = e
	}
	return out, nil
}

// FromEvent reads and validates one event. It shares the message's strings and
// slices.
func FromEvent(m *pb.Event) (market.Event, error) {
	e := market.Event{
		Seq: market.Seq(m.GetSeq()), Prev: market.Seq(m.GetPrev()), Merged: m.GetMerged(),
		Channel: market.Channel(m.GetChannel()), Symbol: market.Symbol(m.GetSymbol()),
	}
	if _, err := FromChannel(m.GetChannel()); err != nil {
		return market.Event{}, err
	}
	switch p := m.GetPayload().(type) {
	case *pb.Event_Trade:
		t := p.Trade
		e.Trade = &market.Trade{
			ID: t.GetId(), Exchange: t.GetExchange(), Price: market.Price(t.GetPrice()), Size: market.Size(t.GetSize()),
			Time: timeOf(t.GetTime()), Conditions: t.GetConditions(), Tape: t.GetTape(),
		}
	case *pb.Event_Quote:
		q := p.Quote
		e.Quote = &market.Quote{
			BidExchange: q.GetBidExchange(), BidPrice: market.Price(q.GetBidPrice()), BidSize: market.Size(q.GetBidSize()),
			AskExchange: q.GetAskExchange(), AskPrice: market.Price(q.GetAskPrice()), AskSize: market.Size(q.GetAskSize()),
			Time: timeOf(q.GetTime()), Conditions: q.GetConditions(), Tape: q.GetTape(),
		}
	case *pb.Event_Bar:
		b := p.Bar
		e.Bar = &market.Bar{
			Open: market.Price(b.GetOpen()), High: market.Price(b.GetHigh()), Low: market.Price(b.GetLow()),
			Close: market.Price(b.GetClose()), Volume: market.Size(b.GetVolume()), Trades: b.GetTrades(),
			VWAP: market.Price(b.GetVwap()), Time: timeOf(b.GetTime()),
		}
	case *pb.Event_Status:
		s := p.Status
		e.Status = &market.Status{
			Code: s.GetCode(), Message: s.GetMessage(), ReasonCode: s.GetReasonCode(), ReasonMessage: s.GetReasonMessage(),
			Time: timeOf(s.GetTime()), Tape: s.GetTape(),
		}
	}
	if err := e.Validate(); err != nil {
		return market.Event{}, err
	}
	return e, nil
}

func timeOf(ns int64) time.Time { return time.Unix(0, ns).UTC() }
