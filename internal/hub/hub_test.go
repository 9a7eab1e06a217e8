package hub

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lzstock/lzstock/internal/leak"
	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/market"
)

func TestMain(m *testing.M) { leak.Main(m) }

// recorder is a Sink that takes everything at once, while it is not held.
type recorder struct {
	mu      sync.Mutex
	got     []mailbox.Delivery
	notices []Notice
	failed  error
	held    bool
	wake    func(now time.Time) time.Time
	onFlush func()
}

func (r *recorder) Flush(box *mailbox.Mailbox, now time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.onFlush != nil {
		r.onFlush()
	}
	if !r.held {
		for d, ok := box.NextSnapshot(); ok; d, ok = box.NextSnapshot() {
			r.got = append(r.got, d)
		}
		for d, ok := box.Next(); ok; d, ok = box.Next() {
			r.got = append(r.got, d)
		}
	}
	if r.wake != nil {
		return r.wake(now)
	}
	return time.Time{}
}

func (r *recorder) Announce(n Notice) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notices = append(r.notices, n)
}

func (r *recorder) Fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = err
}

func (r *recorder) take() []mailbox.Delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.got
	r.got = nil
	return got
}

func (r *recorder) err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

// gaps counts what the member was told of lost events.
func (r *recorder) gaps() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, notice := range r.notices {
		if notice.Gap != nil {
			n++
		}
	}
	return n
}

func trade(q market.Seq, symbol market.Symbol) market.Event {
	return market.Event{Seq: q, Channel: market.Trades, Symbol: symbol, Trade: &market.Trade{Price: market.Price(q)}}
}

func tradesOf(symbols ...market.Symbol) (out []market.Topic) {
	for _, s := range symbols {
		out = append(out, market.Topic{Channel: market.Trades, Symbol: s})
	}
	return out
}

// start runs a hub in the bubble until the test ends.
func start(t *testing.T, cfg Config) *Hub {
	t.Helper()
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = h.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return h
}

func join(t *testing.T, h *Hub, sink Sink, opts mailbox.Options) *Member {
	t.Helper()
	m, err := h.Join(t.Context(), sink, opts)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func seqs(got []mailbox.Delivery) (out []market.Seq) {
	for _, d := range got {
		out = append(out, d.Item.Event().Seq)
	}
	return out
}

func TestSnapshotThenEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{Open: true, Shards: 2})
		must(t, h.Publish(t.Context(), []market.Event{trade(1, "A"), trade(2, "B"), trade(3, "A")}))
		var r recorder
		m := join(t, h, &r, mailbox.Options{})
		must(t, m.Subscribe(t.Context(), Subscription{Topics: tradesOf("B", "A", "C"), Snapshot: true}, func(at market.Seq) {
			if at != 3 {
				t.Errorf("subscribed at %d", at)
			}
		}))
		must(t, h.Publish(t.Context(), []market.Event{trade(4, "A"), trade(5, "D"), trade(6, "C")}))
		synctest.Wait()
		got := r.take()
		if !slices.Equal(seqs(got), []market.Seq{2, 3, 4, 6}) || !got[1].Snapshot || got[2].Snapshot || got[2].Prev != 3 || got[3].Prev != 0 {
			t.Fatalf("%+v", got)
		}
		must(t, m.Unsubscribe(t.Context(), tradesOf("A"), nil))
		must(t, h.Publish(t.Context(), []market.Event{trade(7, "A"), trade(8, "C")}))
		synctest.Wait()
		if got := r.take(); !slices.Equal(seqs(got), []market.Seq{8}) || got[0].Prev != 6 {
			t.Fatalf("after unsubscribe: %+v", got)
		}
		m.Leave()
		m.Leave()
		must(t, h.Publish(t.Context(), []market.Event{trade(9, "C")}))
		synctest.Wait()
		if got := r.take(); len(got) != 0 || h.Stats().Members != 0 {
			t.Fatalf("after leave: %+v, %+v", got, h.Stats())
		}
	})
}

func TestTopicsLiveOnlyWhileCarried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{Shards: 1})
		var r recorder
		m := join(t, h, &r, mailbox.Options{})
		must(t, m.Subscribe(t.Context(), Subscription{Topics: tradesOf("A", "B"), Snapshot: true}, nil))
		must(t, h.Publish(t.Context(), []market.Event{trade(5, "A")})) // in flight from an earlier life
		must(t, h.Replace(t.Context(), tradesOf("A", "B"), []market.Event{trade(7, "A")}))
		must(t, h.Publish(t.Context(), []market.Event{trade(8, "A"), trade(9, "B")}))
		synctest.Wait()
		if got := r.take(); !slices.Equal(seqs(got), []market.Seq{7, 8, 9}) || !got[0].Snapshot || got[2].Snapshot {
			t.Fatalf("%+v", got)
		}
		m.Leave()
		must(t, h.Forget(t.Context(), tradesOf("A", "B")))
		synctest.Wait()
		if st := h.Stats(); st.Topics != 0 {
			t.Fatalf("topics are left: %+v", st)
		}
	})
}

// TestRepeatedEventsAreIgnored has a feed that was resumed tell again what came
// before.
func TestRepeatedEventsAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{Open: true, Shards: 1})
		var r recorder
		m := join(t, h, &r, mailbox.Options{})
		must(t, m.Subscribe(t.Context(), Subscription{Topics: tradesOf("A", "B")}, nil))
		must(t, h.Publish(t.Context(), []market.Event{trade(1, "A"), trade(2, "B"), trade(3, "A")}))
		must(t, h.Publish(t.Context(), []market.Event{trade(2, "B"), trade(3, "A"), trade(4, "B")}))
		synctest.Wait()
		if got := seqs(r.take()); !slices.Equal(got, []market.Seq{1, 2, 3, 4}) {
			t.Errorf("got %v", got)
		}
	})
}

func TestWildcard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{Shards: 1})
		var r recorder
		m := join(t, h, &r, mailbox.Options{})
		must(t, m.Subscribe(t.Context(), Subscription{Topics: tradesOf("*", "A"), Snapshot: true}, nil))
		must(t, h.Replace(t.Context(), tradesOf("*"), []market.Event{trade(1, "A"), trade(2, "B")}))
		must(t, h.Publish(t.Context(), []market.Event{trade(3, "NEW"), trade(4, "A")}))
		synctest.Wait()
		if got := r.take(); !slices.Equal(seqs(got), []market.Seq{1, 2, 3, 4}) {
			t.Fatalf("%+v", got)
		}
		must(t, m.Unsubscribe(t.Context(), tradesOf("*"), nil))
		must(t, h.Publish(t.Context(), []market.Event{trade(5, "B"), trade(6, "A")}))
		synctest.Wait()
		if got := r.take(); !slices.Equal(seqs(got), []market.Seq{6}) {
			t.Fatalf("after *: %+v", got)
		}
		must(t, h.Forget(t.Context(), tradesOf("*")))
		must(t, h.Publish(t.Context(), []market.Event{trade(7, "A")}))
		synctest.Wait()
		if got := r.take(); len(got) != 0 || h.Stats().Topics != 1 {
			t.Fatalf("not carried: %+v, %+v", got, h.Stats())
		}
	})
}

// TestPast asks for what is held of topics, all at once and page by page, with more
// than one shard.
func TestPast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{Open: true, Shards: 2, History: 4})
		must(t, h.Base(t.Context(), 10))
		for q := market.Seq(11); q <= 20; q++ {
			must(t, h.Publish(t.Context(), []market.Event{trade(q, market.Symbol("AB"[q%2:q%2+1])), trade(q, "C")}))
		}
		must(t, h.Advance(t.Context(), 22))
		for _, tc := range []struct {
			after   market.Seq
			topics  string
			limit   int
			got     string // SYMBOL SEQ<PREV
			through market.Seq
			lacks   string
		}{
			{after: 20, topics: "*", limit: 100, through: 22},
			{after: 18, topics: "*", limit: 100, got: "B19<17 C19<18 A20<18 C20<19", through: 22},
			{after: 18, topics: "A", limit: 100, got: "A20<18", through: 22},
			{after: 18, topics: "NONE", limit: 100, through: 22},
			{after: 17, topics: "*", limit: 1, got: "A18<16 C18<17", through: 18}, // no position is torn
			{after: 17, topics: "*", limit: 3, got: "A18<16 C18<17 B19<17 C19<18", through: 19},
			{after: 17, topics: "*", limit: 6, got: "A18<16 C18<17 B19<17 C19<18 A20<18 C20<19", through: 22},
			{after: 13, topics: "A", limit: 100, got: "A14<12 A16<14 A18<16 A20<18", through: 22},
			{after: 11, topics: "A", limit: 2, got: "A14<12 A16<14", through: 16, lacks: "A12"},
			{after: 3, topics: "A", limit: 2, got: "A14<12 A16<14", through: 16, lacks: "A12"},
			{after: 14, topics: "*", limit: 2, got: "B15<13 A16<14", through: 16, lacks: "C16"},
		} {
			p, err := h.Past(t.Context(), tradesOf(market.Symbol(tc.topics)), tc.after, tc.limit)
			must(t, err)
			var got, lacks []string
			for _, e := range p.Events {
				got = append(got, fmt.Sprintf("%s%d<%d", e.Symbol, e.Seq, e.Prev))
			}
			for topic, held := range p.Lacks {
				lacks = append(lacks, fmt.Sprintf("%s%d", topic.Symbol, held))
			}
			if g, l := strings.Join(got, " "), strings.Join(lacks, " "); g != tc.got || l != tc.lacks || p.Through != tc.through {
				t.Errorf("%s after %d, %d: %s through %d, lacks %s; want %s through %d, lacks %s",
					tc.topics, tc.after, tc.limit, g, p.Through, l, tc.got, tc.through, tc.lacks)
			}
		}
	})
}

func TestGapTellsListenersAndTakesSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{Shards: 2})
		var hit, other recorder
		a, b := join(t, h, &hit, mailbox.Options{}), join(t, h, &other, mailbox.Options{})
		must(t, a.Subscribe(t.Context(), Subscription{Topics: tradesOf("A")}, nil))
		must(t, b.Subscribe(t.Context(), Subscription{Topics: tradesOf("B")}, nil))
		must(t, h.Replace(t.Context(), tradesOf("A", "B"), nil))
		must(t, h.Publish(t.Context(), []market.Event{trade(100, "A"), trade(101, "B")}))
		must(t, h.Gap(t.Context(), market.Gap{
			Reason: market.GapEpoch, From: market.Position{Epoch: 1, Seq: 101}, To: market.Position{Epoch: 2, Seq: 5}, Topics: tradesOf("A"),
		}))
		must(t, h.Replace(t.Context(), tradesOf("A"), []market.Event{trade(4, "A")}))
		must(t, h.Publish(t.Context(), []market.Event{trade(6, "A")}))
		synctest.Wait()
		got := hit.take()
		if !slices.Equal(seqs(got), []market.Seq{100, 4, 6}) || !got[1].Snapshot || got[2].Prev != 4 {
			t.Errorf("%+v", got)
		}
		if len(hit.notices) != 1 || hit.notices[0].Gap.Reason != market.GapEpoch || len(other.notices) != 0 {
			t.Errorf("notices %+v and %+v", hit.notices, other.notices)
		}
	})
}

func TestPanicEndsOneMemberAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{Open: true, Shards: 1})
		var good recorder
		bad := recorder{onFlush: func() { panic("boom") }}
		opts := mailbox.Options{}
		for _, r := range []*recorder{&bad, &good} {
			m := join(t, h, r, opts)
			must(t, m.Subscribe(t.Context(), Subscription{Topics: tradesOf("A")}, nil))
		}
		must(t, h.Publish(t.Context(), []market.Event{trade(1, "A")}))
		synctest.Wait()
		var p *PanicError
		if !errors.As(bad.err(), &p) || good.err() != nil || len(good.take()) != 1 || h.Stats().Members != 1 {
			t.Fatalf("bad: %v, good: %v, %+v", bad.err(), good.err(), h.Stats())
		}
	})
}

func TestEveryOverflowFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{Open: true, Shards: 1})
		slow, fast := recorder{held: true}, recorder{}
		for _, r := range []*recorder{&slow, &fast} {
			m := join(t, h, r, mailbox.Options{Mode: mailbox.Every, Limit: 2})
			must(t, m.Subscribe(t.Context(), Subscription{Topics: tradesOf("A")}, nil))
		}
		for q := market.Seq(1); q <= 3; q++ {
			must(t, h.Publish(t.Context(), []market.Event{trade(q, "A")}))
			synctest.Wait()
		}
		if !errors.Is(slow.err(), mailbox.ErrOverflow) || fast.err() != nil || len(fast.take()) != 3 {
			t.Fatalf("slow: %v, fast: %v", slow.err(), fast.err())
		}
	})
}

func TestWakeIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{Shards: 1})
		calls := map[time.Duration]int{}
		begin := time.Now()
		r := recorder{wake: func(now time.Time) time.Time {
			calls[now.Sub(begin)]++
			return now.Truncate(time.Second).Add(time.Second)
		}}
		join(t, h, &r, mailbox.Options{})
		time.Sleep(time.Hour - time.Millisecond)
		synctest.Wait()
		if len(calls) != 3600 {
			t.Fatalf("%d calls in an hour", len(calls))
		}
	})
}

func TestEndFailsWhoIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, err := New(Config{})
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = h.Run(ctx) })
		var r recorder
		m := join(t, h, &r, mailbox.Options{})
		synctest.Wait()
		cancel()
		wg.Wait()
		if !errors.Is(r.err(), ErrClosed) {
			t.Errorf("left member: %v", r.err())
		}
		m.Leave()
		if _, _, err := h.Snapshot(t.Context(), nil); !errors.Is(err, ErrClosed) {
			t.Errorf("snapshot after the end: %v", err)
		}
	})
}

// TestNoGapNoDuplicate has many members subscribe and unsubscribe at random
// while events are published, and holds each against the published list.
func TestNoGapNoDuplicate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{Open: true, Shards: 3, Inbox: 4})
		symbols := []market.Symbol{"A", "B", "C", "D"}
		var published []market.Event
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, 1))
			for q := market.Seq(1); ; {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(rng.IntN(1000)) * time.Microsecond):
				}
				var batch []market.Event
				for range 1 + rng.IntN(5) {
					batch = append(batch, trade(q, symbols[rng.IntN(4)]))
					q++
				}
				published = append(published, batch...)
				if h.Publish(t.Context(), batch) != nil {
					return
				}
			}
		})
		sinks := make([]recorder, 20)
		var subscribers sync.WaitGroup
		for i := range sinks {
			subscribers.Go(func() {
				rng := rand.New(rand.NewPCG(2, uint64(i)))
				for range 20 {
					m, err := h.Join(t.Context(), &sinks[i], mailbox.Options{Mode: mailbox.Every})
					if err != nil {
						t.Error(err)
						return
					}
					symbol := symbols[rng.IntN(4)]
					_ = m.Subscribe(t.Context(), Subscription{Topics: tradesOf(symbol), Snapshot: true}, nil)
					time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
					m.Leave()
					checkRun(t, sinks[i].take(), symbol)
				}
			})
		}
		subscribers.Wait()
		close(stop)
		wg.Wait()
		if len(published) < 1000 {
			t.Errorf("only %d events", len(published))
		}
	})
}

// checkRun holds that one subscription's deliveries are a snapshot and then
// every event of its symbol: what checks itself through prev, since the hub
// never reorders.
func checkRun(t *testing.T, got []mailbox.Delivery, symbol market.Symbol) {
	t.Helper()
	var last market.Seq
	for i, d := range got {
		e := d.Item.Event()
		if e.Symbol != symbol || e.Seq <= last || d.Snapshot != (i == 0 && d.Snapshot) || (!d.Snapshot && d.Prev != last) {
			t.Errorf("%s: delivery %d is %d after %d, prev %d", symbol, i, e.Seq, last, d.Prev)
		}
		last = e.Seq
	}
}

func BenchmarkPublish(b *testing.B) {
	for _, subscribers := range []int{1, 100, 10_000} {
		b.Run(strconv.Itoa(subscribers), func(b *testing.B) { benchmarkPublish(b, subscribers) })
	}
}

// discard takes everything and keeps nothing.
type discard struct{}

func (discard) Flush(box *mailbox.Mailbox, _ time.Time) time.Time {
	for {
		if _, ok := box.Next(); !ok {
			return time.Time{}
		}
	}
}
func (discard) Announce(Notice) {}
func (discard) Fail(error)      {}

// benchmarkPublish gives the cost of 64 events of 10 symbols, to subscribers who
// each listen to all of them.
func benchmarkPublish(b *testing.B, subscribers int) {
	b.Helper()
	h, err := New(Config{Open: true})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = h.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	symbols := map[market.Symbol]bool{}
	for i := range 10 {
		symbols[market.Symbol(fmt.Sprintf("S%d", i))] = true
	}
	names := slices.Sorted(maps.Keys(symbols))
	for range subscribers {
		m, err := h.Join(ctx, discard{}, mailbox.Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := m.Subscribe(ctx, Subscription{Topics: tradesOf(names...)}, nil); err != nil {
			b.Fatal(err)
		}
	}
	payload := &market.Trade{}
	var q market.Seq
	b.ReportAllocs()
	for b.Loop() {
		events := make([]market.Event, 64)
		for i := range events {
			q++
			events[i] = market.Event{Seq: q, Channel: market.Trades, Symbol: names[i%10], Trade: payload}
		}
		if err := h.Publish(ctx, events); err != nil {
			b.Fatal(err)
		}
	}
	if _, _, err := h.Snapshot(ctx, nil); err != nil { // all shards' inboxes are short: wait for one
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64/float64(subscribers), "ns/delivery")
}
