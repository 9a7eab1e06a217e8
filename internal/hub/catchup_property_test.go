package hub

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/market"
)

// op is one step of a scenario: what, and numbers that say how.
type op struct{ What, N, M int }

const (
	opProduce  = iota // the feed publishes events, which the hub may get later
	opFeed            // the hub gets some of them
	opConflate        // the hub gets some of them, merged
	opHold            // the subscriber takes nothing
	opTake            // the subscriber takes all that waits
	opAnswer          // what was fetched comes
	opCarry           // upstream answers for topics that were asked for
	opSleep
	opPlain // the subscriber adds a topic without a position
	opAgain // the subscriber adds a topic with another position
	opMode
	ops
)

// catchUpScenario is a feed, a hub that may lag behind it, somebody who has more
// history, and one subscriber that resumes.
type catchUpScenario struct {
	Window   int
	Slice    int
	Before   []op // before the subscriber comes
	Fresh    bool // the hub has seen nothing of that
	After    []op
	Since    int // how far back, in events
	Foreign  bool
	Wild     bool
	Symbols  int
	Mode     mailbox.Mode
	Limit    int
	Deadline time.Duration
	Expired  int // events that nobody holds any more
	Chunk    int // events of an answer
}

func catchUpScenarios() *rapid.Generator[catchUpScenario] {
	steps := func(most int) *rapid.Generator[[]op] {
		return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) op {
			return op{rapid.IntRange(0, ops-1).Draw(t, "what"), rapid.IntRange(0, 12).Draw(t, "n"), rapid.IntRange(0, 3).Draw(t, "m")}
		}), 0, most)
	}
	return rapid.Custom(func(t *rapid.T) catchUpScenario {
		return catchUpScenario{
			Window:   rapid.SampledFrom([]int{0, 1, 4, 16, 64}).Draw(t, "window"),
			Slice:    rapid.SampledFrom([]int{1, 2, sliceTopics}).Draw(t, "slice"),
			Before:   steps(15).Draw(t, "before"),
			Fresh:    rapid.IntRange(0, 3).Draw(t, "fresh") == 0,
			After:    steps(30).Draw(t, "after"),
			Since:    rapid.IntRange(-2, 40).Draw(t, "since"),
			Foreign:  rapid.IntRange(0, 9).Draw(t, "foreign") == 0,
			Wild:     rapid.IntRange(0, 3).Draw(t, "wild") == 0,
			Symbols:  rapid.IntRange(1, 4).Draw(t, "symbols"),
			Mode:     rapid.SampledFrom([]mailbox.Mode{mailbox.Adaptive, mailbox.Every, mailbox.Latest}).Draw(t, "mode"),
			Limit:    rapid.SampledFrom([]int{2, 5, 1000}).Draw(t, "limit"),
			Deadline: rapid.SampledFrom([]time.Duration{0, 0, time.Second}).Draw(t, "deadline"),
			Expired:  rapid.SampledFrom([]int{0, 0, 0, 10}).Draw(t, "expired"),
			Chunk:    rapid.SampledFrom([]int{1, 3, 100}).Draw(t, "chunk"),
		}
	})
}

// world is a scenario under way.
type world struct {
	t       *testing.T
	s       catchUpScenario
	hub     *Hub
	truth   []market.Event // each with its Prev
	fed     int            // of them, to the hub
	carried map[market.Topic]bool
	answers int
	asked   []market.Topic              // not carried yet
	floors  map[market.Topic]market.Seq // upstream leaves out what came with a value
	member  *Member
	sink    *recorder
	mu      sync.Mutex
	wants   []Want                      // by mu
	plain   map[market.Topic]market.Seq // topics that were added later: where they begin
	changed bool                        // the mode
}

var worldSymbols = []market.Symbol{"A", "B", "C", "D"}

func (w *world) last(t market.Topic, upTo int) market.Event {
	for i := upTo - 1; i >= 0; i-- {
		if w.truth[i].Topic() == t {
			return w.truth[i]
		}
	}
	return market.Event{}
}

func (w *world) produce(n, m int) {
	seq := market.Seq(1)
	if len(w.truth) > 0 {
		seq = w.truth[len(w.truth)-1].Seq + market.Seq(1+m)
	}
	for i := range n {
		e := trade(seq, worldSymbols[(i*7+m+int(seq))%len(worldSymbols)])
		e.Prev = w.last(e.Topic(), len(w.truth)).Seq
		w.truth = append(w.truth, e)
		if (i+m)%3 == 0 { // a bar has the position of its trade
			b := market.Event{Seq: seq, Channel: market.Bars, Symbol: e.Symbol, Bar: &market.Bar{}}
			b.Prev = w.last(b.Topic(), len(w.truth)).Seq
			w.truth = append(w.truth, b)
		}
		seq++
	}
}

// feed gives the hub what it lacks, up to n events, never part of a position.
func (w *world) feed(n int, merge bool) {
	end := min(w.fed+n, len(w.truth))
	for end < len(w.truth) && end > 0 && w.truth[end].Seq == w.truth[end-1].Seq {
		end++
	}
	batch := slices.DeleteFunc(slices.Clone(w.truth[w.fed:end]), func(e market.Event) bool { return e.Seq <= w.floors[e.Topic()] })
	w.fed = end
	if w.s.Fresh && w.member == nil {
		return
	}
	if merge {
		merged := map[market.Topic]int{}
		for i := range batch {
			e := &batch[i]
			if j, has := merged[e.Topic()]; has {
				e.Merged, e.Prev = batch[j].Count()+1, batch[j].Prev
				batch[j].Symbol = ""
			}
			merged[e.Topic()] = i
		}
		batch = slices.DeleteFunc(batch, func(e market.Event) bool { return e.Symbol == "" })
	}
	must(w.t, w.hub.Publish(w.t.Context(), batch))
}

func (w *world) position() market.Seq {
	if w.fed == 0 {
		return 0
	}
	return w.truth[w.fed-1].Seq
}

// carry answers for topics as upstream does: with their values as of now, or of a
// little later than the last events.
func (w *world) carry(topics []market.Topic, ahead int) {
	until := min(w.fed+ahead, len(w.truth))
	for until > w.fed && until < len(w.truth) && w.truth[until].Seq == w.truth[until-1].Seq {
		until++
	}
	var values []market.Event
	seen := map[market.Topic]bool{}
	had := maps.Clone(w.carried)
	for _, t := range topics {
		w.carried[t] = true
		for _, s := range worldSymbols {
			name := market.Topic{Channel: t.Channel, Symbol: s}
			if (t.Symbol != s && t.Symbol != market.AllSymbols) || seen[name] {
				continue
			}
			if seen[name] = true; had[name] || had[market.Topic{Channel: t.Channel, Symbol: market.AllSymbols}] {
				continue // a topic that is carried gets no second value
			}
			if e := w.last(name, until); e.Seq > 0 {
				w.floors[name] = max(w.floors[name], e.Seq)
				e.Prev = 0
				values = append(values, e)
			}
		}
	}
	slices.SortFunc(values, ascending)
	must(w.t, w.hub.Replace(w.t.Context(), topics, values))
}

func (w *world) ask(topics []market.Topic) {
	for _, t := range topics {
		if !w.carried[t] {
			w.asked = append(w.asked, t)
		}
	}
}

// want takes what is to be fetched: a shard calls it when it likes.
func (w *world) want(want Want) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wants = append(w.wants, want)
}

func (w *world) take() (Want, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.wants) == 0 {
		return Want{}, false
	}
	want := w.wants[0]
	w.wants = w.wants[1:]
	return want, true
}

// answer gives what was fetched, as a replica that may have less than the hub.
func (w *world) answer(n int) {
	want, ok := w.take()
	if !ok {
		return
	}
	r := Refill{}
	w.answers++

	has := len(w.truth) - min(n%4, len(w.truth)) // how far it has read
	for has > 0 && has < len(w.truth) && w.truth[has].Seq == w.truth[has-1].Seq {
		has--
	}
	if has > 0 {
		r.Through = w.truth[has-1].Seq
	}
	if w.s.Expired > 0 && len(w.truth) >= w.s.Expired && want.After.Seq < w.truth[w.s.Expired-1].Seq {
		for _, t := range w.topicsOf(want.Topics) { // of which something is lost
			for _, e := range w.truth[:w.s.Expired] {
				if e.Topic() == t && e.Seq > want.After.Seq {
					r.Missed = append(r.Missed, t)
					break
				}
			}
		}
	}
	for _, e := range w.truth[:has] {
		if e.Seq <= want.After.Seq || !slices.Contains(w.topicsOf(want.Topics), e.Topic()) || slices.Contains(r.Missed, e.Topic()) {
			continue
		}
		if n := len(r.Events); n >= w.s.Chunk && r.Events[n-1].Seq != e.Seq {
			r.Through = r.Events[n-1].Seq
			break
		}
		r.Events = append(r.Events, e)
	}
	r.Through = max(r.Through, want.After.Seq)
	must(w.t, w.member.Refill(w.t.Context(), want, r))
}

// rest answers all that is asked for until nothing happens any more.
func (w *world) rest() {
	for range 200 {
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		w.answer(0)
		synctest.Wait()
	}
}

func (w *world) topicsOf(topics []market.Topic) (out []market.Topic) {
	for _, t := range topics {
		for _, s := range worldSymbols {
			if t.Symbol == s || t.Symbol == market.AllSymbols {
				out = append(out, market.Topic{Channel: t.Channel, Symbol: s})
			}
		}
	}
	return out
}

func (w *world) do(o op) {
	switch o.What {
	case opProduce:
		w.produce(o.N, o.M)
	case opFeed:
		w.feed(o.N, false)
	case opConflate:
		if w.s.Mode != mailbox.Every || w.member == nil { // that one would end, and rightly
			w.feed(o.N, true)
		}
	case opHold, opTake:
		if w.member != nil {
			w.sink.mu.Lock()
			w.sink.held = o.What == opHold
			w.sink.mu.Unlock()
			_ = w.member.Do(w.t.Context(), func(time.Time) {})
		}
	case opAnswer:
		synctest.Wait()
		w.answer(o.N)
	case opCarry:
		if w.member == nil && !w.s.Fresh {
			w.carry([]market.Topic{{Channel: market.Trades, Symbol: worldSymbols[o.N%4]}}, o.M)
		} else if n := min(o.N, len(w.asked)); w.member != nil && n > 0 {
			w.carry(w.asked[:n], o.M)
			w.asked = w.asked[n:]
		}
	case opSleep:
		time.Sleep(time.Duration(o.N*o.M) * 50 * time.Millisecond)
	case opPlain:
		if t := (market.Topic{Channel: market.Bars, Symbol: worldSymbols[o.M]}); w.member != nil && !w.s.Wild {
			if _, has := w.plain[t]; !has {
				w.plain[t] = w.position()
				must(w.t, w.member.Subscribe(w.t.Context(), Subscription{Topics: []market.Topic{t}, Snapshot: true}, nil))
				w.ask([]market.Topic{t})
			}
		}
	case opAgain:
		if t := (market.Topic{Channel: market.Bars, Symbol: worldSymbols[o.M]}); w.member != nil && !w.s.Wild && !w.s.Foreign && len(w.truth) > 0 {
			if _, has := w.plain[t]; !has {
				w.plain[t] = w.truth[o.N%len(w.truth)].Seq
				must(w.t, w.member.Subscribe(w.t.Context(), Subscription{Topics: []market.Topic{t}, CatchUp: &CatchUp{
					Since: market.Position{Epoch: 7, Seq: w.plain[t]}, Within: w.s.Deadline, Fetch: w.want,
				}}, nil))
				w.ask([]market.Topic{t})
			}
		}
	case opMode:
		if w.member != nil && w.s.Mode != mailbox.Every {
			w.changed = true
			must(w.t, w.member.SetMode(w.t.Context(), mailbox.Options{Mode: []mailbox.Mode{mailbox.Adaptive, mailbox.Latest}[o.N%2], Limit: w.s.Limit}))
		}
	}
	synctest.Wait()
}

// play runs the scenario and says what was wrong with it.
func (s catchUpScenario) play(t *testing.T) (problem string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{
			t: t, s: s, carried: map[market.Topic]bool{}, floors: map[market.Topic]market.Seq{}, sink: &recorder{}, plain: map[market.Topic]market.Seq{},
			hub: start(t, Config{Shards: 1, Window: s.Window, Slice: s.Slice}),
		}
		must(t, w.hub.Feed(t.Context(), market.Feed{State: market.FeedLive, Epoch: 7}))
		for _, o := range s.Before {
			w.do(o)
		}
		since := market.Position{Epoch: 7}
		switch i := w.fed - s.Since; {
		case s.Since < 0 && len(w.truth) > w.fed: // it has seen more elsewhere
			since.Seq = w.truth[min(len(w.truth)-1, w.fed-s.Since)].Seq
		case i > 0 && i <= len(w.truth):
			since.Seq = w.truth[i-1].Seq
		}
		if s.Foreign {
			since.Epoch = 6
		}
		topics := []market.Topic{{Channel: market.Trades, Symbol: market.AllSymbols}}
		if !s.Wild {
			topics = tradesOf(worldSymbols[:s.Symbols]...)
		}
		w.member = join(t, w.hub, w.sink, mailbox.Options{Mode: s.Mode, Limit: s.Limit})
		must(t, w.member.Subscribe(t.Context(), Subscription{Topics: topics, CatchUp: &CatchUp{
			Since: since, Within: s.Deadline, Fetch: w.want,
		}}, nil))
		w.ask(topics)
		for _, o := range s.After {
			w.do(o)
		}
		w.carry(w.asked, 0)
		w.do(op{What: opTake})
		w.feed(len(w.truth), false)
		w.rest()
		w.produce(5, 1) // whoever is live now gets this
		w.feed(100, false)
		w.rest()
		problem = w.judge(since, topics)
	})
	return problem
}

func (w *world) judge(since market.Position, topics []market.Topic) string {
	if err := w.sink.err(); err != nil {
		if w.s.Mode == mailbox.Every && (w.s.Limit < 1000 || w.s.Deadline > 0) {
			return "" // an honest end
		}
		return fmt.Sprintf("failed: %v", err)
	}
	if w.answers > 2*len(w.truth)+20 {
		return fmt.Sprintf("%d events were asked for %d times", len(w.truth), w.answers)
	}
	got := map[market.Topic][]mailbox.Delivery{}
	var high market.Seq
	for _, d := range w.sink.take() {
		e := d.Item.Event()
		if !d.Snapshot {
			if e.Seq < high && len(w.plain) == 0 { // with topics that were added later, positions may go back once
				return fmt.Sprintf("%d came after %d", e.Seq, high)
			}
			high = e.Seq
		}
		got[e.Topic()] = append(got[e.Topic()], d)
	}
	gaps := map[market.Topic]bool{}
	for _, n := range w.sink.notices {
		if n.Gap == nil {
			continue
		}
		if (n.Gap.Reason == market.GapEpoch) != w.s.Foreign {
			return fmt.Sprintf("a gap of reason %v", n.Gap.Reason)
		}
		for _, t := range n.Gap.Topics {
			gaps[t] = true
		}
	}
	behind := func(o op) bool { return o.What == opAnswer && o.N%4 > 0 } // whoever is asked has less than the hub
	if len(gaps) > 0 && w.s.Expired == 0 && !w.s.Foreign && w.s.Deadline == 0 && !slices.ContainsFunc(w.s.After, behind) {
		return fmt.Sprintf("a gap on %v, though all is to be had", gaps)
	}
	check := func(t market.Topic, since market.Seq, resumed bool) string {
		var want []market.Event
		var before market.Seq
		for _, e := range w.truth {
			switch {
			case e.Topic() != t:
			case e.Seq <= since:
				before = e.Seq
			default:
				want = append(want, e)
			}
		}
		list := got[t]
		exact := resumed && !gaps[t] && w.s.Mode != mailbox.Latest && !w.changed
		if len(want) == 0 && !gaps[t] && resumed && len(list) > 0 {
			return fmt.Sprintf("%v: %d events though nothing was missed", t, len(list))
		}
		if len(want) > 0 && (len(list) == 0 || list[len(list)-1].Item.Event().Seq != want[len(want)-1].Seq) {
			return fmt.Sprintf("%v: ended with %v, want %d", t, seqs(list), want[len(want)-1].Seq)
		}
		count, prev := 0, before
		for i, d := range list {
			switch {
			case d.Snapshot && exact:
				return fmt.Sprintf("%v: a snapshot, though nothing was lost: %v", t, seqs(list))
			case d.Snapshot:
			case d.Prev != prev && (i > 0 || (resumed && !gaps[t])):
				return fmt.Sprintf("%v: %d has prev %d, want %d, in %v", t, d.Item.Event().Seq, d.Prev, prev, seqs(list))
			}
			prev = d.Item.Event().Seq
			count += int(d.Merged)
		}
		if exact && count != len(want) {
			return fmt.Sprintf("%v: %d events, want %d: %v", t, count, len(want), seqs(list))
		}
		return ""
	}
	if w.s.Foreign {
		since.Seq = 0
	}
	for _, t := range w.topicsOf(topics) {
		if problem := check(t, since.Seq, true); problem != "" {
			return problem
		}
	}
	for t, at := range w.plain {
		if problem := check(t, at, false); problem != "" {
			return problem
		}
	}
	return ""
}

// TestCatchUpOnAFreshHub has a member resume where the hub has values, and has had no
// event yet: what is asked for is what it misses, not all there ever was.
func TestCatchUpOnAFreshHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{Shards: 1})
		const epoch = 7
		must(t, h.Feed(t.Context(), market.Feed{State: market.FeedLive, Epoch: epoch}))
		var r recorder
		m := join(t, h, &r, mailbox.Options{Mode: mailbox.Every})
		var wants []Want
		since := market.Position{Epoch: epoch, Seq: 1000}
		must(t, m.Subscribe(t.Context(), Subscription{Topics: tradesOf("A", "B"), CatchUp: &CatchUp{
			Since: since, Fetch: func(w Want) { wants = append(wants, w) },
		}}, func(market.Seq) {}))
		must(t, h.Replace(t.Context(), tradesOf("A", "B"), []market.Event{trade(900, "B"), trade(1200, "A")}))
		synctest.Wait()
		if len(wants) != 1 || wants[0].After != since {
			t.Fatalf("wants %v: want one, after %s", wants, since)
		}
		missing := trade(1100, "A")
		missing.Prev = 950
		last := trade(1200, "A")
		last.Prev = 1100
		must(t, m.Refill(t.Context(), wants[0], Refill{Events: []market.Event{missing, last}, Through: 1200}))
		synctest.Wait()
		if got := r.take(); !slices.Equal(seqs(got), []market.Seq{1100, 1200}) || got[0].Prev != 950 {
			t.Errorf("got %v, first %+v", seqs(got), got)
		}
		if len(wants) != 1 {
			t.Errorf("asked %d times", len(wants))
		}
	})
}

// TestCatchUpBesideOthers has a member of a fresh hub resume one topic, and listen to
// others: one that has had no event yet, and one whose value it does not want. What is
// fetched is what it misses of the first, and nothing of the past of the others comes.
func TestCatchUpBesideOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{Shards: 1, Window: 64})
		const epoch = 7
		must(t, h.Feed(t.Context(), market.Feed{State: market.FeedLive, Epoch: epoch}))
		var r recorder
		m := join(t, h, &r, mailbox.Options{Mode: mailbox.Every})
		var wants []Want
		since := market.Position{Epoch: epoch, Seq: 1000}
		must(t, m.Subscribe(t.Context(), Subscription{Topics: tradesOf("A"), CatchUp: &CatchUp{
			Since: since, Fetch: func(w Want) { wants = append(wants, w) },
		}}, nil))
		must(t, m.Subscribe(t.Context(), Subscription{Topics: tradesOf("QUIET"), Snapshot: true}, nil))
		must(t, m.Subscribe(t.Context(), Subscription{Topics: tradesOf("PLAIN")}, nil))
		must(t, h.Replace(t.Context(), tradesOf("A", "QUIET", "PLAIN"), []market.Event{trade(1150, "PLAIN"), trade(1200, "A")}))
		synctest.Wait()
		if len(wants) != 1 || wants[0].After != since {
			t.Fatalf("wants %v: want one, after %s", wants, since)
		}
		before, last, live := trade(1150, "PLAIN"), trade(1200, "A"), trade(1300, "PLAIN")
		before.Prev, last.Prev, live.Prev = 990, 950, 1150
		must(t, m.Refill(t.Context(), wants[0], Refill{Events: []market.Event{before, last}, Through: 1200}))
		must(t, h.Publish(t.Context(), []market.Event{trade(1250, "QUIET"), live}))
		synctest.Wait()
		if got := r.take(); names(got) != "A QUIET PLAIN" || !slices.Equal(seqs(got), []market.Seq{1200, 1250, 1300}) {
			t.Errorf("got %s at %v", names(got), seqs(got))
		}
		if len(r.notices) > 1 || len(wants) != 1 {
			t.Errorf("told %v, asked %d times", r.notices, len(wants))
		}
	})
}

// quietHub is a hub at position 5, where its one topic has its value.
func quietHub(t *testing.T, epoch market.Epoch) (*Hub, []market.Topic) {
	t.Helper()
	h, a := start(t, Config{Shards: 1, Window: 64}), tradesOf("A")
	must(t, h.Feed(t.Context(), market.Feed{State: market.FeedLive, Epoch: epoch}))
	must(t, h.Replace(t.Context(), a, []market.Event{trade(5, "A")}))
	must(t, h.Advance(t.Context(), 5))
	return h, a
}

// TestCatchUpWithinAGap has members come when a topic has lost its value by a gap, and
// has no other yet. Who resumes from before is told, too, if that is lost for good; all
// who want the value get it when it comes.
func TestCatchUpWithinAGap(t *testing.T) {
	const epoch = 7
	lost := market.Event{}
	found := trade(7, "A")
	found.Prev = 5
	for name, tc := range map[string]struct {
		since market.Seq
		held  market.Event // by whoever is asked
		asked int
		gaps  int
		got   []market.Seq
	}{
		"lost":      {5, lost, 1, 1, []market.Seq{7, 10}},
		"elsewhere": {5, found, 1, 0, []market.Seq{7, 10}},
		"behind it": {8, lost, 0, 0, []market.Seq{10}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, a := quietHub(t, epoch)
				at := func(q market.Seq) market.Position { return market.Position{Epoch: epoch, Seq: q} }
				must(t, h.Gap(t.Context(), market.Gap{Reason: market.GapExpired, From: at(5), To: at(8), Topics: a}))
				must(t, h.Advance(t.Context(), 8))
				var fresh, r recorder
				must(t, join(t, h, &fresh, mailbox.Options{}).Subscribe(t.Context(), Subscription{Topics: a, Snapshot: true}, nil))
				m := join(t, h, &r, mailbox.Options{Mode: mailbox.Every})
				var wants []Want
				must(t, m.Subscribe(t.Context(), Subscription{Topics: a, CatchUp: &CatchUp{
					Since: at(tc.since), Fetch: func(w Want) { wants = append(wants, w) },
				}}, nil))
				synctest.Wait()
				if len(wants) != tc.asked {
					t.Fatalf("asked %v, want %d times", wants, tc.asked)
				}
				if tc.asked > 0 {
					answer := Refill{Through: 8, Missed: a}
					if tc.held.Seq > 0 {
						answer = Refill{Through: 8, Events: []market.Event{tc.held}}
					}
					must(t, m.Refill(t.Context(), wants[0], answer))
				}
				synctest.Wait()
				must(t, h.Replace(t.Context(), a, []market.Event{trade(7, "A")}))
				must(t, h.Publish(t.Context(), []market.Event{trade(10, "A")}))
				synctest.Wait()
				if got := seqs(r.take()); !slices.Equal(got, tc.got) || r.gaps() != tc.gaps {
					t.Errorf("got %v and %d gaps, want %v and %d", got, r.gaps(), tc.got, tc.gaps)
				}
				if got := seqs(fresh.take()); !slices.Equal(got, []market.Seq{7, 10}) {
					t.Errorf("who wants the value got %v", got)
				}
			})
		})
	}
}

// TestCatchUpFromWhoIsBehind has whoever is asked read less than the hub, as a monitor
// that a gateway has just moved to. It is asked again for a second, and for as long as
// the feed is known to be behind; what it has not got then is lost.
func TestCatchUpFromWhoIsBehind(t *testing.T) {
	const epoch = 7
	for name, tc := range map[string]struct {
		feed   market.Feed
		behind time.Duration
		gaps   int
	}{
		"a moment":                     {market.Feed{State: market.FeedLive}, 700 * time.Millisecond, 0},
		"for good":                     {market.Feed{State: market.FeedLive}, time.Hour, 1},
		"long, and the feed with it":   {market.Feed{State: market.FeedStale, Reason: market.FeedMonitor}, time.Minute, 0},
		"long, though all sources are": {market.Feed{State: market.FeedStale, Reason: market.FeedSilent}, time.Minute, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := start(t, Config{Shards: 1, Window: 2})
				a := tradesOf("A")
				tc.feed.Epoch = epoch
				must(t, h.Feed(t.Context(), tc.feed))
				must(t, h.Replace(t.Context(), a, []market.Event{trade(5, "A")}))
				past := make([]market.Event, 0, 15)
				for q := market.Seq(6); q <= 20; q++ {
					e := trade(q, "A")
					e.Prev = q - 1
					past = append(past, e)
				}
				must(t, h.Publish(t.Context(), slices.Clone(past)))
				began := time.Now()
				var asked []time.Duration
				r := &recorder{}
				m := join(t, h, r, mailbox.Options{Mode: mailbox.Every})
				wants := make(chan Want, 1)
				must(t, m.Subscribe(t.Context(), Subscription{Topics: a, CatchUp: &CatchUp{
					Since: market.Position{Epoch: epoch, Seq: 5}, Within: 30 * time.Second, Fetch: func(w Want) { wants <- w },
				}}, nil))
				ctx, stop := context.WithTimeout(t.Context(), 90*time.Second)
				defer stop()
				for ctx.Err() == nil {
					select {
					case w := <-wants:
						asked = append(asked, time.Since(began))
						end := market.Seq(10)
						if time.Since(began) >= tc.behind {
							end = 20
						}
						from := int(w.After.Seq) - 5
						must(t, m.Refill(t.Context(), w, Refill{Events: slices.Clone(past[from : int(end)-5]), Through: end}))
					case <-ctx.Done():
					}
				}
				got, gaps := seqs(r.take()), r.gaps()
				if gaps != tc.gaps || (gaps == 0) != (len(got) == 15) || got[len(got)-1] != 20 {
					t.Errorf("%d gaps, got %v", gaps, got)
				}
				if last := asked[len(asked)-1]; (gaps > 0 && (last < 900*time.Millisecond || last > 1200*time.Millisecond)) || len(asked) > int(last/aheadPoll)+3 {
					t.Errorf("asked %d times, at last after %s", len(asked), last)
				}
			})
		})
	}
}

// TestLatestAheadOfTheFeed has a member with the latest value from elsewhere, which the
// hub does not have yet. The next value follows that one, whether the hub is believed
// to reach it or has been waited for.
func TestLatestAheadOfTheFeed(t *testing.T) {
	const epoch = 7
	for name, after := range map[string]time.Duration{"soon": aheadLimit / 2, "after it was asked about": 2 * aheadLimit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, a := quietHub(t, epoch)
				var r recorder
				m := join(t, h, &r, mailbox.Options{Mode: mailbox.Latest})
				wants := make(chan Want, 1)
				must(t, m.Subscribe(t.Context(), Subscription{Topics: a, CatchUp: &CatchUp{
					Since: market.Position{Epoch: epoch, Seq: 8}, Fetch: func(w Want) { wants <- w },
				}}, nil))
				time.Sleep(after)
				select {
				case w := <-wants:
					must(t, m.Refill(t.Context(), w, Refill{Through: 9}))
				default:
				}
				for q := market.Seq(7); q <= 9; q++ {
					synctest.Wait()
					must(t, h.Publish(t.Context(), []market.Event{trade(q, "A")}))
				}
				synctest.Wait()
				if got := r.take(); len(got) != 1 || got[0].Prev != 8 || got[0].Item.Event().Seq != 9 {
					t.Errorf("got %v: want 9, behind 8", got)
				}
			})
		})
	}
}

// TestCatchUpAheadOfTheFeed has members come from another hub of the feed with a
// position that this one does not have: while it is known to be behind, they wait,
// then they are asked about, and then believed or told of a gap.
func TestCatchUpAheadOfTheFeed(t *testing.T) {
	const epoch = 7
	feed := func(state market.FeedState, reason market.FeedReason) market.Feed {
		return market.Feed{State: state, Reason: reason, Epoch: epoch}
	}
	for _, tc := range []struct {
		name  string
		feed  market.Feed // when the member comes
		then  market.Feed // when it has been asked about
		asked bool        // within two seconds
	}{
		{"the bus is lost", feed(market.FeedStale, market.FeedBus), feed(market.FeedStale, market.FeedBus), false},
		{"the monitor is lost for long", feed(market.FeedDown, market.FeedMonitor), feed(market.FeedDown, market.FeedMonitor), false},
		{"the bus turns out to be lost", feed(market.FeedLive, 0), feed(market.FeedStale, market.FeedBus), true},
		{"there is no such place", feed(market.FeedLive, 0), feed(market.FeedLive, 0), true},
		{"nor where a source is lost", feed(market.FeedStale, market.FeedLost), feed(market.FeedStale, market.FeedLost), true},
	} {
		for _, comes := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, and comes: %t", tc.name, comes), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := start(t, Config{Shards: 1, Window: 64, Open: true})
					must(t, h.Feed(t.Context(), tc.feed))
					must(t, h.Publish(t.Context(), []market.Event{trade(900, "A"), trade(1000, "A")}))
					var r recorder
					m := join(t, h, &r, mailbox.Options{Mode: mailbox.Every})
					asked := 0
					must(t, m.Subscribe(t.Context(), Subscription{Topics: tradesOf("A"), CatchUp: &CatchUp{
						Since: market.Position{Epoch: epoch, Seq: 1100}, Fetch: func(w Want) {
							asked++
							go func() {
								time.Sleep(200 * time.Millisecond)
								_ = m.Refill(t.Context(), w, Refill{Missed: w.Topics})
							}()
						},
					}}, nil))
					time.Sleep(1150 * time.Millisecond)
					must(t, h.Feed(t.Context(), tc.then)) // before the answer
					time.Sleep(850 * time.Millisecond)
					synctest.Wait()
					if (asked > 0) != tc.asked {
						t.Errorf("asked %d times", asked)
					}
					lost := tc.asked && tc.then.Reason != market.FeedBus
					must(t, h.Feed(t.Context(), feed(market.FeedLive, 0)))
					if comes {
						must(t, h.Publish(t.Context(), []market.Event{trade(1100, "A"), trade(1200, "A")}))
					}
					time.Sleep(2 * time.Second)
					synctest.Wait()
					gaps := r.gaps() > 0
					if gaps != (lost || !comes) {
						t.Errorf("told of a gap: %t", gaps)
					}
					if got := seqs(r.take()); !gaps && !slices.Equal(got, []market.Seq{1200}) {
						t.Errorf("got %v", got)
					}
				})
			})
		}
	}
}

// TestCatchUpProperty has a subscriber resume at any place of any feed, in any
// mode, whatever the hub holds and whoever helps: what it gets is what the feed
// published after the place, or it is told of a gap.
func TestCatchUpProperty(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := catchUpScenarios().Draw(r, "scenario")
		if problem := s.play(t); problem != "" {
			r.Fatal(problem)
		}
	})
}
