package scan

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// walk reads any message, with its fields in any order, and returns its length.
func (s *Scanner) walk(b []byte, m *Message) (int, error) {
	if len(b) == 0 || b[0] != '{' {
		return 0, errFrame
	}
	*m = Message{Merged: 1}
	var symbol []byte
	typed := false
	at := 1
	for {
		at = spaceFrom(b, at)
		if at < len(b) && b[at] == '}' {
			break
		}
		key, next, err := skip(b, at)
		if err != nil {
			return 0, err
		}
		if next = spaceFrom(b, next); next >= len(b) || b[next] != ':' {
			return 0, errors.New("a key has no colon behind it")
		}
		val, next, err := skip(b, spaceFrom(b, next+1))
		if err != nil {
			return 0, err
		}
		name, err := text(key)
		if err != nil {
			return 0, err
		}
		switch {
		case val[0] == 'n': // null is as good as absent
		case name == nil:
		case string(name) == "T" && !typed:
			letter, err := text(val)
			if err != nil {
				return 0, err
			}
			typed = true
			if len(letter) == 1 {
				m.Channel = channelOf(letter[0])
			}
		case string(name) == "S":
			if symbol, err = text(val); err != nil {
				return 0, err
			}
		default:
			if err := s.field(string(name), val, m); err != nil {
				return 0, fmt.Errorf("field %s: %w", name, err)
			}
		}
		if at = spaceFrom(b, next); at < len(b) && b[at] == ',' {
			at++
		} else if at >= len(b) || b[at] != '}' {
			return 0, errors.New("fields have no comma between them")
		}
	}
	if m.Channel != 0 {
		m.Topic = Topic(m.Channel, symbol)
	}
	return at + 1, nil
}

// field reads what comes once in a message of data. Messages of control have
// fields of the same names and other types: they are not wrong.
func (s *Scanner) field(name string, val []byte, m *Message) error {
	var err error
	switch name {
	case "q":
		m.Seq, err = whole(val)
	case "pq":
		m.Prev, err = whole(val)
	case "k":
		var n uint64
		n, err = whole(val)
		m.Merged = max(1, uint32(n))
	case "snap":
		m.Snapshot = val[0] == 't'
	case "t":
		m.At, err = s.anyTime(val)
	}
	return err
}

func whole(val []byte) (uint64, error) {
	if val[0] == '"' {
		return 0, nil
	}
	return strconv.ParseUint(string(val), 10, 64)
}

func (s *Scanner) anyTime(val []byte) (int64, error) {
	if val[0] != '"' {
		return 0, nil
	}
	if at, ok := s.time(val[1:]); ok {
		return at, nil
	}
	str, err := text(val)
	if err != nil {
		return 0, err
	}
	t, err := time.Parse(time.RFC3339Nano, string(str))
	if err != nil {
		return 0, fmt.Errorf("bad time: %w", err)
	}
	return t.UnixNano(), nil
}

// text gives what a JSON string says.
func text(val []byte) ([]byte, error) {
	if val[0] != '"' {
		return nil, fmt.Errorf("%.20s is no string", val)
	}
	for _, c := range val {
		if c == '\\' {
			var s string
			if err := json.Unmarshal(val, &s); err != nil {
				return nil, fmt.Errorf("bad string: %w", err)
			}
			return []byte(s), nil
		}
	}
	return val[1 : len(val)-1], nil
}

func spaceFrom(b []byte, at int) int {
	if at >= len(b) {
		return at
	}
	return len(b) - len(skipSpace(b[at:]))
}

// skip gives the JSON value at a place, and the place behind it.
func skip(b []byte, at int) (val []byte, next int, err error) {
	depth := 0
	for i := at; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if i >= len(b) {
				return nil, 0, errShort
			}
		case '{', '[':
			depth++
			continue
		case '}', ']':
			depth--
		case ',', ':', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return nil, 0, errors.New("a value is missing")
			}
			continue
		default:
			for i+1 < len(b) && !ends(b[i+1]) {
				i++
			}
		}
		if depth <= 0 {
			if depth < 0 {
				return nil, 0, errors.New("a bracket too many")
			}
			return b[at : i+1], i + 1, nil
		}
	}
	return nil, 0, errShort
}

// ends tells whether c ends a number or a word.
func ends(c byte) bool {
	switch c {
	case ',', ':', ']', '}', ' ', '\n', '\t', '\r', '"', '[', '{':
		return true
	}
	return false
}
