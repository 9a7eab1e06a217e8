package monitor

import (
	"slices"

	"github.com/lzstock/lzstock/market"
)

// history is what a checkpoint takes along so that the stretch of the feed before
// it can be read again: the topics' values at its beginning, and the derived
// events within it, which cannot be derived again without the bars of that time.
type history struct {
	marks   []mark         // ascending, one or two; the first is where the stretch begins
	derived []market.Event // after the first mark, ascending
}

// mark holds the values at one place.
type mark struct {
	at     market.Seq
	values []market.Event // ascending
}

func (h *history) begin(m mark, derived []market.Event) {
	h.marks, h.derived = []mark{m}, derived
}

func (h *history) add(derived []market.Event) { h.derived = append(h.derived, derived...) }

// newest gives the batch of the last mark.
func (h *history) newest() uint64 { return h.marks[len(h.marks)-1].at.Batch() }

// push adds a mark and lets the oldest of three go, with what was before the
// next.
func (h *history) push(m mark) {
	if h.marks = append(h.marks, m); len(h.marks) < 3 {
		return
	}
	h.marks = slices.Delete(h.marks, 0, 1)
	n := 0
	for n < len(h.derived) && h.derived[n].Seq <= h.marks[0].at {
		n++
	}
	h.derived = slices.Delete(h.derived, 0, n)
}
