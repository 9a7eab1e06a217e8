package wire

import (
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

func (s *scanner) unexpected(want string) error {
	if s.i >= len(s.b) {
		return errShort
	}
	return fmt.Errorf("unexpected %q at byte %d: want %s", s.b[s.i], s.i, want)
}

// space skips white space, which only JSON has.
func (s *scanner) space() {
	if s.enc == MsgPack {
		return
	}
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

func (s *scanner) peek() byte {
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

func (s *scanner) take(c byte) bool {
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

// more tells whether another element follows in an object or array that is known
// to be well formed, of which n are left where the encoding says so.
func (s *scanner) more(end byte, n int) bool {
	if s.enc == MsgPack {
		return n > 0
	}
	s.space()
	s.take(',')
	s.space()
	return s.i < len(s.b) && s.b[s.i] != end
}

func (s *scanner) colon() {
	if s.enc == JSON {
		s.space()
		s.take(':')
	}
}

// openObject steps into an object and gives the number of its fields, where the
// encoding says it.
func (s *scanner) openObject() (n int, ok bool) {
	if s.enc == MsgPack {
		return s.packMap()
	}
	s.space()
	return 0, s.take('{')
}

func (s *scanner) openArray() (n int, ok bool) {
	if s.enc == MsgPack {
		return s.packArray()
	}
	s.space()
	return 0, s.take('[')
}

// skipJSON checks one JSON value (RFC 8259) and steps over it.
func (s *scanner) skipJSON(depth int) error {
	s.space()
	switch c := s.peek(); {
	case c == '{' || c == '[':
		if depth == 0 {
			return fmt.Errorf("objects and arrays stand more than %d deep in one another", maxDepth)
		}
		return s.skipNest(c, depth-1)
	case c == '"':
		return s.skipString()
	case c == '-' || c >= '0' && c <= '9':
		return s.skipNumber()
	case c == 't':
		return s.skipWord("true")
	case c == 'f':
		return s.skipWord("false")
	case c == 'n':
		return s.skipWord("null")
	}
	return s.unexpected("a JSON value")
}

func (s *scanner) skipNest(open byte, depth int) error {
	end := open + 2 // ] follows [ and } follows { at this distance in ASCII
	s.i++
	s.space()
	if s.take(end) {
		return nil
	}
	for {
		if open == '{' {
			if s.space(); s.peek() != '"' {
				return s.unexpected("a key in double quotes")
			}
			if err := s.skipString(); err != nil {
				return err
			}
			if s.space(); !s.take(':') {
				return s.unexpected("a colon")
			}
		}
		if err := s.skipJSON(depth); err != nil {
			return err
		}
		s.space()
		if s.take(end) {
			return nil
		}
		if !s.take(',') {
			return s.unexpected(fmt.Sprintf("a comma or %q", end))
		}
	}
}

func (s *scanner) skipWord(word string) error {
	if len(s.b)-s.i < len(word) || string(s.b[s.i:s.i+len(word)]) != word {
		return s.unexpected(word)
	}
	s.i += len(word)
	return nil
}

func (s *scanner) skipString() error {
	for s.i++; s.i < len(s.b); {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return nil
		case c < ' ':
			return fmt.Errorf("control character %#x in a string at byte %d", c, s.i)
		case c == '\\':
			if err := s.skipEscape(); err != nil {
				return err
			}
		case c < utf8.RuneSelf:
			s.i++
		default:
			r, size := utf8.DecodeRune(s.b[s.i:])
			if r == utf8.RuneError && size == 1 {
				return fmt.Errorf("bytes that are not UTF-8 at byte %d", s.i)
			}
			s.i += size
		}
	}
	return errShort
}

func (s *scanner) skipEscape() error {
	s.i++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i++
		return nil
	case 'u':
		if s.i+5 > len(s.b) {
			return errShort
		}
		if _, err := strconv.ParseUint(string(s.b[s.i+1:s.i+5]), 16, 16); err != nil {
			return fmt.Errorf("bad \\u escape at byte %d", s.i)
		}
		s.i += 5
		return nil
	}
	return s.unexpected("an escape")
}

func (s *scanner) digits() bool {
	start := s.i
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i > start
}

func (s *scanner) skipNumber() error {
	s.take('-')
	if !s.take('0') && !s.digits() {
		return s.unexpected("a digit")
	}
	if s.take('.') && !s.digits() {
		return s.unexpected("a digit")
	}
	if s.take('e') || s.take('E') {
		if !s.take('+') {
			s.take('-')
		}
		if !s.digits() {
			return s.unexpected("a digit")
		}
	}
	return nil
}

// jsonText decodes a string. Halves of surrogate pairs become U+FFFD.
func (v value) jsonText() (string, error) {
	if v.raw[0] != '"' {
		return "", v.errType("a string")
	}
	in := v.raw[1 : len(v.raw)-1]
	i := 0
	for i < len(in) && in[i] != '\\' {
		i++
	}
	if i == len(in) {
		return string(in), nil
	}
	out := append([]byte(nil), in[:i]...)
	for i < len(in) {
		if in[i] != '\\' {
			out = append(out, in[i])
			i++
			continue
		}
		switch c := in[i+1]; c {
		case 'u':
			r := hexRune(in[i+2:])
			i += 4
			if utf16.IsSurrogate(r) {
				pair := rune(utf8.RuneError)
				if len(in) >= i+8 && in[i+2] == '\\' && in[i+3] == 'u' {
					pair = utf16.DecodeRune(r, hexRune(in[i+4:]))
				}
				if pair != utf8.RuneError {
					i += 6
				}
				r = pair
			}
			out = utf8.AppendRune(out, r)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		default:
			out = append(out, c)
		}
		i += 2
	}
	return string(out), nil
}

func hexRune(b []byte) rune {
	n, err := strconv.ParseUint(string(b[:4]), 16, 16)
	if err != nil {
		return utf8.RuneError
	}
	return rune(n)
}

func (v value) jsonUint() (uint64, error) {
	n, err := strconv.ParseUint(string(v.raw), 10, 64)
	if err != nil {
		return 0, v.errType("a whole number, not negative")
	}
	return n, nil
}

func (v value) jsonInt() (int64, error) {
	n, err := strconv.ParseInt(string(v.raw), 10, 64)
	if err != nil {
		return 0, v.errType("a whole number")
	}
	return n, nil
}
