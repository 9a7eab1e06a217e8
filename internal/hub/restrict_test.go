package hub

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/market"
)

// only allows symbols.
func only(symbols ...market.Symbol) func(market.Topic) bool {
	return func(t market.Topic) bool { return slices.Contains(symbols, t.Symbol) }
}

// names gives what was delivered, a snapshot with a star.
func names(got []mailbox.Delivery) string {
	var out []string
	for _, d := range got {
		name := string(d.Item.Event().Symbol)
		if d.Snapshot {
			name += "*"
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

func TestRestrictNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{Open: true, Shards: 1})
		var r, other recorder
		m, o := join(t, h, &r, mailbox.Options{}), join(t, h, &other, mailbox.Options{})
		must(t, m.Subscribe(t.Context(), Subscription{Topics: tradesOf("A", "B", "C")}, nil))
		must(t, o.Subscribe(t.Context(), Subscription{Topics: tradesOf("A", "B", "C")}, nil))
		told := false
		must(t, m.Restrict(t.Context(), only("B"), func() { told = true }))
		must(t, h.Publish(t.Context(), []market.Event{trade(1, "A"), trade(2, "B"), trade(3, "C")}))
		synctest.Wait()
		if got := names(r.take()); got != "B" || !told {
			t.Errorf("got %s, told %t", got, told)
		}
		if got := names(other.take()); got != "A B C" {
			t.Errorf("another got %s", got)
		}
		must(t, m.Restrict(t.Context(), nil, nil)) // names that were taken back do not return
		must(t, h.Publish(t.Context(), []market.Event{trade(4, "A"), trade(5, "B")}))
		synctest.Wait()
		if got := names(r.take()); got != "B" {
			t.Errorf("got %s after all", got)
		}
	})
}

func TestRestrictWildcard(t *testing.T) {
	for _, snapshot := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			h := start(t, Config{Open: true, Shards: 1})
			must(t, h.Publish(t.Context(), []market.Event{trade(1, "A"), trade(2, "B")}))
			var r recorder
			m := join(t, h, &r, mailbox.Options{})
			must(t, m.Restrict(t.Context(), only("A", "N"), nil))
			must(t, m.Subscribe(t.Context(), Subscription{Topics: tradesOf("*"), Snapshot: snapshot}, nil))
			must(t, h.Publish(t.Context(), []market.Event{trade(3, "B"), trade(4, "N"), trade(5, "X"), trade(6, "A")}))
			synctest.Wait()
			want := "N A"
			if snapshot {
				want = "A* N A"
			}
			if got := names(r.take()); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			// Narrower, then wider: what is covered anew comes with its value, once.
			must(t, m.Restrict(t.Context(), only("X"), nil))
			synctest.Wait() // X is flushed alone
			must(t, m.Restrict(t.Context(), nil, nil))
			must(t, m.Restrict(t.Context(), nil, nil))
			synctest.Wait()
			must(t, h.Publish(t.Context(), []market.Event{trade(7, "B"), trade(8, "NEW")}))
			synctest.Wait()
			want = "B NEW"
			if snapshot {
				want = "X* B* N* A* B NEW"
			}
			if got := names(r.take()); got != want {
				t.Errorf("widened: got %s, want %s", got, want)
			}
		})
	}
}

// TestRestrictKeepsWhatStays has a topic go on as if nothing had happened, and a
// name that is within the wildcard too outlive it.
func TestRestrictKeepsWhatStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{Open: true, Shards: 1})
		var r recorder
		m := join(t, h, &r, mailbox.Options{})
		must(t, m.Subscribe(t.Context(), Subscription{Topics: tradesOf("*", "A"), Snapshot: true}, nil))
		must(t, h.Publish(t.Context(), []market.Event{trade(1, "A"), trade(2, "B")}))
		must(t, m.Restrict(t.Context(), only("A"), nil))
		must(t, h.Publish(t.Context(), []market.Event{trade(3, "A"), trade(4, "B")}))
		must(t, m.Unsubscribe(t.Context(), tradesOf("*"), nil))
		must(t, h.Publish(t.Context(), []market.Event{trade(5, "A"), trade(6, "B")}))
		synctest.Wait()
		got := r.take()
		var last mailbox.Delivery
		for _, d := range got {
			if d.Item.Event().Symbol == "A" {
				if last.Item != (mailbox.Item{}) && d.Prev != last.Item.Event().Seq {
					t.Errorf("%+v follows %+v", d, last)
				}
				last = d
			}
		}
		if n := len(got); last.Item.Event().Seq != 5 || names(got[n-2:]) != "A A" {
			t.Errorf("got %s", names(got))
		}
	})
}

// TestRestrictTakesBackWhatWaits has events that are not allowed any more not
// reach a member that was slow.
func TestRestrictTakesBackWhatWaits(t *testing.T) {
	for _, opts := range []mailbox.Options{{Mode: mailbox.Adaptive, Limit: 100}, {Mode: mailbox.Adaptive, Limit: 2}, {Mode: mailbox.Latest}, {Mode: mailbox.Every, Limit: 100}} {
		synctest.Test(t, func(t *testing.T) {
			h := start(t, Config{Open: true, Shards: 1})
			must(t, h.Publish(t.Context(), []market.Event{trade(1, "A"), trade(2, "B")}))
			r := recorder{held: true}
			m := join(t, h, &r, opts)
			must(t, m.Subscribe(t.Context(), Subscription{Topics: tradesOf("*", "A"), Snapshot: true}, nil))
			must(t, h.Publish(t.Context(), []market.Event{trade(3, "A"), trade(4, "B"), trade(5, "A"), trade(6, "B"), trade(7, "C")}))
			synctest.Wait()
			r.mu.Lock()
			r.held = false
			r.mu.Unlock()
			must(t, m.Restrict(t.Context(), only("B"), nil))
			synctest.Wait()
			got := names(r.take())
			if strings.ContainsAny(got, "AC") || !strings.HasSuffix(got, "B") {
				t.Errorf("%v: got %s", opts.Mode, got)
			}
		})
	}
}

// TestRestrictAfterLeave does nothing.
func TestRestrictAfterLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{Open: true, Shards: 1})
		var r recorder
		m := join(t, h, &r, mailbox.Options{})
		m.Leave()
		must(t, m.Restrict(t.Context(), nil, func() { t.Error("it was told") }))
		synctest.Wait()
	})
}

// TestRestrictFreesTopics leaves no topic behind that nobody has.
func TestRestrictFreesTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{Shards: 1})
		var r recorder
		m := join(t, h, &r, mailbox.Options{})
		must(t, m.Subscribe(t.Context(), Subscription{Topics: tradesOf("A", "B", "C")}, nil))
		must(t, m.Restrict(t.Context(), only("B"), nil))
		synctest.Wait()
		if n := h.Stats().Topics; n != 1 {
			t.Errorf("%d topics", n)
		}
	})
}

// TestRestrictModel has random restrictions, subscriptions and events: a member
// gets exactly what it has and may have.
func TestRestrictModel(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			symbols := []market.Symbol{"A", "B", "C", "D", "E", "F"}
			h := start(t, Config{Open: true, Shards: 1})
			var rec recorder
			m := join(t, h, &rec, mailbox.Options{Mode: mailbox.Every, Limit: 1000})
			named, wild := map[market.Symbol]bool{}, false
			allow := func(market.Symbol) bool { return true }
			seq := market.Seq(0)
			for range 60 {
				s := symbols[r.IntN(len(symbols))]
				switch r.IntN(6) {
				case 0:
					if allow(s) { // who subscribes by name looks itself
						must(t, m.Subscribe(t.Context(), Subscription{Topics: tradesOf(s)}, nil))
						named[s] = true
					}
				case 1:
					must(t, m.Unsubscribe(t.Context(), tradesOf(s), nil))
					delete(named, s)
				case 2:
					wild = true
					must(t, m.Subscribe(t.Context(), Subscription{Topics: tradesOf("*")}, nil))
				case 3:
					wild = false
					must(t, m.Unsubscribe(t.Context(), tradesOf("*"), nil))
				case 4:
					mask := r.IntN(1 << len(symbols))
					allow = func(s market.Symbol) bool { return mask&(1<<slices.Index(symbols, s)) != 0 }
					now := allow
					must(t, m.Restrict(t.Context(), func(t market.Topic) bool { return now(t.Symbol) }, nil))
					for s := range named {
						if !allow(s) {
							delete(named, s)
						}
					}
				}
				seq++
				must(t, h.Publish(t.Context(), []market.Event{trade(seq, s)}))
				synctest.Wait()
				if got, want := len(rec.take()) == 1, named[s] || (wild && allow(s)); got != want {
					t.Fatalf("seed %d: %s came: %t, want %t", seed, s, got, want)
				}
			}
		})
	}
}
