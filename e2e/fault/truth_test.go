package fault

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lzstock/lzstock/e2e/rows"
	"github.com/lzstock/lzstock/internal/bus"
	"github.com/lzstock/lzstock/market"
)

// fact is one event that was published.
type fact struct{ q, content uint64 }

// truth is all that was published, by topic and in order.
type truth struct {
	topics map[string][]fact
	total  int
}

// readTruth reads all that the bus holds, over a connection of its own.
func readTruth(t *testing.T, nats string) *truth {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b, err := bus.Dial(ctx, bus.Config{URL: nats, Name: "truth"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	_, end, err := b.Bounds(ctx)
	if err != nil {
		t.Fatal(err)
	}
	out := &truth{topics: map[string][]fact{}}
	if end == 0 {
		return out
	}
	for m, err := range b.Read(ctx, 0) {
		if err != nil {
			t.Fatalf("read the truth: %v", err)
		}
		for i := range m.Events {
			e := &m.Events[i]
			key, f := factOf(e)
			out.topics[key] = append(out.topics[key], f)
			out.total++
		}
		if m.Batch >= end.Batch() {
			break
		}
	}
	return out
}

// factOf writes an event's numbers as they must be on the wire.
func factOf(e *market.Event) (string, fact) {
	var texts [len(contents)][]byte
	texts[0] = []byte(e.Time().UTC().Format(time.RFC3339Nano))
	typ := "t"
	switch {
	case e.Trade != nil:
		texts[1], texts[2] = []byte(e.Trade.Price.String()), []byte(e.Trade.Size.String())
	case e.Quote != nil:
		typ = "q"
		texts[3], texts[4] = []byte(e.Quote.BidPrice.String()), []byte(e.Quote.BidSize.String())
		texts[5], texts[6] = []byte(e.Quote.AskPrice.String()), []byte(e.Quote.AskSize.String())
	case e.Status != nil:
		typ = "s"
	}
	return typ + string(e.Symbol), fact{uint64(e.Seq), hashOf(&texts)}
}

// isTape fails the test where what was published is not exactly the tape's rows.
func (tr *truth) isTape(t *testing.T, file string) {
	t.Helper()
	want, n := tapeRows(t, file)
	for key, contents := range want {
		got := tr.topics[key]
		if len(got) != len(contents) {
			t.Errorf("the bus holds %d events of %s, the tape %d", len(got), key, len(contents))
			continue
		}
		for i := range got {
			if got[i].content != contents[i] {
				t.Errorf("event %d of %s on the bus is not the tape's", i, key)
				break
			}
		}
	}
	if tr.total != n {
		t.Errorf("the bus holds %d events, the tape %d", tr.total, n)
	}
}

// tapeRows gives the contents of a tape's rows by topic, in order. It is no reader
// of the project's.
func tapeRows(t *testing.T, file string) (map[string][]uint64, int) {
	t.Helper()
	read := rows.Read(t, file)
	out := map[string][]uint64{}
	for _, r := range read {
		texts := [len(contents)][]byte{[]byte(r.Time.Format(time.RFC3339Nano))}
		for i, n := range r.Numbers {
			texts[i+1] = []byte(n)
		}
		key := r.Type[:1] + r.Symbol
		out[key] = append(out[key], hashOf(&texts))
	}
	return out, len(read)
}

// busiest gives the n symbols with the most rows.
func busiest(rows map[string][]uint64, n int) []string {
	count := map[string]int{}
	for key, list := range rows {
		count[key[1:]] += len(list)
	}
	return slices.SortedFunc(maps.Keys(count), func(a, b string) int {
		return cmp.Or(count[b]-count[a], strings.Compare(a, b))
	})[:n]
}

func (tr *truth) String() string {
	return fmt.Sprintf("%d events of %d topics", tr.total, len(tr.topics))
}
