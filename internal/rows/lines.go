package rows

import (
	"bytes"
	"errors"
	"io"
)

// maxLine is the greatest length of a line in bytes.
const maxLine = 64 << 10

// ErrTooLong says that a line is longer than 64 KiB. The line is passed over.
var ErrTooLong = errors.New("the line is longer than 64 KiB")

// Lines splits an input into lines. It is for one goroutine.
type Lines struct {
	r          io.Reader
	buf        []byte
	start, end int   // what is unread in buf
	searched   int   // bytes from start that hold no end of line
	number     int   // of the line that Next gave last
	skipping   bool  // inside a line that is too long
	err        error // of r, to be given once buf is used up
}

// NewLines reads from r.
func NewLines(r io.Reader) *Lines { return &Lines{r: r, buf: make([]byte, maxLine+2)} }

// Number gives the number of the line that Next gave last, from 1.
func (l *Lines) Number() int { return l.number }

// Next gives the next line without its end (LF or CRLF); it is good until the
// next call. A last line without an end counts, where the input has ended
// cleanly: in an input that was cut short, it is half a line and dropped. The
// error is ErrTooLong, after which Next goes on; else the input's, which stays.
func (l *Lines) Next() ([]byte, error) {
	for {
		if i := bytes.IndexByte(l.buf[l.start+l.searched:l.end], '\n'); i >= 0 {
			line := l.buf[l.start : l.start+l.searched+i]
			l.start += l.searched + i + 1
			l.searched = 0
			if l.skipping {
				l.skipping = false
				continue
			}
			l.number++
			return bytes.TrimSuffix(line, []byte{'\r'}), nil
		}
		l.searched = l.end - l.start
		switch {
		case l.err != nil:
			line, cut := l.buf[l.start:l.end], l.skipping || !errors.Is(l.err, io.EOF)
			l.start, l.searched = l.end, 0
			if len(line) == 0 || cut {
				return nil, l.err
			}
			l.number++
			return bytes.TrimSuffix(line, []byte{'\r'}), nil
		case l.searched == len(l.buf):
			l.start, l.end, l.searched = 0, 0, 0
			if !l.skipping {
				l.skipping = true
				l.number++
				return nil, ErrTooLong
			}
		}
		l.fill()
	}
}

// Ready reports whether Next would answer without reading from the input.
func (l *Lines) Ready() bool {
	if l.skipping {
		return false // the end of a line that is passed over is no answer
	}
	return l.err != nil || bytes.IndexByte(l.buf[l.start+l.searched:l.end], '\n') >= 0
}

// fill reads once, at least one byte or an error.
func (l *Lines) fill() {
	if l.start > 0 {
		l.end = copy(l.buf, l.buf[l.start:l.end])
		l.start = 0
	}
	for range 100 { // as bufio does, against readers that give nothing for ever
		n, err := l.r.Read(l.buf[l.end:])
		l.end += n
		l.err = err
		if n > 0 || err != nil {
			return
		}
	}
	l.err = io.ErrNoProgress
}
