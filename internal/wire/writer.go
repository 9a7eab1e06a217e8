package wire

import (
	"strconv"
	"time"
)

// writer writes one object in either encoding. Control messages are rare, so it
// is made for being read, not for speed.
type writer struct {
	enc   Encoding
	dst   []byte
	n     int // fields of the open object so far
	start int // where its header stands
}

// begin starts an array of one message.
func begin(dst []byte, f Format, typ string) *writer {
	w := &writer{enc: f.Encoding(), dst: dst}
	w.array(1)
	w.open()
	w.text("T", typ)
	return w
}

// end completes what begin started.
func (w *writer) end() []byte {
	w.close(writer{})
	w.endArray()
	return w.dst
}

// open starts an object as a value. close needs what it returns.
func (w *writer) open() (outer writer) {
	outer = *w
	w.start, w.n = len(w.dst), 0
	if w.enc == MsgPack {
		w.dst = append(w.dst, mpFixMap)
	} else {
		w.dst = append(w.dst, '{')
	}
	return outer
}

// close ends the object; the one around it is open again.
func (w *writer) close(outer writer) {
	if w.enc == MsgPack {
		w.dst[w.start] |= byte(w.n) // no message has more than the 15 that fit
	} else {
		w.dst = append(w.dst, '}')
	}
	w.start, w.n = outer.start, outer.n
}

// key starts a field.
func (w *writer) key(k string) {
	if w.enc == JSON && w.n > 0 {
		w.dst = append(w.dst, ',')
	}
	w.n++
	w.str(k)
	if w.enc == JSON {
		w.dst = append(w.dst, ':')
	}
}

func (w *writer) array(n int) {
	if w.enc == MsgPack {
		w.dst = appendPackArray(w.dst, n)
	} else {
		w.dst = append(w.dst, '[')
	}
}

// comma comes before element i of an array.
func (w *writer) comma(i int) {
	if w.enc == JSON && i > 0 {
		w.dst = append(w.dst, ',')
	}
}

func (w *writer) endArray() {
	if w.enc == JSON {
		w.dst = append(w.dst, ']')
	}
}

func (w *writer) str(s string) {
	if w.enc == MsgPack {
		w.dst = appendPackString(w.dst, s)
	} else {
		w.dst = appendJSONString(w.dst, s)
	}
}

func (w *writer) int(n int64) {
	if w.enc == MsgPack {
		w.dst = appendPackInt(w.dst, n)
	} else {
		w.dst = strconv.AppendInt(w.dst, n, 10)
	}
}

func (w *writer) text(key, value string) {
	w.key(key)
	w.str(value)
}

func (w *writer) number(key string, value uint64) {
	w.key(key)
	if w.enc == MsgPack {
		w.dst = appendPackUint(w.dst, value)
	} else {
		w.dst = strconv.AppendUint(w.dst, value, 10)
	}
}

func (w *writer) truth(key string, value bool) {
	w.key(key)
	switch {
	case w.enc == JSON:
		w.dst = strconv.AppendBool(w.dst, value)
	case value:
		w.dst = append(w.dst, mpTrue)
	default:
		w.dst = append(w.dst, mpFalse)
	}
}

func (w *writer) time(key string, value time.Time) {
	w.key(key)
	if w.enc == MsgPack {
		w.dst = appendPackTime(w.dst, value)
	} else {
		w.dst = appendJSONTime(w.dst, value)
	}
}

// id writes the field id, unless there is none.
func (w *writer) id(id ID) {
	if id != "" {
		w.key("id")
		w.dst = append(w.dst, id...)
	}
}
