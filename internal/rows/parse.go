package rows

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/lzstock/lzstock/market"
)

// Header is the first line of a tape.
const Header = "ts_ns,symbol,type,price,size,bid,bid_size,ask,ask_size"

// columns is the number of fields in a row.
const columns = 9

// maxSymbols bounds the symbols that a Parser remembers, so that an input of
// endless new ones cannot fill the memory.
const maxSymbols = 1 << 16

// maxTime is the end of the year 2200, after which market.Event.Validate accepts
// no time.
const maxTime int64 = 7_289_654_400_000_000_000

// Parser reads rows. It remembers the symbols it has seen, so that a row costs
// one allocation. Its zero value is ready; it is for one goroutine.
type Parser struct {
	symbols map[string]market.Symbol
	mended  int
}

// Mended gives how many numbers held a float's artefact and were mended, as Price
// says.
func (p *Parser) Mended() int { return p.mended }

// IsHeader reports whether line is a header: it begins with the name of the
// first column. CheckHeader says whether it is the right one.
func IsHeader(line []byte) bool { return bytes.HasPrefix(line, []byte("ts_ns")) }

// CheckHeader refuses a header with other columns than ours.
func CheckHeader(line []byte) error {
	if string(line) != Header {
		return fmt.Errorf("the header is %q: want %q", short(line), Header)
	}
	return nil
}

// Parse reads one row, without its end of line. The error says what is wrong
// with it and what would be right. The event shares nothing with line.
func (p *Parser) Parse(line []byte) (market.Event, error) {
	var field [columns][]byte
	n := 0
	for rest := line; ; n++ {
		i := bytes.IndexByte(rest, ',')
		if n < columns {
			if i < 0 {
				field[n] = rest
			} else {
				field[n] = rest[:i]
			}
		}
		if i < 0 {
			n++
			break
		}
		rest = rest[i+1:]
	}
	if n != columns {
		return market.Event{}, fmt.Errorf("it has %d fields, want %d: %s", n, columns, Header)
	}
	at, err := parseTime(field[0])
	if err != nil {
		return market.Event{}, err
	}
	symbol, err := p.symbol(field[1])
	if err != nil {
		return market.Event{}, err
	}
	switch string(field[2]) {
	case "trade":
		return p.trade(at, symbol, &field)
	case "quote":
		return p.quote(at, symbol, &field)
	}
	return market.Event{}, fmt.Errorf("type is %q: want trade or quote", short(field[2]))
}

func (p *Parser) trade(at time.Time, symbol market.Symbol, field *[columns][]byte) (market.Event, error) {
	if len(field[5])+len(field[6])+len(field[7])+len(field[8]) > 0 {
		return market.Event{}, errors.New("a trade has bid or ask: those fields stay empty")
	}
	price, size, err := p.amount(field[3], field[4])
	if err != nil {
		return market.Event{}, err
	}
	return market.Event{
		Channel: market.Trades, Symbol: symbol,
		Trade: &market.Trade{Price: price, Size: size, Time: at},
	}, nil
}

func (p *Parser) quote(at time.Time, symbol market.Symbol, field *[columns][]byte) (market.Event, error) {
	if len(field[3])+len(field[4]) > 0 {
		return market.Event{}, errors.New("a quote has price or size: those fields stay empty")
	}
	if len(field[5])+len(field[6])+len(field[7])+len(field[8]) == 0 {
		return market.Event{}, errors.New("a quote has neither bid nor ask: one of them is needed")
	}
	bid, bidSize, err := p.side(field[5], field[6])
	if err != nil {
		return market.Event{}, fmt.Errorf("bid: %w", err)
	}
	ask, askSize, err := p.side(field[7], field[8])
	if err != nil {
		return market.Event{}, fmt.Errorf("ask: %w", err)
	}
	return market.Event{
		Channel: market.Quotes, Symbol: symbol,
		Quote: &market.Quote{BidPrice: bid, BidSize: bidSize, AskPrice: ask, AskSize: askSize, Time: at},
	}, nil
}

// side reads one side of a quote; both fields are empty where nobody quotes it.
func (p *Parser) side(price, size []byte) (market.Price, market.Size, error) {
	if len(price)+len(size) == 0 {
		return 0, 0, nil
	}
	return p.amount(price, size)
}

func (p *Parser) amount(price, size []byte) (market.Price, market.Size, error) {
	v, mended, err := Price(price)
	if err != nil {
		return 0, 0, fmt.Errorf("price: %w", err)
	}
	if mended {
		p.mended++
	}
	s, mended, err := Size(size)
	if err != nil {
		return 0, 0, fmt.Errorf("size: %w", err)
	}
	if mended {
		p.mended++
	}
	return v, s, nil
}

func parseTime(text []byte) (time.Time, error) {
	const digits = 19 // of the greatest time allowed
	if len(text) == 0 || len(text) > digits {
		return time.Time{}, badTime(text)
	}
	var ns int64
	for _, c := range text {
		if c < '0' || c > '9' {
			return time.Time{}, badTime(text)
		}
		d := int64(c - '0')
		if ns > (maxTime-1-d)/10 {
			return time.Time{}, badTime(text)
		}
		ns = ns*10 + d
	}
	return time.Unix(0, ns).UTC(), nil
}

func badTime(text []byte) error {
	return fmt.Errorf("ts_ns is %q: want Unix time in nanoseconds, UTC, between the years 1970 and 2200", short(text))
}

func (p *Parser) symbol(text []byte) (market.Symbol, error) {
	if s, ok := p.symbols[string(text)]; ok {
		return s, nil
	}
	s := market.Symbol(text)
	if err := s.Validate(); err != nil {
		return "", err
	}
	if p.symbols == nil {
		p.symbols = make(map[string]market.Symbol)
	}
	if len(p.symbols) < maxSymbols {
		p.symbols[string(s)] = s
	}
	return s, nil
}

// short cuts a text that goes into an error.
func short(text []byte) string {
	const most = 80
	if len(text) > most {
		return string(text[:most]) + "…"
	}
	return string(text)
}

// Append writes e as a row, with its end of line, to dst. It reports false and
// writes nothing where e is neither a trade nor a quote.
func Append(dst []byte, e *market.Event) ([]byte, bool) {
	switch {
	case e.Channel == market.Trades && e.Trade != nil:
		t := e.Trade
		dst = appendStart(dst, t.Time, e.Symbol, ",trade,")
		dst = t.Price.Append(dst)
		dst = append(dst, ',')
		dst = t.Size.Append(dst)
		return append(dst, ",,,,\n"...), true
	case e.Channel == market.Quotes && e.Quote != nil:
		q := e.Quote
		dst = appendStart(dst, q.Time, e.Symbol, ",quote,,,")
		dst = q.BidPrice.Append(dst)
		dst = append(dst, ',')
		dst = q.BidSize.Append(dst)
		dst = append(dst, ',')
		dst = q.AskPrice.Append(dst)
		dst = append(dst, ',')
		dst = q.AskSize.Append(dst)
		return append(dst, '\n'), true
	}
	return dst, false
}

func appendStart(dst []byte, at time.Time, symbol market.Symbol, kind string) []byte {
	dst = strconv.AppendInt(dst, at.UnixNano(), 10)
	dst = append(dst, ',')
	dst = append(dst, symbol...)
	return append(dst, kind...)
}
