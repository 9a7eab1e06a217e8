package wire

import (
	"strconv"

	"github.com/lzstock/lzstock/market"
)

// Tail is what a data message says to one client alone. Strict dialects have
// none of it.
type Tail struct {
	Prev     market.Seq // the position sent before it on the same topic; 0 if none
	Merged   uint32     // how many events it stands for; 0 means 1
	Snapshot bool       // the current value at subscribe, not a live event
}

// letter gives the T of a channel's messages.
func letter(c market.Channel) byte {
	switch c {
	case market.Trades:
		return 't'
	case market.Quotes:
		return 'q'
	case market.Bars:
		return 'b'
	case market.UpdatedBars:
		return 'u'
	case market.Statuses:
		return 's'
	default:
		return 'd'
	}
}

// AppendEvent writes the part of e's message that all clients of the format
// share: everything but what Tail holds, and for JSON without the closing brace.
// Only AppendData makes a message of it. The payload must fit the channel, as
// market.Event.Validate checks.
func AppendEvent(dst []byte, f Format, e *market.Event) []byte {
	if f.Encoding() == MsgPack {
		return appendPackEvent(dst, f.Dialect(), e)
	}
	return appendJSONEvent(dst, f.Dialect(), e)
}

// AppendData writes the message of an event for one client, whose body is from
// AppendEvent with the same format. It stands in an array: a JSON message that
// follows another one puts the comma between.
func AppendData(dst []byte, f Format, body []byte, t Tail) []byte {
	if f.Encoding() == MsgPack {
		return appendPackData(dst, f, body, t)
	}
	if n := len(dst); n > 0 && dst[n-1] == '}' {
		dst = append(dst, ',')
	}
	dst = append(dst, body...)
	if f.Native() {
		dst = append(dst, `,"pq":`...)
		dst = strconv.AppendUint(dst, uint64(t.Prev), 10)
		if t.Merged > 1 {
			dst = append(dst, `,"k":`...)
			dst = strconv.AppendUint(dst, uint64(t.Merged), 10)
		}
		if t.Snapshot {
			dst = append(dst, `,"snap":true`...)
		}
	}
	return append(dst, '}')
}

func appendPackData(dst []byte, f Format, body []byte, t Tail) []byte {
	start := len(dst)
	dst = append(dst, body...)
	if !f.Native() {
		return dst
	}
	dst = appendPackUint(append(dst, "\xa2pq"...), uint64(t.Prev))
	fields := byte(1)
	if t.Merged > 1 {
		dst = appendPackUint(append(dst, "\xa1k"...), uint64(t.Merged))
		fields++
	}
	if t.Snapshot {
		dst = append(dst, "\xa4snap\xc3"...)
		fields++
	}
	dst[start] += fields
	return dst
}

func appendJSONEvent(dst []byte, d Dialect, e *market.Event) []byte {
	dst = append(dst, `{"T":"`...)
	dst = append(dst, letter(e.Channel))
	dst = append(dst, `","S":`...)
	dst = appendJSONString(dst, string(e.Symbol))
	switch {
	case e.Trade != nil:
		dst = appendJSONTrade(dst, d, e.Trade)
	case e.Quote != nil:
		dst = appendJSONQuote(dst, d, e.Quote)
	case e.Bar != nil:
		dst = appendJSONBar(dst, d, e.Bar)
	case e.Status != nil:
		dst = appendJSONStatus(dst, e.Status)
	}
	if d == Native {
		dst = append(dst, `,"q":`...)
		dst = strconv.AppendUint(dst, uint64(e.Seq), 10)
	}
	return dst
}

func appendJSONTrade(dst []byte, d Dialect, t *market.Trade) []byte {
	dst = append(dst, `,"i":`...)
	dst = strconv.AppendInt(dst, t.ID, 10)
	if d != Crypto {
		dst = append(dst, `,"x":`...)
		dst = appendJSONString(dst, t.Exchange)
	}
	dst = append(dst, `,"p":`...)
	dst = t.Price.Append(dst)
	dst = append(dst, `,"s":`...)
	dst = appendJSONSize(dst, d, t.Size)
	dst = append(dst, `,"t":`...)
	dst = appendJSONTime(dst, t.Time)
	if d != Crypto {
		dst = appendJSONMarks(dst, t.Conditions, t.Tape)
	}
	return dst
}

func appendJSONQuote(dst []byte, d Dialect, q *market.Quote) []byte {
	if d != Crypto {
		dst = append(dst, `,"bx":`...)
		dst = appendJSONString(dst, q.BidExchange)
	}
	dst = append(dst, `,"bp":`...)
	dst = q.BidPrice.Append(dst)
	dst = append(dst, `,"bs":`...)
	dst = appendJSONSize(dst, d, q.BidSize)
	if d != Crypto {
		dst = append(dst, `,"ax":`...)
		dst = appendJSONString(dst, q.AskExchange)
	}
	dst = append(dst, `,"ap":`...)
	dst = q.AskPrice.Append(dst)
	dst = append(dst, `,"as":`...)
	dst = appendJSONSize(dst, d, q.AskSize)
	dst = append(dst, `,"t":`...)
	dst = appendJSONTime(dst, q.Time)
	if d != Crypto {
		dst = appendJSONMarks(dst, q.Conditions, q.Tape)
	}
	return dst
}

func appendJSONBar(dst []byte, d Dialect, b *market.Bar) []byte {
	dst = append(dst, `,"o":`...)
	dst = b.Open.Append(dst)
	dst = append(dst, `,"h":`...)
	dst = b.High.Append(dst)
	dst = append(dst, `,"l":`...)
	dst = b.Low.Append(dst)
	dst = append(dst, `,"c":`...)
	dst = b.Close.Append(dst)
	dst = append(dst, `,"v":`...)
	dst = appendJSONSize(dst, d, b.Volume)
	dst = append(dst, `,"n":`...)
	dst = strconv.AppendUint(dst, b.Trades, 10)
	dst = append(dst, `,"vw":`...)
	dst = b.VWAP.Append(dst)
	dst = append(dst, `,"t":`...)
	return appendJSONTime(dst, b.Time)
}

func appendJSONStatus(dst []byte, s *market.Status) []byte {
	dst = append(dst, `,"sc":`...)
	dst = appendJSONString(dst, s.Code)
	dst = append(dst, `,"sm":`...)
	dst = appendJSONString(dst, s.Message)
	dst = append(dst, `,"rc":`...)
	dst = appendJSONString(dst, s.ReasonCode)
	dst = append(dst, `,"rm":`...)
	dst = appendJSONString(dst, s.ReasonMessage)
	dst = append(dst, `,"t":`...)
	dst = appendJSONTime(dst, s.Time)
	dst = append(dst, `,"z":`...)
	return appendJSONString(dst, s.Tape)
}

func appendJSONMarks(dst []byte, conditions []string, tape string) []byte {
	dst = append(dst, `,"c":`...)
	dst = appendJSONStrings(dst, conditions)
	dst = append(dst, `,"z":`...)
	return appendJSONString(dst, tape)
}

// appendJSONSize writes a size. Alpaca's sizes of stocks are whole numbers, and
// its clients read them into integers: a fraction is left out there.
func appendJSONSize(dst []byte, d Dialect, s market.Size) []byte {
	if d == Stock {
		n, _ := s.Whole()
		return strconv.AppendInt(dst, n, 10)
	}
	return s.Append(dst)
}
