package market

import (
	"errors"
	"fmt"
	"time"
)

// Channel is the kind of event that one subscribes to.
type Channel uint8

// The channels.
const (
	Trades      Channel = iota + 1 // one execution
	Quotes                         // best bid and offer
	Bars                           // a completed minute
	UpdatedBars                    // a completed minute, corrected by a late trade
	DailyBars                      // the day so far
	Statuses                       // whether it is traded: halts and resumptions
)

// NumChannels is one more than the greatest Channel: the length of an array
// indexed by Channel.
const NumChannels = int(Statuses) + 1

// Channels lists all channels in order.
func Channels() []Channel { return []Channel{Trades, Quotes, Bars, UpdatedBars, DailyBars, Statuses} }

// String gives the protocol's name of the channel: "trades", "quotes", "bars",
// "updatedBars", "dailyBars" or "statuses".
func (c Channel) String() string {
	switch c {
	case Trades:
		return "trades"
	case Quotes:
		return "quotes"
	case Bars:
		return "bars"
	case UpdatedBars:
		return "updatedBars"
	case DailyBars:
		return "dailyBars"
	case Statuses:
		return "statuses"
	}
	return fmt.Sprintf("channel(%d)", uint8(c))
}

// IsBar reports whether the channel carries bars of any sort.
func (c Channel) IsBar() bool { return c == Bars || c == UpdatedBars || c == DailyBars }

// Topic is one channel of one symbol. Symbol may be AllSymbols in a
// subscription.
type Topic struct {
	Channel Channel
	Symbol  Symbol
}

// String gives "trades:AAPL".
func (t Topic) String() string { return t.Channel.String() + ":" + string(t.Symbol) }

// Trade is one execution.
type Trade struct {
	ID         int64     // the venue's number for it; 0 where there is none
	Exchange   string    // venue code; "SIM" where the data is simulated
	Price      Price     // per unit
	Size       Size      // quantity
	Time       time.Time // when it happened at the venue, UTC
	Conditions []string  // the venue's condition codes
	Tape       string    // consolidated tape: "A", "B", "C" or empty
}

// Quote is the best bid and offer. A side without a quote has price and size
// zero. Crossed and locked quotes occur and are data.
type Quote struct {
	BidExchange string // venue code; "SIM" where the data is simulated
	BidPrice    Price
	BidSize     Size
	AskExchange string
	AskPrice    Price
	AskSize     Size
	Time        time.Time // when it was quoted at the venue, UTC
	Conditions  []string  // the venue's condition codes
	Tape        string    // consolidated tape: "A", "B", "C" or empty
}

// Bar is open, high, low, close and volume of the trades of one interval.
type Bar struct {
	Open, High, Low, Close Price
	Volume                 Size      // sum of sizes
	Trades                 uint64    // number of trades
	VWAP                   Price     // volume-weighted average price, rounded to the nearest unit
	Time                   time.Time // start of the interval, UTC
}

// Event is one update of one topic. Exactly one of Trade, Quote, Bar and Status
// is set, as Channel says. Events are shared once published: nobody changes one.
type Event struct {
	Seq     Seq    // its place in the feed
	Prev    Seq    // the place of the event before it on the same topic; 0 if none or not known
	Merged  uint32 // how many events it stands for after conflation; 0 means 1
	Channel Channel
	Symbol  Symbol
	Trade   *Trade
	Quote   *Quote
	Bar     *Bar
	Status  *Status
}

// Topic gives the event's topic.
func (e *Event) Topic() Topic { return Topic{Channel: e.Channel, Symbol: e.Symbol} }

// Count gives how many events e stands for, at least 1.
func (e *Event) Count() uint32 { return max(1, e.Merged) }

// Time gives the source's time of the event. Of a bar it is the start of the
// interval.
func (e *Event) Time() time.Time {
	switch {
	case e.Trade != nil:
		return e.Trade.Time
	case e.Quote != nil:
		return e.Quote.Time
	case e.Bar != nil:
		return e.Bar.Time
	case e.Status != nil:
		return e.Status.Time
	}
	return time.Time{}
}

// Validate says what is wrong with an event that comes from outside: a bad
// symbol, a payload that does not fit the channel, a time that is missing, a
// negative size, a status without a code.
func (e *Event) Validate() error {
	if err := e.Symbol.Validate(); err != nil {
		return err
	}
	set := 0
	for _, is := range [...]bool{e.Trade != nil, e.Quote != nil, e.Bar != nil, e.Status != nil} {
		if is {
			set++
		}
	}
	if set != 1 {
		return fmt.Errorf("event of %s: exactly one of trade, quote, bar and status is needed, got %d", e.Topic(), set)
	}
	ok := false
	switch e.Channel {
	case Trades:
		ok = e.Trade != nil
	case Quotes:
		ok = e.Quote != nil
	case Bars, UpdatedBars, DailyBars:
		ok = e.Bar != nil
	case Statuses:
		ok = e.Status != nil
	}
	if !ok {
		return fmt.Errorf("event of %s: the payload does not fit the channel", e.Topic())
	}
	t := e.Time()
	if t.IsZero() || t.Year() < 1970 || t.Year() > 2200 {
		return fmt.Errorf("event of %s: time %s is not between 1970 and 2200", e.Topic(), t.Format(time.RFC3339))
	}
	switch {
	case e.Trade != nil && e.Trade.Size < 0,
		e.Quote != nil && (e.Quote.BidSize < 0 || e.Quote.AskSize < 0),
		e.Bar != nil && e.Bar.Volume < 0:
		return errors.New("event of " + e.Topic().String() + ": a size cannot be negative")
	case e.Status != nil && e.Status.Code == "":
		return errors.New("event of " + e.Topic().String() + ": a status needs a code, such as H for a halt and T for trading again")
	}
	return nil
}
