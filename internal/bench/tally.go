package bench

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/lzstock/lzstock/internal/bench/report"
)

// group is a kind of clients that are measured apart.
type group uint8

const (
	healthy group = iota
	slow          // stalled and dripping
	groups
)

// tally is what some clients have counted for a moment. One goroutine at a time
// has it; then it goes to the run, and comes back empty.
type tally struct {
	measured bool // it belongs to the window
	counts   [groups]report.Counts
	age      [groups]*hdrhistogram.Histogram
	shake    *hdrhistogram.Histogram // handshakes
	opened   uint64
	left     uint64
	churned  uint64
	closes   map[closing]uint64
	refused  map[string]uint64
	failed   map[string]uint64
	errors   map[string]uint64
	throttle uint64
	gaps     uint64
	stale    uint64
}

// closing is one way in which the server ended a socket.
type closing struct {
	code uint16
	of   group
}

func newTally() *tally {
	return &tally{
		age:   [groups]*hdrhistogram.Histogram{report.NewHistogram(), report.NewHistogram()},
		shake: report.NewHistogram(), closes: map[closing]uint64{},
		refused: map[string]uint64{}, failed: map[string]uint64{}, errors: map[string]uint64{},
	}
}

// reset empties the tally.
func (t *tally) reset() {
	for _, h := range append(t.age[:], t.shake) {
		if h.TotalCount() > 0 {
			h.Reset()
		}
	}
	for _, m := range []map[string]uint64{t.refused, t.failed, t.errors} {
		clear(m)
	}
	clear(t.closes)
	*t = tally{age: t.age, shake: t.shake, closes: t.closes, refused: t.refused, failed: t.failed, errors: t.errors}
}

// record puts a time in nanoseconds into a histogram of microseconds. Clocks that
// differ a little must not make an event younger than new.
func record(h *hdrhistogram.Histogram, ns int64) {
	_ = h.RecordValue(min(max(ns/1000, 1), report.Longest)) // in range, so there is no error
}

// add puts b's counts into t, but for the ages, which the run keeps by window.
func (t *tally) add(b *tally) {
	for i := range t.counts {
		t.counts[i].Add(&b.counts[i])
	}
	t.shake.Merge(b.shake)
	t.opened += b.opened
	t.left += b.left
	t.churned += b.churned
	t.throttle += b.throttle
	t.gaps += b.gaps
	t.stale += b.stale
	for k, n := range b.closes {
		t.closes[k] += n
	}
	for _, m := range []struct{ to, from map[string]uint64 }{{t.refused, b.refused}, {t.failed, b.failed}, {t.errors, b.errors}} {
		for k, n := range m.from {
			m.to[k] += n
		}
	}
}

// cause names why a connection did not come about, in few words.
func cause(err error) string {
	var timeout net.Error
	var errno syscall.Errno
	switch {
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.As(err, &errno):
		return errno.Error()
	}
	text := err.Error()
	return text[strings.LastIndex(text, ": ")+1:]
}
