package fault

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"strconv"
	"testing"
)

// msg is one message of a frame: the parts that a ledger minds. Its slices live as
// long as the frame.
type msg struct {
	typ, symbol []byte
	q, pq, k    uint64
	snap        bool
	content     uint64 // of time, prices and sizes as they were written
	raw         []byte
}

// seed is that of all content hashes.
var seed = maphash.MakeSeed()

// contents are the keys whose texts are compared.
var contents = [...]string{"t", "p", "s", "bp", "bs", "ap", "as"}

// hashOf gives the content of an event whose numbers are written so, in the order of
// contents.
func hashOf(texts *[len(contents)][]byte) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, text := range texts {
		_, _ = h.Write(text) // never fails
		_ = h.WriteByte('|')
	}
	return h.Sum64()
}

// scan calls each with every message of a frame, which must be an array of objects.
// It is no reader of the project's.
func scan(frame []byte, each func(m *msg) error) error {
	if len(frame) < 4 || frame[0] != '[' || frame[len(frame)-1] != ']' {
		return fmt.Errorf("junk frame %q", frame)
	}
	var m msg
	last := uint64(0)
	for at := 1; ; {
		end, err := scanObject(frame, at, &m)
		if err != nil {
			return fmt.Errorf("%w in frame %q", err, frame)
		}
		m.raw = frame[at:end]
		if m.q < last {
			return fmt.Errorf("q runs back in frame %q", frame)
		}
		last = m.q
		if err := each(&m); err != nil {
			return err
		}
		if end == len(frame)-1 {
			return nil
		}
		if frame[end] != ',' {
			return fmt.Errorf("no comma at %d in frame %q", end, frame)
		}
		at = end + 1
	}
}

var errJunk = errors.New("junk")

// scanObject reads the object at a place, and gives the place behind it.
func scanObject(frame []byte, at int, m *msg) (int, error) {
	*m = msg{}
	var texts [len(contents)][]byte
	if frame[at] != '{' {
		return 0, errJunk
	}
	for at++; ; at++ {
		key, end := scanValue(frame, at)
		if end <= at || end >= len(frame) || frame[end] != ':' || len(key) < 2 {
			return 0, errJunk
		}
		value, behind := scanValue(frame, end+1)
		if behind <= end+1 || behind >= len(frame) {
			return 0, errJunk
		}
		name := string(key[1 : len(key)-1])
		switch name {
		case "T":
			m.typ = bytes.Trim(value, `"`)
		case "S":
			m.symbol = bytes.Trim(value, `"`)
		case "q", "pq", "k":
			n, err := strconv.ParseUint(string(value), 10, 64)
			if err != nil {
				return 0, errJunk
			}
			switch name {
			case "q":
				m.q = n
			case "pq":
				m.pq = n
			default:
				m.k = n
			}
		case "snap":
			m.snap = string(value) == "true"
		default:
			for i, c := range contents {
				if c == name {
					texts[i] = bytes.Trim(value, `"`)
				}
			}
		}
		if at = behind; frame[at] == '}' {
			m.content = hashOf(&texts)
			return at + 1, nil
		}
		if frame[at] != ',' {
			return 0, errJunk
		}
	}
}

// scanValue gives the value at a place, and the place behind it.
func scanValue(frame []byte, at int) ([]byte, int) {
	depth, quoted := 0, false
	for i := at; i < len(frame); i++ {
		switch c := frame[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case depth > 0 && (c == '}' || c == ']'):
			depth--
		case depth == 0 && (c == ',' || c == ':' || c == '}' || c == ']'):
			return frame[at:i], i
		}
	}
	return nil, len(frame)
}

// field gives a text or a number of a message, as it was written.
func (m *msg) field(name string) string {
	key := []byte(`"` + name + `":`)
	i := bytes.Index(m.raw, key)
	if i < 0 {
		return ""
	}
	value, _ := scanValue(m.raw, i+len(key))
	return string(bytes.Trim(value, `"`))
}

// TestScan reads what is on the wire, and refuses what is none of it.
func TestScan(t *testing.T) {
	var got []string
	see := func(m *msg) error {
		got = append(got, fmt.Sprintf("%s %s %d %d %d %t", m.typ, m.symbol, m.q, m.pq, m.k, m.snap))
		return nil
	}
	err := scan([]byte(`[{"T":"t","S":"A\"]","q":7,"pq":3,"k":2,"c":["@","I"],"p":1.5},{"T":"q","S":"B","q":7,"snap":true,"x":{"y":[1]}}]`), see)
	if want := `[t A\"] 7 3 2 false q B 7 0 0 true]`; err != nil || fmt.Sprint(got) != want {
		t.Errorf("got %v, %v, want %s", got, err, want)
	}
	m := msg{raw: []byte(`{"T":"feed","state":"live","n":5}`)}
	if m.field("state") != "live" || m.field("n") != "5" || m.field("none") != "" {
		t.Errorf("fields are %q, %q, %q", m.field("state"), m.field("n"), m.field("none"))
	}
	for _, junk := range []string{``, `[]`, `{}`, `[{"T":"t"}`, `[{"T":"t"},]`, `[{"T":"t"}{"T":"t"}]`, `[{"q":5},{"q":4}]`, `[{"q":-1}]`, `null`, `[{"T"}]`} {
		if err := scan([]byte(junk), func(*msg) error { return nil }); err == nil {
			t.Errorf("%q is read", junk)
		}
	}
}
