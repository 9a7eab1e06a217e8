package browser

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/lzstock/lzstock/client"
	"github.com/lzstock/lzstock/e2e/proc"
	lz "github.com/lzstock/lzstock/market"
)

// entry is a topic's account in the page.
type entry struct {
	First, Last    int64
	Events, Merged int64
	Hash           uint32
	Breaks         int
}

type account struct {
	Topics  map[string]entry
	Repeats int
}

// witness is a client in Go that hears the same topics by another gateway, which
// nobody touches.
type witness struct {
	t    *testing.T
	mu   sync.Mutex
	came map[string][]lz.Event
}

// watch has a witness begin, and waits until it hears of every topic.
func watch(t *testing.T, address string, symbols ...lz.Symbol) *witness {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	c, err := client.Dial(ctx, client.Config{URL: "ws://" + address, Delivery: client.Every, OnGap: func(g client.Gap) { t.Errorf("the witness has a gap: %v", g) }})
	if err != nil {
		stop()
		t.Fatal(err)
	}
	w := &witness{t: t, came: map[string][]lz.Event{}}
	var reading sync.WaitGroup
	reading.Go(func() {
		for e, err := range c.Events() {
			if err != nil {
				return
			}
			if !e.Snapshot {
				w.mu.Lock()
				key := map[lz.Channel]string{lz.Trades: "t:", lz.Quotes: "q:"}[e.Channel] + string(e.Symbol)
				w.came[key] = append(w.came[key], e.Event)
				w.mu.Unlock()
			}
		}
	})
	t.Cleanup(func() { _ = c.Close(); stop(); reading.Wait() })
	if err := c.Subscribe(ctx, append(client.Trades(symbols...), client.Quotes(symbols...)...)...); err != nil {
		t.Fatal(err)
	}
	proc.Eventually(t, "events of every topic for the witness", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.came) == 2*len(symbols)
	})
	return w
}

// compare holds the page's account against the witness's: the same events, none
// missing, none twice, at the same prices, in the same order.
func (w *witness) compare(p *tab, least int64) {
	w.t.Helper()
	a := eval[account](p, "lzstock.ledger()")
	if a.Repeats > 0 {
		w.t.Errorf("the page was given %d events twice", a.Repeats)
	}
	w.mu.Lock()
	keys := slices.Sorted(maps.Keys(w.came))
	w.mu.Unlock()
	var total int64
	for _, key := range keys {
		got := a.Topics[key]
		proc.Eventually(w.t, "what the page has, for the witness: "+key, func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			list := w.came[key]
			return len(list) > 0 && int64(list[len(list)-1].Seq) >= got.Last
		})
		w.mu.Lock()
		want := entry{First: got.First, Last: got.Last, Merged: got.Merged}
		for _, e := range w.came[key] {
			if q := int64(e.Seq); q > got.First && q <= got.Last {
				want.Events++
				want.Hash = fold(want.Hash, &e)
			}
		}
		w.mu.Unlock()
		total += got.Events
		if got != want || got.Merged > 0 {
			w.t.Errorf("%s: the page has %+v, the witness %+v", key, got, want)
		}
	}
	w.t.Logf("%d events compared", total)
	if total < least {
		w.t.Errorf("%d events in all: want %d at least to compare", total, least)
	}
}

// fold is what the page reckons: FNV-1a over position and price, going on from h.
func fold(h uint32, e *lz.Event) uint32 {
	text := fmt.Sprint(uint64(e.Seq), " ")
	if e.Trade != nil {
		text += e.Trade.Price.String()
	} else {
		text += e.Quote.BidPrice.String() + " " + e.Quote.AskPrice.String()
	}
	if h == 0 {
		h = fnvStart
	}
	for _, b := range []byte(text) {
		h = (h ^ uint32(b)) * fnvPrime
	}
	return h
}

const (
	fnvStart uint32 = 0x811c9dc5
	fnvPrime uint32 = 0x01000193
)

// TestFold holds fold against the library's.
func TestFold(t *testing.T) {
	h := fnv.New32a()
	_, _ = h.Write([]byte("20 230.1"))
	e := lz.Event{Channel: lz.Trades, Seq: 20, Trade: &lz.Trade{Price: 230_100_000_000}}
	if got := fold(0, &e); got != h.Sum32() {
		t.Errorf("%x, want %x", got, h.Sum32())
	}
}
