package market

import "time"

// Status is what a venue says about the trading of a symbol: that it is halted,
// and why, and that it is traded again. It is what tells a halt from silence.
type Status struct {
	Code          string    // the venue's code, such as "H"; never empty
	Message       string    // the same in words, such as "Trading Halt"
	ReasonCode    string    // the venue's code of the reason, such as "T12"; may be empty
	ReasonMessage string    // the same in words; may be empty
	Time          time.Time // when the venue said so, UTC
	Tape          string    // consolidated tape: "A", "B", "C" or empty
}

// Trading is what a Status means for the trading of its symbol.
type Trading uint8

// The states of trading. The zero Trading is that of a Status that says nothing
// about it, such as a price indication: what was said before holds on.
const (
	TradingHalted  Trading = iota + 1 // nobody trades it at the venue
	TradingResumed                    // it is traded again
)

// String gives "halted", "trading" or, where a status says nothing, "unchanged".
func (t Trading) String() string {
	switch t {
	case TradingHalted:
		return "halted"
	case TradingResumed:
		return "trading"
	}
	return "unchanged"
}

// Trading reads the codes of both plans, which do not overlap. UTP (tape C): "H"
// halted, "P" paused for volatility, "Q" quoted but not yet traded again, "T"
// traded again. CTA (tapes A and B): "2" halted, "3" resumed. All others say
// something else.
func (s *Status) Trading() Trading {
	switch s.Code {
	case "H", "P", "Q", "2":
		return TradingHalted
	case "T", "3":
		return TradingResumed
	}
	return 0
}
