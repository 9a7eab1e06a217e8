package wire

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lzstock/lzstock/market"
)

// Message is what DecodeFrame reads: a *Data, *Connected, *Authenticated,
// *Subscription, *ErrorMessage, *Pong, *Heartbeat, *market.Feed, *market.Gap,
// *Throttle, *Reconnect, *Expiring or *Unknown.
type Message any

// Data is an event. Its Seq, Prev and Merged are the message's q, pq and k.
type Data struct {
	market.Event
	Snapshot bool
}

// Unknown is a message of a type that this version does not know, and ignores.
type Unknown struct {
	Type string
}

// DecodeFrame reads one frame of the server, in any dialect. Fields that it does
// not know are ignored, and those that are missing have their zero value.
func DecodeFrame(enc Encoding, frame []byte) ([]Message, error) {
	top, err := parse(enc, frame)
	if err != nil {
		return nil, fmt.Errorf("bad frame: %w", err)
	}
	var out []Message
	err = top.elements(func(v value) error {
		m, err := decodeMessage(v)
		if err != nil {
			return fmt.Errorf("message %d: %w", len(out), err)
		}
		out = append(out, m)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("bad frame: %w", err)
	}
	return out, nil
}

// decodeMessage finds the type first, wherever it stands.
func decodeMessage(v value) (Message, error) {
	var typ string
	errFound := errors.New("found")
	err := v.fields(func(key string, v value) (err error) {
		if key != "T" {
			return nil
		}
		if typ, err = v.text(); err != nil {
			return fmt.Errorf("field T: %w", err)
		}
		return errFound
	})
	switch {
	case err == nil:
		return nil, errors.New("no field T says what it is")
	case !errors.Is(err, errFound):
		return nil, err
	}
	m, read := reader(typ)
	err = v.fields(func(key string, v value) error {
		if v.isNull() {
			return nil
		}
		if err := read(key, v); err != nil {
			return fmt.Errorf("%s of %q: %w", short(key), typ, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	switch m := m.(type) {
	case *Data:
		err = m.Validate()
	case *success:
		return m.message(), nil
	case *ErrorMessage:
		m.Detail = errorDetail(m.Code, m.Detail)
	case *Subscription:
		for i := range m.Rejected {
			r := &m.Rejected[i]
			r.Detail = errorDetail(r.Code, r.Detail)
		}
	}
	return m, err
}

// reader gives an empty message of a type and the function that reads its fields.
func reader(typ string) (Message, func(key string, v value) error) {
	switch typ {
	case "t":
		m := &Data{Event: market.Event{Channel: market.Trades, Trade: &market.Trade{}}}
		return m, m.readTrade
	case "q":
		m := &Data{Event: market.Event{Channel: market.Quotes, Quote: &market.Quote{}}}
		return m, m.readQuote
	case "b", "u", "d":
		c := market.Bars + market.Channel(slices.Index([]string{"b", "u", "d"}, typ))
		m := &Data{Event: market.Event{Channel: c, Bar: &market.Bar{}}}
		return m, m.readBar
	case "s":
		m := &Data{Event: market.Event{Channel: market.Statuses, Status: &market.Status{}}}
		return m, m.readStatus
	case "success":
		m := &success{}
		return m, m.read
	case "subscription":
		m := &Subscription{}
		return m, m.read
	case "error":
		m := &ErrorMessage{}
		return m, m.read
	case "pong":
		m := &Pong{}
		return m, m.read
	case "hb":
		m := &Heartbeat{}
		return m, m.read
	case "feed":
		m := &market.Feed{}
		return m, func(key string, v value) error { return readFeed(m, key, v) }
	case "gap":
		m := &market.Gap{}
		return m, func(key string, v value) error { return readGap(m, key, v) }
	case "throttle":
		m := &Throttle{}
		return m, m.read
	case "reconnect":
		m := &Reconnect{}
		return m, m.read
	case "expiring":
		m := &Expiring{}
		return m, m.read
	}
	return &Unknown{Type: typ}, func(string, value) error { return nil }
}

// put reads a value into to.
func put[T any](to *T, v value, read func(value) (T, error)) error {
	got, err := read(v)
	if err == nil {
		*to = got
	}
	return err
}

func putMillis(to *time.Duration, v value) error {
	return put(to, v, func(v value) (time.Duration, error) {
		n, err := v.uint()
		return milliseconds(n), err
	})
}

// putWhole reads a number that is not negative into any type of integers.
func putWhole[T ~uint8 | ~uint32 | ~uint64 | ~int](to *T, v value) error {
	return put(to, v, func(v value) (T, error) {
		n, err := v.uint()
		if err == nil && (uint64(T(n)) != n || T(n) < 0) {
			err = fmt.Errorf("%d is out of range", n)
		}
		return T(n), err
	})
}

func (m *Data) readCommon(key string, v value) error {
	switch key {
	case "S":
		return put(&m.Symbol, v, readSymbol)
	case "q":
		return putWhole(&m.Seq, v)
	case "pq":
		return putWhole(&m.Prev, v)
	case "k":
		return putWhole(&m.Merged, v)
	case "snap":
		return put(&m.Snapshot, v, value.truth)
	}
	return nil
}

func readSymbol(v value) (market.Symbol, error) {
	s, err := v.text()
	if err != nil {
		return "", err
	}
	return market.Symbol(s), market.Symbol(s).Validate()
}

func (m *Data) readTrade(key string, v value) error {
	t := m.Trade
	switch key {
	case "i":
		return put(&t.ID, v, value.int)
	case "x":
		return put(&t.Exchange, v, value.text)
	case "p":
		return put(&t.Price, v, value.price)
	case "s":
		return put(&t.Size, v, value.size)
	case "t":
		return put(&t.Time, v, value.time)
	case "c":
		return put(&t.Conditions, v, value.strings)
	case "z":
		return put(&t.Tape, v, value.text)
	}
	return m.readCommon(key, v)
}

func (m *Data) readQuote(key string, v value) error {
	q := m.Quote
	switch key {
	case "bx":
		return put(&q.BidExchange, v, value.text)
	case "bp":
		return put(&q.BidPrice, v, value.price)
	case "bs":
		return put(&q.BidSize, v, value.size)
	case "ax":
		return put(&q.AskExchange, v, value.text)
	case "ap":
		return put(&q.AskPrice, v, value.price)
	case "as":
		return put(&q.AskSize, v, value.size)
	case "t":
		return put(&q.Time, v, value.time)
	case "c":
		return put(&q.Conditions, v, value.strings)
	case "z":
		return put(&q.Tape, v, value.text)
	}
	return m.readCommon(key, v)
}

func (m *Data) readBar(key string, v value) error {
	b := m.Bar
	switch key {
	case "o":
		return put(&b.Open, v, value.price)
	case "h":
		return put(&b.High, v, value.price)
	case "l":
		return put(&b.Low, v, value.price)
	case "c":
		return put(&b.Close, v, value.price)
	case "v":
		return put(&b.Volume, v, value.size)
	case "n":
		return putWhole(&b.Trades, v)
	case "vw":
		return put(&b.VWAP, v, value.price)
	case "t":
		return put(&b.Time, v, value.time)
	}
	return m.readCommon(key, v)
}

func (m *Data) readStatus(key string, v value) error {
	s := m.Status
	switch key {
	case "sc":
		return put(&s.Code, v, value.text)
	case "sm":
		return put(&s.Message, v, value.text)
	case "rc":
		return put(&s.ReasonCode, v, value.text)
	case "rm":
		return put(&s.ReasonMessage, v, value.text)
	case "t":
		return put(&s.Time, v, value.time)
	case "z":
		return put(&s.Tape, v, value.text)
	}
	return m.readCommon(key, v)
}
