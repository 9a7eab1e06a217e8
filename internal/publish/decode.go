package publish

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/lzstock/lzstock/internal/rows"
	"github.com/lzstock/lzstock/market"
)

// Format is the form of the input's lines.
type Format string

// The formats.
const (
	// Auto decides by the first line that is not blank: JSON begins with { or [.
	Auto Format = "auto"
	// CSV is the columns of a tape; see package rows. The header is optional, and
	// so is the order of time.
	CSV Format = "csv"
	// JSONL is an object a line, or an array of them, in the shapes of the client
	// protocol: {"T":"t","S":"AAPL","p":126.55,"s":1,"t":"2026-01-05T14:30:00Z"},
	// {"T":"s","S":"AAPL","sc":"H","sm":"Trading Halt","t":"2026-01-05T14:30:01Z"}.
	// Fields of other names are ignored.
	JSONL Format = "jsonl"
)

// ParseFormat reads the name of a format; empty is Auto.
func ParseFormat(text string) (Format, error) {
	switch f := Format(text); f {
	case "":
		return Auto, nil
	case Auto, CSV, JSONL:
		return f, nil
	}
	return "", fmt.Errorf("format is %q: want auto, csv or jsonl", text)
}

// decoder turns lines into events.
type decoder struct {
	format Format
	rows   rows.Parser
	mended int // in JSON
	begun  bool
}

// decode calls each with the events of a line, or with why there are none. It
// reports an error where the whole input cannot be read.
func (d *decoder) decode(line []byte, each func(market.Event, error)) error {
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return nil
	}
	if !d.begun {
		d.begun = true
		if d.format == Auto {
			d.format = CSV
			if line[0] == '{' || line[0] == '[' {
				d.format = JSONL
			}
		}
		if d.format == CSV && rows.IsHeader(line) {
			return rows.CheckHeader(line)
		}
	}
	switch {
	case d.format == CSV:
		each(d.rows.Parse(line))
	case line[0] == '[':
		var list []json.RawMessage
		if err := json.Unmarshal(line, &list); err != nil {
			each(market.Event{}, badJSON(err))
		}
		for _, one := range list {
			each(d.object(one))
		}
	default:
		each(d.object(line))
	}
	return nil
}

// mends gives how many numbers were mended.
func (d *decoder) mends() int { return d.mended + d.rows.Mended() }

func badJSON(err error) error { return fmt.Errorf("it is no JSON object: %w", err) }

// object is a JSON object by its field names, which are told apart by case: "T"
// is the type and "t" the time.
type object map[string]json.RawMessage

func (d *decoder) object(text []byte) (market.Event, error) {
	var o object
	if err := json.Unmarshal(text, &o); err != nil {
		return market.Event{}, badJSON(err)
	}
	kind, symbol, at := "", "", ""
	if err := errors.Join(o.read("T", &kind), o.read("S", &symbol), o.read("t", &at)); err != nil {
		return market.Event{}, err
	}
	when, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		return market.Event{}, fmt.Errorf("t is %q: want a time such as 2026-01-05T14:30:00.25Z", at)
	}
	when = when.UTC()
	e := market.Event{Symbol: market.Symbol(symbol)}
	switch kind {
	case "t":
		t := &market.Trade{Time: when}
		e.Channel, e.Trade = market.Trades, t
		err = errors.Join(
			d.price(o, "p", &t.Price, true), d.size(o, "s", &t.Size, true),
			o.read("i", &t.ID), o.read("x", &t.Exchange), o.read("c", &t.Conditions), o.read("z", &t.Tape),
		)
	case "q":
		q := &market.Quote{Time: when}
		e.Channel, e.Quote = market.Quotes, q
		bid, ask := o.has("bp"), o.has("ap")
		if !bid && !ask {
			return market.Event{}, errors.New("bp and ap are missing: a quote needs one of them")
		}
		err = errors.Join(
			d.price(o, "bp", &q.BidPrice, false), d.size(o, "bs", &q.BidSize, bid),
			d.price(o, "ap", &q.AskPrice, false), d.size(o, "as", &q.AskSize, ask),
			o.read("bx", &q.BidExchange), o.read("ax", &q.AskExchange), o.read("c", &q.Conditions), o.read("z", &q.Tape),
		)
	case "s":
		s := &market.Status{Time: when}
		e.Channel, e.Status = market.Statuses, s
		err = errors.Join(
			o.read("sc", &s.Code), o.read("sm", &s.Message), o.read("rc", &s.ReasonCode), o.read("rm", &s.ReasonMessage), o.read("z", &s.Tape),
		)
		if err == nil && s.Code == "" {
			err = errors.New(`sc is missing: a status needs a code, such as "H" for a halt and "T" for trading again`)
		}
	default:
		return market.Event{}, fmt.Errorf(`type T is %q: want "t" for a trade, "q" for a quote or "s" for a status`, kind)
	}
	if err == nil {
		err = e.Validate()
	}
	return e, err
}

func (o object) has(key string) bool {
	v, ok := o[key]
	return ok && string(v) != "null"
}

// read reads a field that may be missing.
func (o object) read(key string, into any) error {
	if !o.has(key) {
		return nil
	}
	if err := json.Unmarshal(o[key], into); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

func (d *decoder) price(o object, key string, into *market.Price, needed bool) (err error) {
	return d.number(o, key, needed, func(text []byte) (mended bool, err error) {
		*into, mended, err = rows.Price(text)
		return mended, err
	})
}

func (d *decoder) size(o object, key string, into *market.Size, needed bool) (err error) {
	return d.number(o, key, needed, func(text []byte) (mended bool, err error) {
		*into, mended, err = rows.Size(text)
		return mended, err
	})
}

// number reads an exact decimal from the digits as they stand.
func (d *decoder) number(o object, key string, needed bool, parse func([]byte) (bool, error)) error {
	if !o.has(key) {
		if needed {
			return fmt.Errorf("%s is missing", key)
		}
		return nil
	}
	mended, err := parse(o[key])
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if mended {
		d.mended++
	}
	return nil
}
