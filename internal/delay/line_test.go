package delay

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/leak"
	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/internal/upstream"
	"github.com/lzstock/lzstock/market"
)

func TestMain(m *testing.M) { leak.Main(m) }

var (
	_ Sink          = (*hub.Hub)(nil)
	_ Sink          = (*Line)(nil)
	_ Sink          = upstream.Sink(nil)
	_ upstream.Sink = Sink(nil)
)

// call is what a sink got, and when.
type call struct {
	at     time.Duration
	kind   kind // 0 is Publish
	topics []market.Topic
	events []market.Event
	gap    market.Gap
	feed   *market.Feed
}

// recorder is a Sink that keeps what it gets.
type recorder struct {
	start time.Time
	mu    sync.Mutex
	calls []call
	fail  error
	hold  chan struct{} // where set, calls wait for it
}

func newRecorder() *recorder { return &recorder{start: time.Now()} }

func (r *recorder) keep(ctx context.Context, c call) error {
	if r.hold != nil {
		select {
		case <-r.hold:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c.at = time.Since(r.start)
	r.calls = append(r.calls, c)
	return r.fail
}

func (r *recorder) Publish(ctx context.Context, events []market.Event) error {
	return r.keep(ctx, call{events: events})
}

func (r *recorder) Replace(ctx context.Context, topics []market.Topic, events []market.Event) error {
	return r.keep(ctx, call{kind: replace, topics: topics, events: events})
}

func (r *recorder) Forget(ctx context.Context, topics []market.Topic) error {
	return r.keep(ctx, call{kind: forget, topics: topics})
}

func (r *recorder) Gap(ctx context.Context, g market.Gap) error {
	return r.keep(ctx, call{kind: gap, topics: g.Topics, gap: g})
}

func (r *recorder) Feed(ctx context.Context, feed market.Feed) error {
	return r.keep(ctx, call{feed: &feed})
}

func (r *recorder) take() []call {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.calls
	r.calls = nil
	return out
}

// published gives the events of calls of Publish, and when they came.
func published(calls []call) (events []market.Event, at []time.Duration) {
	for _, c := range calls {
		if c.kind == 0 && c.feed == nil {
			for i := range c.events {
				events, at = append(events, c.events[i]), append(at, c.at)
			}
		}
	}
	return events, at
}

func trade(q market.Seq, symbol market.Symbol) market.Event {
	return market.Event{Seq: q, Channel: market.Trades, Symbol: symbol, Trade: &market.Trade{Price: market.Price(q)}}
}

func trades(symbols ...market.Symbol) (out []market.Topic) {
	for _, s := range symbols {
		out = append(out, market.Topic{Channel: market.Trades, Symbol: s})
	}
	return out
}

func ok(tb testing.TB, errs ...error) {
	tb.Helper()
	if err := errors.Join(errs...); err != nil {
		tb.Fatal(err)
	}
}

// run starts a line in front of to. It ends with the test.
func run(t *testing.T, by time.Duration, to Sink, cfg Config) *Line {
	t.Helper()
	l, err := New(by, to, cfg)
	ok(t, err)
	ctx, cancel := context.WithCancelCause(context.Background())
	enough := errors.New("enough")
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := l.Run(ctx); !errors.Is(err, enough) {
			t.Errorf("Run gave %v", err)
		}
	})
	t.Cleanup(func() { cancel(enough); wg.Wait() })
	return l
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct {
		by   time.Duration
		to   Sink
		cfg  Config
		want string
	}{
		{0, newRecorder(), Config{}, "more than 0"},
		{time.Second, nil, Config{}, "a sink is needed"},
		{time.Second, newRecorder(), Config{Events: -1}, "negative"},
		{time.Second, newRecorder(), Config{Operations: -1}, "negative"},
	} {
		if _, err := New(c.by, c.to, c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

func TestAllComesOutInOrderAndLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		l := run(t, 15*time.Minute, r, Config{})
		ctx := t.Context()
		position := func(q market.Seq) market.Position { return market.Position{Epoch: 1, Seq: q} }
		lost := market.Gap{Reason: market.GapExpired, From: position(2), To: position(7), Topics: trades("A")}

		ok(t, l.Replace(ctx, trades("A", "B"), []market.Event{trade(1, "A")}))
		time.Sleep(time.Minute)
		ok(t, l.Publish(ctx, []market.Event{trade(2, "A"), trade(2, "B")}))
		time.Sleep(time.Minute)
		ok(t, l.Gap(ctx, lost), l.Publish(ctx, nil), l.Forget(ctx, trades("B")))
		if st := l.Stats(); st.Waiting != 3 || st.Operations != 7 || time.Since(st.Oldest) != 2*time.Minute {
			t.Errorf("got %+v", st)
		}
		time.Sleep(13*time.Minute - 1)
		if got := r.take(); len(got) > 0 {
			t.Fatalf("%v came early", got)
		}
		time.Sleep(time.Hour)
		want := []call{
			{at: 15 * time.Minute, kind: replace, topics: trades("A", "B"), events: []market.Event{trade(1, "A")}},
			{at: 16 * time.Minute, events: []market.Event{trade(2, "A"), trade(2, "B")}},
			{at: 17 * time.Minute, kind: gap, topics: trades("A"), gap: lost},
			{at: 17 * time.Minute, kind: forget, topics: trades("B")},
		}
		if d := cmp.Diff(want, r.take(), cmp.AllowUnexported(call{})); d != "" {
			t.Error(d)
		}
		if st := l.Stats(); st != (Stats{}) || len(l.parts) > 0 || l.Position().Seq != 2 {
			t.Errorf("%+v, %d parts and %v are left", st, len(l.parts), l.Position())
		}
	})
}

func TestFeedPassesAtOnceWithTheEpochThatComesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		l := run(t, time.Minute, r, Config{})
		ctx := t.Context()
		live := func(e market.Epoch) market.Feed { return market.Feed{State: market.FeedLive, Epoch: e} }
		stale := market.Feed{State: market.FeedStale}
		change := market.Gap{Reason: market.GapEpoch, From: market.Position{Epoch: 7, Seq: 9}, To: market.Position{Epoch: 8, Seq: 3}}

		ok(t, l.Feed(ctx, stale))
		synctest.Wait()
		ok(t, l.Feed(ctx, live(7)), l.Publish(ctx, []market.Event{trade(9, "A")}))
		synctest.Wait()
		time.Sleep(10 * time.Second)
		ok(t, l.Gap(ctx, change), l.Feed(ctx, live(8)), l.Publish(ctx, []market.Event{trade(4, "A")}))
		time.Sleep(5 * time.Minute)
		seven, eight := live(7), live(8)
		want := []call{
			{feed: &stale},
			{feed: &seven},
			{at: 10 * time.Second, feed: &seven},
			{at: 60 * time.Second, events: []market.Event{trade(9, "A")}},
			{at: 70 * time.Second, kind: gap, gap: change},
			{at: 70 * time.Second, feed: &eight},
			{at: 70 * time.Second, events: []market.Event{trade(4, "A")}},
		}
		if d := cmp.Diff(want, r.take(), cmp.AllowUnexported(call{})); d != "" {
			t.Error(d)
		}
		if got := l.Position(); got != (market.Position{Epoch: 8, Seq: 4}) {
			t.Errorf("position %v", got)
		}
	})
}

func TestNothingWaitsForASinkThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		r.hold = make(chan struct{})
		l := run(t, time.Second, r, Config{Events: 1000})
		for q := market.Seq(1); q <= 5000; q++ {
			ok(t, l.Publish(t.Context(), []market.Event{trade(q, "A")}), l.Feed(t.Context(), market.Feed{State: market.FeedLive}))
			time.Sleep(time.Millisecond)
		}
		if st := l.Stats(); st.Waiting > 1000 || st.Merged == 0 {
			t.Errorf("got %+v", st)
		}
		close(r.hold)
		time.Sleep(time.Second)
		events, _ := published(r.take())
		if last := events[len(events)-1]; last.Seq != 5000 {
			t.Errorf("the last event is %v", last)
		}
	})
}

func TestSmallNeighboursAreJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		l := run(t, time.Second, r, Config{})
		big := make([]market.Event, market.BatchLimit)
		for i := range big {
			big[i] = trade(market.Seq(11+i), "A")
		}
		for q := market.Seq(1); q <= 10; q++ {
			ok(t, l.Publish(t.Context(), []market.Event{trade(q, "A")}))
		}
		ok(t, l.Publish(t.Context(), big))
		time.Sleep(2 * time.Second)
		var sizes []int
		for _, c := range r.take() {
			sizes = append(sizes, len(c.events))
		}
		if !slices.Equal(sizes, []int{10, market.BatchLimit}) {
			t.Errorf("calls of %v events", sizes)
		}
	})
}

func TestErrorOfTheSinkEndsTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		r.fail = errors.New("full")
		l, err := New(time.Second, r, Config{})
		ok(t, err, l.Publish(t.Context(), []market.Event{trade(1, "A")}))
		if err := l.Run(t.Context()); !errors.Is(err, r.fail) {
			t.Errorf("Run gave %v", err)
		}
		for _, err := range []error{
			l.Publish(t.Context(), []market.Event{trade(2, "A")}), l.Feed(t.Context(), market.Feed{}),
			l.Replace(t.Context(), nil, nil), l.Forget(t.Context(), nil), l.Gap(t.Context(), market.Gap{}),
		} {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("got %v", err)
			}
		}
		if st := l.Stats(); st != (Stats{}) {
			t.Errorf("%+v is left", st)
		}
	})
}

func TestFilteredSlicesDoNotWait(t *testing.T) {
	l, err := New(time.Second, newRecorder(), Config{})
	ok(t, err)
	all := []market.Event{trade(1, "A"), trade(2, "A"), trade(3, "A")}
	ok(t, l.Publish(t.Context(), all[:1]), l.Replace(t.Context(), nil, all[:1]), l.Publish(t.Context(), all))
	entries := l.parts[0].entries
	if cap(entries[0].events) != 1 || cap(entries[1].events) != 1 || &entries[2].events[0] != &all[0] {
		t.Error("a slice with much behind it must be copied, and no other")
	}
}

func TestFan(t *testing.T) {
	ctx := t.Context()
	a, b, c := newRecorder(), newRecorder(), newRecorder()
	if Fan(a) != Sink(a) {
		t.Error("a fan of one is that one")
	}
	all := Fan(a, b, c)
	send := func() []error {
		return []error{
			all.Replace(ctx, trades("A"), nil), all.Publish(ctx, []market.Event{trade(1, "A")}), all.Forget(ctx, trades("A")),
			all.Gap(ctx, market.Gap{Topics: trades("A")}), all.Feed(ctx, market.Feed{State: market.FeedLive}),
		}
	}
	ok(t, send()...)
	same := func(x, y call) bool { x.at, y.at = 0, 0; return cmp.Equal(x, y, cmp.AllowUnexported(call{})) }
	first := a.take()
	if len(first) != 5 || !slices.EqualFunc(first, b.take(), same) || !slices.EqualFunc(first, c.take(), same) {
		t.Error("not all got the same")
	}
	b.fail = errors.New("full")
	for _, err := range send() {
		if !errors.Is(err, b.fail) {
			t.Errorf("got %v", err)
		}
	}
	if len(a.take()) != 5 || len(c.take()) != 0 {
		t.Error("the sinks before the one that failed get all, those behind it nothing")
	}
}

// member is a subscriber of a hub that keeps the events it gets.
type member struct {
	mu     sync.Mutex
	events []market.Event
}

func (m *member) Flush(box *mailbox.Mailbox, _ time.Time) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	for d, ok := box.NextSnapshot(); ok; d, ok = box.NextSnapshot() {
		m.events = append(m.events, *d.Item.Event())
	}
	for d, ok := box.Next(); ok; d, ok = box.Next() {
		m.events = append(m.events, *d.Item.Event())
	}
	return time.Time{}
}

func (m *member) got() []market.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.events)
}

func (m *member) Announce(hub.Notice) {}
func (m *member) Fail(error)          {}

func TestADelayedHubShowsWhatTheOtherShowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var hubs [2]*hub.Hub
		var members [2]member
		for i := range hubs {
			h, err := hub.New(hub.Config{Shards: 2})
			ok(t, err)
			hubs[i] = h
			wg.Go(func() { _ = h.Run(ctx) })
			m, err := h.Join(ctx, &members[i], mailbox.Options{})
			ok(t, err, m.Subscribe(ctx, hub.Subscription{Topics: trades("A"), Snapshot: true}, nil))
		}
		l := run(t, 15*time.Minute, hubs[1], Config{})
		both := Fan(hubs[0], l)
		ok(t, both.Replace(ctx, trades("A"), []market.Event{trade(1, "A")}))
		ok(t, both.Publish(ctx, []market.Event{trade(2, "A"), trade(3, "B")}), both.Publish(ctx, []market.Event{trade(4, "A")}))
		time.Sleep(15*time.Minute - 1)
		synctest.Wait()
		if now, late := members[0].got(), members[1].got(); len(now) != 3 || len(late) != 0 {
			t.Errorf("got %v at once and %v delayed", now, late)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if d := cmp.Diff(members[0].got(), members[1].got()); d != "" {
			t.Error(d)
		}
		cancel()
		wg.Wait()
	})
}
