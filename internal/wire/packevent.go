package wire

import "github.com/lzstock/lzstock/market"

// appendPackEvent writes a map whose header says how many fields follow. Keys are
// written with their length: "\xa1p" is the string "p".
func appendPackEvent(dst []byte, d Dialect, e *market.Event) []byte {
	start := len(dst)
	dst = append(dst, "\x82\xa1T\xa1"...)
	dst = append(dst, letter(e.Channel))
	dst = append(dst, "\xa1S"...)
	dst = appendPackString(dst, string(e.Symbol))
	var fields byte
	switch {
	case e.Trade != nil:
		dst, fields = appendPackTrade(dst, d, e.Trade)
	case e.Quote != nil:
		dst, fields = appendPackQuote(dst, d, e.Quote)
	case e.Bar != nil:
		dst, fields = appendPackBar(dst, d, e.Bar)
	case e.Status != nil:
		dst, fields = appendPackStatus(dst, e.Status)
	}
	if d == Native {
		dst = appendPackUint(append(dst, "\xa1q"...), uint64(e.Seq))
		fields++
	}
	dst[start] += fields
	return dst
}

func appendPackTrade(dst []byte, d Dialect, t *market.Trade) (_ []byte, fields byte) {
	dst = appendPackInt(append(dst, "\xa1i"...), t.ID)
	dst = appendPackFloat(append(dst, "\xa1p"...), t.Price.Float64())
	dst = appendPackDialectSize(append(dst, "\xa1s"...), d, t.Size)
	dst = appendPackTime(append(dst, "\xa1t"...), t.Time)
	if d == Crypto {
		return dst, 4
	}
	dst = appendPackString(append(dst, "\xa1x"...), t.Exchange)
	return appendPackMarks(dst, t.Conditions, t.Tape), 7
}

func appendPackQuote(dst []byte, d Dialect, q *market.Quote) (_ []byte, fields byte) {
	dst = appendPackFloat(append(dst, "\xa2bp"...), q.BidPrice.Float64())
	dst = appendPackDialectSize(append(dst, "\xa2bs"...), d, q.BidSize)
	dst = appendPackFloat(append(dst, "\xa2ap"...), q.AskPrice.Float64())
	dst = appendPackDialectSize(append(dst, "\xa2as"...), d, q.AskSize)
	dst = appendPackTime(append(dst, "\xa1t"...), q.Time)
	if d == Crypto {
		return dst, 5
	}
	dst = appendPackString(append(dst, "\xa2bx"...), q.BidExchange)
	dst = appendPackString(append(dst, "\xa2ax"...), q.AskExchange)
	return appendPackMarks(dst, q.Conditions, q.Tape), 9
}

func appendPackBar(dst []byte, d Dialect, b *market.Bar) (_ []byte, fields byte) {
	dst = appendPackFloat(append(dst, "\xa1o"...), b.Open.Float64())
	dst = appendPackFloat(append(dst, "\xa1h"...), b.High.Float64())
	dst = appendPackFloat(append(dst, "\xa1l"...), b.Low.Float64())
	dst = appendPackFloat(append(dst, "\xa1c"...), b.Close.Float64())
	dst = appendPackDialectSize(append(dst, "\xa1v"...), d, b.Volume)
	dst = appendPackUint(append(dst, "\xa1n"...), b.Trades)
	dst = appendPackFloat(append(dst, "\xa2vw"...), b.VWAP.Float64())
	return appendPackTime(append(dst, "\xa1t"...), b.Time), 8
}

func appendPackStatus(dst []byte, s *market.Status) (_ []byte, fields byte) {
	dst = appendPackString(append(dst, "\xa2sc"...), s.Code)
	dst = appendPackString(append(dst, "\xa2sm"...), s.Message)
	dst = appendPackString(append(dst, "\xa2rc"...), s.ReasonCode)
	dst = appendPackString(append(dst, "\xa2rm"...), s.ReasonMessage)
	dst = appendPackTime(append(dst, "\xa1t"...), s.Time)
	return appendPackString(append(dst, "\xa1z"...), s.Tape), 6
}

func appendPackMarks(dst []byte, conditions []string, tape string) []byte {
	dst = appendPackStrings(append(dst, "\xa1c"...), conditions)
	return appendPackString(append(dst, "\xa1z"...), tape)
}

// appendPackDialectSize writes a size, without its fraction where the dialect's
// clients read integers.
func appendPackDialectSize(dst []byte, d Dialect, s market.Size) []byte {
	if d == Stock {
		n, _ := s.Whole()
		return appendPackInt(dst, n)
	}
	return appendPackSize(dst, s)
}
