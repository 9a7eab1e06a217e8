package hub

import (
	"sort"

	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/market"
)

// window holds a shard's most recent events, of all topics together and in order,
// for members that catch up. It shares them with the mailboxes: their encodings are
// made once.
type window struct {
	entries []passed // a ring; its length is a power of two
	start   int
	count   int
	floor   market.Seq // the greatest position that was pushed out, or was never held
}

// passed is one event that has passed.
type passed struct {
	topic *topic
	item  mailbox.Item
	seq   market.Seq
	prev  market.Seq // of the topic's event before it
}

func (w *window) push(p passed, limit int) {
	switch {
	case w.count == limit:
		w.floor = w.entries[w.start].seq
		w.entries[w.start] = passed{}
		w.start = (w.start + 1) & (len(w.entries) - 1)
		w.count--
	case w.count == len(w.entries):
		grown := make([]passed, max(64, 2*len(w.entries)))
		n := copy(grown, w.entries[w.start:])
		copy(grown[n:], w.entries[:w.start])
		w.entries, w.start = grown, 0
	}
	w.entries[(w.start+w.count)&(len(w.entries)-1)] = p
	w.count++
}

// at gives entry i, the oldest being 0.
func (w *window) at(i int) *passed { return &w.entries[(w.start+i)&(len(w.entries)-1)] }

// after gives the index of the first entry behind a position.
func (w *window) after(pos market.Seq) int {
	return sort.Search(w.count, func(i int) bool { return w.at(i).seq > pos })
}
