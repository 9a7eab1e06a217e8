package monitor

import (
	"cmp"
	"context"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lzstock/lzstock/market"
)

// countingLog is a bus that holds batches from the first on, and counts what is read.
type countingLog struct {
	sessionLog
	batches []Message
	read    int
}

func (l *countingLog) Bounds(context.Context) (first, last market.Seq, err error) {
	return market.MakeSeq(1, 0), market.MakeSeq(uint64(len(l.batches)), 0), nil
}

func (l *countingLog) Read(_ context.Context, after market.Seq) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for _, m := range l.batches[after.Batch():] {
			if l.read++; !yield(m, nil) {
				return
			}
		}
	}
}

// TestPastInPages reads the past page by page, from histories and the bus, and
// compares it with what there was: of symbols that trade all the time, seldom, and
// hardly ever. A page that follows another reads nothing of before it without need.
func TestPastInPages(t *testing.T) {
	log := &countingLog{}
	e := newTestEngine(t, log, Config{History: 3})
	r := rand.New(rand.NewPCG(1, 2))
	var truth []market.Event
	last := lasts{}
	grow := func(n int) {
		for batch := uint64(len(log.batches) + 1); n > 0; batch, n = batch+1, n-1 {
			m := Message{Batch: batch, Epoch: 1, Source: "x"}
			add := func(symbol market.Symbol) {
				ev := market.Event{
					Seq: market.MakeSeq(batch, len(m.Events)), Channel: market.Quotes, Symbol: symbol, Quote: &market.Quote{Time: opening},
				}
				m.Events = append(m.Events, ev)
				ev.Prev, last[ev.Topic()] = last[ev.Topic()], ev.Seq
				truth = append(truth, ev)
			}
			for range r.IntN(4) {
				add([]market.Symbol{"A", "B", "C", "D", "E", "F"}[min(5, int(r.ExpFloat64()))])
			}
			if batch%300 == 7 { // beyond the first look back
				add("SELDOM")
			}
			if batch%2500 == 9 {
				add("HARDLY")
			}
			log.batches = append(log.batches, m)
			if err := e.hub.Publish(t.Context(), slices.Clone(m.Events)); err != nil { // the hub takes them over
				t.Fatal(err)
			}
			if err := e.hub.Advance(t.Context(), market.MakeSeq(batch, len(m.Events))); err != nil {
				t.Fatal(err)
			}
		}
	}
	grow(6000)
	all := []market.Topic{{Channel: market.Quotes, Symbol: market.AllSymbols}}
	for i := range 60 {
		end := truth[len(truth)-1].Seq
		at, limit := market.Seq(r.Uint64N(uint64(end))), 1+r.IntN(500)
		if i%2 == 0 { // histories have some of it
			at, limit = end-market.Seq(r.IntN(100*market.BatchLimit)), 1+r.IntN(20)
		}
		since := at
		var got []market.Event
		var before page
		log.read = 0
		for pages := 0; at < end; pages++ {
			p, err := e.past(t.Context(), all, at, limit, limit, before.last)
			if err != nil {
				t.Fatal(err)
			}
			if len(p.missed) > 0 || p.through <= at {
				t.Fatalf("after %d: missed %v, through %d", at, p.missed, p.through)
			}
			got, at, before = append(got, p.events...), p.through, p
			if i%3 == 0 && pages < 20 { // histories lose what they had
				grow(r.IntN(10))
				end = truth[len(truth)-1].Seq
			}
		}
		// Both of those that trade seldom may have to be looked for once.
		if most := int(end.Batch()-since.Batch()) + 2*len(got) + 4*len(log.batches); i%3 > 0 && log.read > most {
			t.Fatalf("since %d by %d: %d batches were read, want %d at most", since, limit, log.read, most)
		}
		first, _ := slices.BinarySearchFunc(truth, since+1, func(e market.Event, q market.Seq) int { return cmp.Compare(e.Seq, q) })
		same := func(a, b market.Event) bool { return a.Topic() == b.Topic() && a.Seq == b.Seq && a.Prev == b.Prev }
		if !slices.EqualFunc(got, truth[first:], same) {
			t.Fatalf("since %d by %d: %d events, want %d", since, limit, len(got), len(truth[first:]))
		}
	}
}
