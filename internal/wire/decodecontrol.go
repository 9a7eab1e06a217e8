package wire

import (
	"fmt"

	"github.com/lzstock/lzstock/market"
)

// success is either of the two messages of that type.
type success struct {
	msg string
	Connected
}

func (s *success) message() Message {
	switch s.msg {
	case "connected":
		return &s.Connected
	case "authenticated":
		return &Authenticated{}
	}
	return &Unknown{Type: "success"}
}

func (s *success) read(key string, v value) error {
	switch key {
	case "msg":
		return put(&s.msg, v, value.text)
	case "conn":
		return put(&s.Conn, v, value.text)
	case "epoch":
		return putWhole(&s.Epoch, v)
	case "ping_ms":
		return putMillis(&s.Ping, v)
	case "max_age_ms":
		return putMillis(&s.MaxAge, v)
	case "limits":
		return v.fields(func(key string, v value) error {
			switch key {
			case "symbols":
				return putWhole(&s.Limits.Symbols, v)
			case "commands_per_s":
				return putWhole(&s.Limits.CommandsPerSecond, v)
			case "message_bytes":
				return putWhole(&s.Limits.MessageBytes, v)
			}
			return nil
		})
	}
	return nil
}

func (m *Subscription) read(key string, v value) error {
	switch key {
	case "id":
		return put(&m.ID, v, value.id)
	case "delivery":
		return put(&m.Delivery, v, func(v value) (Delivery, error) {
			s, err := v.text()
			if err != nil {
				return 0, err
			}
			return ParseDelivery(s)
		})
	case "interval_ms":
		return putMillis(&m.Interval, v)
	case "rejected":
		return v.elements(func(v value) error {
			var r Rejection
			if err := v.fields(r.read); err != nil {
				return err
			}
			m.Rejected = append(m.Rejected, r)
			return nil
		})
	}
	for _, c := range market.Channels() {
		if key != c.String() {
			continue
		}
		list, err := v.strings()
		if err != nil {
			return err
		}
		for _, s := range list {
			m.Symbols[c] = append(m.Symbols[c], market.Symbol(s))
		}
	}
	return nil
}

func (r *Rejection) read(key string, v value) error {
	switch key {
	case "ch":
		return put(&r.Topic.Channel, v, func(v value) (market.Channel, error) {
			s, err := v.text()
			for _, c := range market.Channels() {
				if err == nil && s == c.String() {
					return c, nil
				}
			}
			return 0, err
		})
	case "S":
		return put(&r.Topic.Symbol, v, func(v value) (market.Symbol, error) {
			s, err := v.text()
			return market.Symbol(s), err
		})
	case "code":
		return putWhole(&r.Code, v)
	case "msg":
		return put(&r.Detail, v, value.text)
	}
	return nil
}

func (e *ErrorMessage) read(key string, v value) error {
	switch key {
	case "id":
		return put(&e.ID, v, value.id)
	case "code":
		return putWhole(&e.Code, v)
	case "msg":
		return put(&e.Detail, v, value.text)
	}
	return nil
}

func (m *Pong) read(key string, v value) error {
	switch key {
	case "id":
		return put(&m.ID, v, value.id)
	case "t":
		return put(&m.Time, v, value.time)
	}
	return nil
}

func (m *Heartbeat) read(key string, v value) error {
	switch key {
	case "t":
		return put(&m.Time, v, value.time)
	case "q":
		return putWhole(&m.Seq, v)
	}
	return nil
}

func readFeed(m *market.Feed, key string, v value) error {
	switch key {
	case "state":
		return put(&m.State, v, readFeedState)
	case "since":
		return put(&m.Since, v, value.time)
	case "epoch":
		return putWhole(&m.Epoch, v)
	case "reason":
		return put(&m.Reason, v, readFeedReason)
	case "sources":
		return v.elements(func(v value) error {
			var s market.FeedSource
			if err := v.fields(func(key string, v value) error { return readFeedSource(&s, key, v) }); err != nil {
				return err
			}
			m.Sources = append(m.Sources, s)
			return nil
		})
	}
	return nil
}

func readFeedSource(s *market.FeedSource, key string, v value) error {
	switch key {
	case "name":
		return put(&s.Name, v, value.text)
	case "state":
		return put(&s.State, v, readFeedState)
	case "since":
		return put(&s.Since, v, value.time)
	case "reason":
		return put(&s.Reason, v, readFeedReason)
	}
	return nil
}

func readFeedState(v value) (market.FeedState, error) {
	s, err := v.text()
	if err != nil {
		return 0, err
	}
	for _, state := range [...]market.FeedState{market.FeedLive, market.FeedStale, market.FeedDown} {
		if s == state.String() {
			return state, nil
		}
	}
	return 0, fmt.Errorf("%s is not known: want live, stale or down", short(s))
}

// readFeedReason gives 0 for a reason that is not known: others may be added.
func readFeedReason(v value) (market.FeedReason, error) {
	s, err := v.text()
	if err != nil {
		return 0, err
	}
	for _, r := range market.FeedReasons() {
		if s == r.String() {
			return r, nil
		}
	}
	return 0, nil
}

func readGap(m *market.Gap, key string, v value) error {
	switch key {
	case "reason":
		return put(&m.Reason, v, func(v value) (market.GapReason, error) {
			s, err := v.text()
			if err != nil {
				return 0, err
			}
			for _, r := range [...]market.GapReason{market.GapExpired, market.GapEpoch} {
				if s == r.String() {
					return r, nil
				}
			}
			return 0, fmt.Errorf("%s is not known: want expired or epoch", short(s))
		})
	case "from":
		return put(&m.From, v, readPosition)
	case "to":
		return put(&m.To, v, readPosition)
	}
	return nil
}

func readPosition(v value) (market.Position, error) {
	s, err := v.text()
	if err != nil {
		return market.Position{}, err
	}
	return market.ParsePosition(s)
}

func (m *Throttle) read(key string, v value) error {
	if key != "state" {
		return nil
	}
	s, err := v.text()
	m.On = s == "on"
	return err
}

func (m *Reconnect) read(key string, v value) error {
	switch key {
	case "reason":
		return put(&m.Reason, v, func(v value) (Reason, error) {
			s, err := v.text()
			for _, r := range [...]Reason{Drain, MaxAge} {
				if s == r.String() {
					return r, err
				}
			}
			return 0, err // whatever it is, the client has to move
		})
	case "delay_ms":
		return putMillis(&m.Delay, v)
	case "deadline_ms":
		return putMillis(&m.Deadline, v)
	case "since":
		return put(&m.Since, v, readPosition)
	}
	return nil
}

func (m *Expiring) read(key string, v value) error {
	if key != "expires" {
		return nil
	}
	return put(&m.At, v, value.time)
}
