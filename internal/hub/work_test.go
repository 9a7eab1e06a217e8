package hub

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/market"
)

func all(ch market.Channel) []market.Topic {
	return []market.Topic{{Channel: ch, Symbol: market.AllSymbols}}
}

func someSymbols(n int) (out []market.Symbol) {
	for i := range n {
		out = append(out, market.Symbol(fmt.Sprintf("S%05d", i)))
	}
	return out
}

// What takes long for one member is done in slices, while events are published, and
// nobody can tell: positions ascend, nothing is missing, nothing comes twice, and
// nothing comes of what was taken back.
func TestSlicesAreNotSeen(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			h := start(t, Config{Open: true, Shards: 1, Slice: 1 + rng.IntN(3)})
			symbols := someSymbols(40)
			truth := map[market.Symbol][]market.Seq{}
			q := market.Seq(0)
			publish := func(n int) {
				for range n {
					q++
					symbol := symbols[rng.IntN(len(symbols))]
					truth[symbol] = append(truth[symbol], q)
					must(t, h.Publish(t.Context(), []market.Event{trade(q, symbol)}))
				}
			}
			publish(60)
			r := &recorder{}
			m := join(t, h, r, mailbox.Options{Mode: mailbox.Every})
			allow := only(symbols[10:]...)
			var wg sync.WaitGroup
			wg.Go(func() { publish(200) })
			must(t, m.Subscribe(t.Context(), Subscription{Topics: append(tradesOf(symbols[5], "NEW"), all(market.Trades)...), Snapshot: true}, nil))
			wg.Wait()
			synctest.Wait()
			got := r.take()
			if s := seqs(got); !slices.IsSorted(s) {
				t.Fatalf("seed %d: positions do not ascend: %d", seed, s)
			}
			checkTopics(t, got, truth, symbols)
			wg.Go(func() { publish(200) })
			must(t, m.Restrict(t.Context(), allow, nil))
			wg.Wait()
			synctest.Wait()
			r.take()
			publish(100)
			synctest.Wait()
			got = r.take()
			for _, d := range got {
				if !allow(d.Item.Event().Topic()) {
					t.Fatalf("seed %d: got %s, which was taken back", seed, d.Item.Event().Symbol)
				}
			}
			wg.Go(func() { publish(200) })
			must(t, m.Unsubscribe(t.Context(), all(market.Trades), func() { r.take() }))
			wg.Wait()
			synctest.Wait()
			for _, d := range r.take() {
				t.Fatalf("seed %d: got %s after it was unsubscribed", seed, d.Item.Event().Symbol)
			}
			must(t, m.Subscribe(t.Context(), Subscription{Topics: all(market.Trades)}, nil))
			m.Leave()
			publish(1)
			synctest.Wait()
			if got := r.take(); len(got) > 0 || h.Stats().Members != 0 || h.Stats().Queued != 0 {
				t.Fatalf("seed %d: after it left: %d events, %+v", seed, len(got), h.Stats())
			}
			for _, topic := range h.shards[0].channels[market.Trades].topics {
				if len(topic.subs) > 0 {
					t.Fatalf("seed %d: %s is still listened to", seed, topic.name)
				}
			}
		})
	}
}

// checkTopics holds that the last of each symbol was delivered, and all between the
// first that was and that.
func checkTopics(t *testing.T, got []mailbox.Delivery, truth map[market.Symbol][]market.Seq, symbols []market.Symbol) {
	t.Helper()
	by := map[market.Symbol][]market.Seq{}
	for _, d := range got {
		e := d.Item.Event()
		if last := by[e.Symbol]; len(last) > 0 && d.Prev != last[len(last)-1] {
			t.Errorf("%s: %d follows %d, and names %d", e.Symbol, e.Seq, last[len(last)-1], d.Prev)
		}
		by[e.Symbol] = append(by[e.Symbol], e.Seq)
	}
	for _, symbol := range symbols {
		want := truth[symbol]
		if n := len(by[symbol]); n > len(want) || (n == 0 && len(want) > 0) || !slices.Equal(by[symbol], want[len(want)-n:]) {
			t.Errorf("%s: got %d of %d", symbol, by[symbol], want)
		}
	}
}

// A member that asks for much does not hold up those behind it.
func TestMuchIsDoneInSlices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{Open: true, Shards: 1})
		for q, symbol := range someSymbols(20 * sliceTopics) {
			must(t, h.Publish(t.Context(), []market.Event{trade(market.Seq(q+1), symbol)}))
		}
		greedy, other := join(t, h, &recorder{}, mailbox.Options{}), join(t, h, &recorder{}, mailbox.Options{})
		synctest.Wait()
		for name, ask := range map[string]func(done func()) error{
			"subscribe": func(done func()) error {
				return greedy.Subscribe(t.Context(), Subscription{Topics: all(market.Trades), Snapshot: true}, func(market.Seq) { done() })
			},
			"restrict":    func(done func()) error { return greedy.Restrict(t.Context(), only("S00001"), done) },
			"unsubscribe": func(done func()) error { return greedy.Unsubscribe(t.Context(), all(market.Trades), done) },
		} {
			must(t, greedy.Restrict(t.Context(), nil, nil))
			must(t, greedy.Subscribe(t.Context(), Subscription{Topics: all(map[bool]market.Channel{true: market.Quotes, false: market.Trades}[name == "subscribe"])}, nil))
			synctest.Wait()
			var order []string
			must(t, ask(func() { order = append(order, name) }))
			must(t, other.Do(t.Context(), func(time.Time) { order = append(order, "other") }))
			synctest.Wait()
			if !slices.Equal(order, []string{"other", name}) {
				t.Errorf("got %q", order)
			}
		}
	})
}

// What somebody asked for that there never was costs nothing once it is gone, and
// costs those who listen to all symbols nothing ever.
func TestTopicsThatNeverWereAreForgotten(t *testing.T) {
	for _, open := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			h := start(t, Config{Open: open, Shards: 2})
			if !open {
				must(t, h.Replace(t.Context(), all(market.Trades), nil))
			}
			listener := join(t, h, &recorder{}, mailbox.Options{})
			must(t, listener.Subscribe(t.Context(), Subscription{Topics: all(market.Trades), Snapshot: true}, nil))
			m := join(t, h, &recorder{}, mailbox.Options{})
			invented := tradesOf(someSymbols(2000)...)
			for range 3 {
				must(t, m.Subscribe(t.Context(), Subscription{Topics: invented, Snapshot: true}, nil))
				must(t, h.Gap(t.Context(), market.Gap{Reason: market.GapExpired, Topics: all(market.Trades)}))
				if !open {
					must(t, h.Replace(t.Context(), all(market.Trades), nil))
				}
				synctest.Wait()
				if n := len(listener.subs); n != 0 {
					t.Errorf("open %t: who listens to all has %d topics", open, n)
				}
				must(t, m.Unsubscribe(t.Context(), invented, nil))
				synctest.Wait()
			}
			for _, s := range h.shards {
				if c := &s.channels[market.Trades]; len(c.topics) != 0 || len(c.order) > 64 {
					t.Errorf("open %t: %d topics are left, and %d in order", open, len(c.topics), len(c.order))
				}
			}
		})
	}
}

// What a member got because its symbol appeared, it has not asked for: once it does, it
// gets the current value, as of anything else.
func TestListedTopicsHaveSnapshots(t *testing.T) {
	for name, topics := range map[string][]market.Topic{"by name": tradesOf("NEW"), "by the wildcard": all(market.Trades)} {
		synctest.Test(t, func(t *testing.T) {
			h := start(t, Config{Open: true, Shards: 1})
			var r recorder
			m := join(t, h, &r, mailbox.Options{})
			must(t, m.Subscribe(t.Context(), Subscription{Listed: true}, nil))
			must(t, h.List(t.Context(), []market.Symbol{"NEW"}))
			must(t, h.Publish(t.Context(), []market.Event{trade(1, "NEW"), trade(2, "NEW")}))
			must(t, m.Subscribe(t.Context(), Subscription{Topics: topics, Snapshot: true}, nil))
			must(t, m.Unsubscribe(t.Context(), tradesOf("OTHER"), nil))
			synctest.Wait()
			must(t, h.Publish(t.Context(), []market.Event{trade(3, "NEW")}))
			synctest.Wait()
			got := r.take()
			last := got[len(got)-1]
			if snapshots := slices.ContainsFunc(got, func(d mailbox.Delivery) bool { return d.Snapshot && d.Item.Event().Seq == 2 }); !snapshots || last.Prev != 2 || last.Item.Event().Seq != 3 {
				t.Errorf("%s: got %+v", name, got)
			}
		})
	}
}
