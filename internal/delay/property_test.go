package delay

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/lzstock/lzstock/market"
)

// step is what a scenario does next, after a pause.
type step struct {
	pause  time.Duration
	kind   kind // 0 is Publish
	topics []market.Topic
	events []market.Event
	gap    market.Gap
}

type scenario struct {
	by    time.Duration
	cfg   Config
	steps []step
}

// scenarios draws what a feed may do: equal places, bars, topics that come and
// go, epochs that change.
func scenarios(maxEvents, maxOps int) *rapid.Generator[scenario] {
	return rapid.Custom(func(t *rapid.T) scenario {
		symbols := []market.Symbol{"A", "B", "C", "D", "E", "F"}[:rapid.IntRange(1, 6).Draw(t, "symbols")]
		s := scenario{by: time.Duration(rapid.IntRange(1, 20_000).Draw(t, "by")) * time.Millisecond}
		s.cfg.Events = rapid.IntRange(1, maxEvents).Draw(t, "bound")
		s.cfg.Operations = rapid.IntRange(1, maxOps).Draw(t, "operations")
		topic := rapid.Custom(func(t *rapid.T) market.Topic {
			return market.Topic{
				Channel: rapid.SampledFrom([]market.Channel{market.Trades, market.Bars}).Draw(t, "channel"),
				Symbol:  rapid.SampledFrom(append(symbols, market.AllSymbols)).Draw(t, "symbol"),
			}
		})
		at := market.Position{Epoch: 1}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			next := step{pause: time.Duration(rapid.SampledFrom([]int{0, 0, 1, 300, 20_000, 3_000_000}).Draw(t, "pause")) * time.Microsecond}
			next.kind = rapid.SampledFrom([]kind{0, 0, 0, 0, 0, 0, replace, forget, gap}).Draw(t, "kind")
			if next.kind != 0 {
				next.topics = rapid.SliceOfNDistinct(topic, 1, 4, rapid.ID[market.Topic]).Draw(t, "topics")
			}
			switch next.kind {
			case 0:
				for range rapid.IntRange(1, 12).Draw(t, "events") {
					at.Seq++
					next.events = append(next.events, trade(at.Seq, rapid.SampledFrom(symbols).Draw(t, "symbol")))
					if e := next.events[len(next.events)-1]; rapid.IntRange(0, 3).Draw(t, "bar") == 0 {
						next.events = append(next.events, market.Event{Seq: e.Seq, Channel: market.Bars, Symbol: e.Symbol, Bar: &market.Bar{}})
					}
				}
			case replace:
				for _, u := range next.topics {
					if u.Symbol != market.AllSymbols && rapid.IntRange(0, 3).Draw(t, "value") > 0 {
						at.Seq++
						next.events = append(next.events, market.Event{Seq: at.Seq, Channel: u.Channel, Symbol: u.Symbol})
					}
				}
			case forget:
			case gap:
				next.gap = market.Gap{Reason: market.GapExpired, From: at, To: at}
				if rapid.IntRange(0, 3).Draw(t, "epoch") == 0 {
					next.gap.Reason, next.gap.To = market.GapEpoch, market.Position{Epoch: at.Epoch + 1}
					next.topics = nil
					for _, c := range []market.Channel{market.Trades, market.Bars} {
						next.topics = append(next.topics, market.Topic{Channel: c, Symbol: market.AllSymbols})
					}
					at = next.gap.To
				}
			}
			s.steps = append(s.steps, next)
		}
		return s
	})
}

// play gives what went in and came out, and the line's counts.
func (s scenario) play(t *testing.T) (in, out []call, st Stats, problem string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		l := run(t, s.by, r, s.cfg)
		_ = l.Feed(t.Context(), market.Feed{State: market.FeedLive, Epoch: 1})
		const topics = 2 * 7 // of all scenarios, and a reset may name each thrice
		most := max(l.cfg.Operations, 2*(3+3*topics))
		for _, step := range s.steps {
			time.Sleep(step.pause)
			c := call{at: time.Since(r.start), kind: step.kind, topics: step.topics, events: slices.Clone(step.events), gap: step.gap}
			in = append(in, c)
			var err error
			switch step.kind {
			case 0:
				err = l.Publish(t.Context(), step.events)
			case replace:
				err = l.Replace(t.Context(), step.topics, step.events)
			case forget:
				err = l.Forget(t.Context(), step.topics)
			case gap:
				g := step.gap
				g.Topics = step.topics
				err = l.Gap(t.Context(), g)
			}
			st := l.Stats()
			switch {
			case err != nil:
				problem = err.Error()
			case st.Waiting > s.cfg.Events:
				problem = fmt.Sprintf("%d events wait, no more than %d may", st.Waiting, s.cfg.Events)
			case st.Operations > most:
				problem = fmt.Sprintf("%d operations wait, no more than %d may", st.Operations, most)
			}
			if problem != "" {
				return
			}
		}
		time.Sleep(s.by + time.Second)
		out, st = r.take()[1:], l.Stats()
		out = slices.DeleteFunc(out, func(c call) bool { return c.feed != nil })
		if st.Waiting+st.Operations > 0 || len(l.parts) > 0 {
			problem = fmt.Sprintf("%+v is left", st)
		}
		for i := range in { // others have them too
			if !slices.Equal(in[i].events, s.steps[i].events) {
				problem = "events were changed that are shared"
			}
		}
	})
	return in, out, st, problem
}

// place names an event in a life of its topic: what barriers part has other
// numbers.
type place struct {
	topic market.Topic
	life  int
}

// lives gives the events of calls of Publish by place, with the time.
func lives(calls []call) map[place][]call {
	out, life, epoch := map[place][]call{}, map[market.Topic]int{}, 0
	for _, c := range calls {
		if c.kind == gap && c.gap.From.Epoch != c.gap.To.Epoch {
			epoch += 1000
		}
		if c.kind != 0 {
			for _, u := range c.topics {
				life[u]++
			}
			continue
		}
		for i := range c.events {
			u := c.events[i].Topic()
			p := place{u, epoch + life[u] + life[market.Topic{Channel: u.Channel, Symbol: market.AllSymbols}]}
			out[p] = append(out[p], call{at: c.at, events: c.events[i : i+1]})
		}
	}
	return out
}

// ordered says where calls break the contract of Publish.
func ordered(calls []call) string {
	last := market.Seq(0)
	for _, c := range calls {
		if c.kind == gap && c.gap.From.Epoch != c.gap.To.Epoch {
			last = 0
		}
		if c.kind != 0 {
			continue
		}
		if len(c.events) == 0 || c.events[0].Seq <= last {
			return fmt.Sprintf("a call begins at %v, behind %v", c.events, last)
		}
		if !slices.IsSortedFunc(c.events, func(a, b market.Event) int { return int(a.Seq) - int(b.Seq) }) {
			return fmt.Sprintf("%v is not ascending", c.events)
		}
		last = c.events[len(c.events)-1].Seq
	}
	return ""
}

// onTime says where an event that came in at a time came out wrongly.
func (s scenario) onTime(in, out time.Duration) string {
	if out < in+s.by || out > in+s.by+tick {
		return fmt.Sprintf("in at %s, out at %s, %s later", in, out, out-in)
	}
	return ""
}

func TestPropertyLateInOrderAndBounded(t *testing.T) {
	conflated, reset := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		s := scenarios(200, 1000).Draw(rt, "scenario")
		s.cfg.Operations = 0
		in, out, st, problem := s.play(t)
		if problem == "" {
			problem = ordered(out)
		}
		if problem != "" {
			rt.Fatal(problem)
		}
		if st.Resets > 0 {
			reset++
			return // see the next property
		}
		if st.Merged > 0 {
			conflated++
		}
		isOp := func(c call) bool { return c.kind == 0 }
		opsIn, opsOut := slices.DeleteFunc(slices.Clone(in), isOp), slices.DeleteFunc(slices.Clone(out), isOp)
		if len(opsIn) != len(opsOut) {
			rt.Fatalf("%d operations became %d", len(opsIn), len(opsOut))
		}
		for i, c := range opsIn {
			d := opsOut[i]
			if c.kind != d.kind || !slices.Equal(c.topics, d.topics) || !slices.Equal(c.events, d.events) || c.gap.To != d.gap.To {
				rt.Fatalf("%+v became %+v", c, d)
			}
			if problem := s.onTime(c.at, d.at); problem != "" {
				rt.Fatal(problem)
			}
		}
		got, merged := lives(out), uint64(0)
		for p, came := range lives(in) {
			went, i := got[p], 0
			if len(went) == 0 || went[len(went)-1].events[0].Seq != came[len(came)-1].events[0].Seq {
				rt.Fatalf("of %v, %v came out: not the newest of %v", p, went, came)
			}
			prev := came[0].events[0].Prev
			for _, w := range went {
				count := uint32(0)
				for ; i < len(came) && came[i].events[0].Seq < w.events[0].Seq; i++ {
					count++
				}
				e := came[i].events[0]
				i++
				count++
				merged += uint64(count - 1)
				if problem := s.onTime(came[i-1].at, w.at); problem != "" {
					rt.Fatal(problem)
				}
				if count != w.events[0].Count() || w.events[0].Prev != prev || w.events[0].Trade != e.Trade || w.events[0].Bar != e.Bar {
					rt.Fatalf("of %v, %v stands for %d", p, w.events[0], count)
				}
			}
			delete(got, p)
		}
		if len(got) > 0 || merged != st.Merged {
			rt.Fatalf("%v came from nowhere, or %d were merged and %d counted", got, merged, st.Merged)
		}
	})
	if conflated == 0 || reset == 0 {
		t.Errorf("%d scenarios conflated and %d were reset: the property is empty", conflated, reset)
	}
}

// seen is what a hub would hold after calls.
type seen struct {
	carried carried
	values  map[market.Topic]market.Seq
}

func see(calls []call) seen {
	s := seen{carried{}, map[market.Topic]market.Seq{}}
	each := func(topics []market.Topic, f func(market.Topic)) {
		for _, t := range topics {
			f(t)
			if t.Symbol == market.AllSymbols {
				for u := range s.values {
					if u.Channel == t.Channel {
						f(u)
					}
				}
			}
		}
	}
	for _, c := range calls {
		switch c.kind {
		case replace, forget:
			s.carried.apply(&operation{kind: c.kind, topics: c.topics})
		case gap:
			each(c.topics, func(t market.Topic) { delete(s.values, t) })
		}
		if c.kind == forget {
			each(c.topics, func(t market.Topic) {
				if !s.carried.has(t) {
					delete(s.values, t)
				}
			})
		}
		for i := range c.events {
			if e := &c.events[i]; s.carried.has(e.Topic()) && e.Seq > s.values[e.Topic()] {
				s.values[e.Topic()] = e.Seq
			}
		}
	}
	return s
}

func TestPropertyAResetLineEndsWithWhatCameIn(t *testing.T) {
	resets := 0
	rapid.Check(t, func(rt *rapid.T) {
		s := scenarios(60, 60).Draw(rt, "scenario")
		s.cfg.Events += 20 // for all topics of a scenario have values
		in, out, st, problem := s.play(t)
		if problem == "" {
			problem = ordered(out)
		}
		if problem != "" {
			rt.Fatal(problem)
		}
		resets += int(st.Resets)
		want, got := see(in), see(out)
		if !maps.Equal(want.carried, got.carried) || !maps.Equal(want.values, got.values) {
			rt.Fatalf("what went in comes to %v, what came out to %v", want, got)
		}
		type key struct {
			epoch int
			seq   market.Seq
		}
		when, epoch := map[key]time.Duration{}, 0
		for _, c := range in {
			if c.kind == gap {
				epoch = int(c.gap.To.Epoch)
			}
			for _, e := range c.events {
				when[key{max(epoch, 1), e.Seq}] = c.at
			}
		}
		epoch = 0
		for _, c := range out {
			if c.kind == gap {
				epoch = int(c.gap.To.Epoch)
			}
			for _, e := range c.events {
				if at, ok := when[key{max(epoch, 1), e.Seq}]; !ok || c.at < at+s.by {
					rt.Fatalf("%v came in at %s and out at %s", e, at, c.at)
				}
			}
		}
	})
	if resets == 0 {
		t.Error("no line was reset: the property is empty")
	}
}
