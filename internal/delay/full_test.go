package delay

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lzstock/lzstock/market"
)

func TestAFullLineConflatesWhereMostWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		l := run(t, 10*time.Minute, r, Config{Events: 4096})
		ctx := t.Context()
		var q market.Seq
		send := func(n int, every time.Duration) {
			for range n {
				q++
				ok(t, l.Publish(ctx, []market.Event{trade(q, market.Symbol(fmt.Sprint("S", q%10)))}))
				time.Sleep(every)
			}
		}
		send(240, time.Second)         // four quiet minutes
		send(50_000, time.Millisecond) // a burst of 50 s
		send(240, time.Second)         // and four quiet ones
		if st := l.Stats(); st.Waiting > 4096 || st.Resets > 0 {
			t.Errorf("got %+v", st)
		}
		time.Sleep(11 * time.Minute)
		events, at := published(r.take())
		quiet, burst, moments, total := 0, 0, map[time.Duration]int{}, uint32(0)
		for i, e := range events {
			total += e.Count()
			if e.Seq <= 240 || e.Seq > 50_240 {
				quiet++
				if e.Merged > 1 {
					t.Errorf("%v of the quiet time stands for %d", e.Seq, e.Merged)
				}
			} else {
				burst++
				moments[at[i].Truncate(time.Second)]++
			}
		}
		if quiet != 480 || burst < 2048 || total != 50_480 {
			t.Errorf("%d events of the quiet time, %d of the burst, %d in all", quiet, burst, total)
		}
		least, most := burst, 0
		for _, n := range moments {
			least, most = min(least, n), max(most, n)
		}
		if len(moments) < 50 || least < 20 || most > 8*least {
			t.Errorf("the burst is uneven: from %d to %d events a second, in %d seconds", least, most, len(moments))
		}
		if st := l.Stats(); st.Merged != 50_480-uint64(len(events)) || len(l.parts) > 0 {
			t.Errorf("got %+v", st)
		}
	})
}

func TestNothingGivesWayToWhatIsBehindABarrier(t *testing.T) {
	at := func(e market.Epoch, q market.Seq) market.Position { return market.Position{Epoch: e, Seq: q} }
	for name, barrier := range map[string]func(l *Line) error{
		"replace": func(l *Line) error { return l.Replace(t.Context(), trades("A"), []market.Event{trade(5, "A")}) },
		"forget":  func(l *Line) error { return l.Forget(t.Context(), trades("A")) },
		"gap": func(l *Line) error {
			return l.Gap(t.Context(), market.Gap{Reason: market.GapExpired, From: at(1, 4), To: at(1, 5), Topics: trades("A")})
		},
		"gap of all": func(l *Line) error {
			return l.Gap(t.Context(), market.Gap{Reason: market.GapExpired, From: at(1, 4), To: at(1, 5), Topics: trades("*")})
		},
		"epoch": func(l *Line) error {
			return l.Gap(t.Context(), market.Gap{Reason: market.GapEpoch, From: at(1, 4), To: at(2, 5)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRecorder()
				l := run(t, time.Minute, r, Config{Events: 100})
				ok(t, l.Publish(t.Context(), []market.Event{trade(1, "A"), trade(2, "A")}))
				ok(t, l.Publish(t.Context(), []market.Event{trade(3, "A"), trade(4, "B"), trade(4, "A")}))
				ok(t, barrier(l))
				for q := market.Seq(6); q < 150; q++ {
					ok(t, l.Publish(t.Context(), []market.Event{trade(q, "A")}))
				}
				ok(t, l.Publish(t.Context(), []market.Event{trade(150, "B")}))
				for l.Stats().Waiting > 5 && len(l.parts) > 1 { // all that there is to conflate
					l.mu.Lock()
					l.cfg.Events = l.waiting - 1
					l.makeRoom()
					l.mu.Unlock()
				}
				time.Sleep(2 * time.Minute)
				events, _ := published(r.take())
				first := slices.IndexFunc(events, func(e market.Event) bool { return e.Symbol == "A" })
				if events[first].Seq != 4 || events[first].Count() != 4 {
					t.Errorf("the event before the barrier is %v and stands for %d", events[first], events[first].Merged)
				}
			})
		})
	}
}

func TestALineOfTooManyTopicsIsReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		l := run(t, time.Minute, r, Config{Events: 40})
		ctx := t.Context()
		name := func(i int) market.Symbol { return market.Symbol(fmt.Sprint("S", i)) }
		ok(t, l.Feed(ctx, market.Feed{State: market.FeedLive, Epoch: 3}), l.Replace(ctx, trades("*"), []market.Event{trade(1, "S0")}))
		time.Sleep(2 * time.Minute)
		for i := range 41 {
			ok(t, l.Publish(ctx, []market.Event{trade(market.Seq(10+i), name(i))}))
			time.Sleep(time.Second)
		}
		if st := l.Stats(); st.Resets != 1 || st.Waiting != 30 || st.Lost != 11 {
			t.Errorf("got %+v", st)
		}
		time.Sleep(5 * time.Minute)
		calls := r.take()[2:] // behind the state and the first Replace
		if len(calls) != 3 || calls[0].kind != gap || calls[1].kind != gap || calls[2].kind != replace {
			t.Fatalf("got %v", calls)
		}
		if first := calls[0]; first.at != 3*time.Minute || first.gap.To != first.gap.From {
			t.Errorf("what is announced before its time: %+v", first)
		}
		lost := calls[1]
		if lost.at != 3*time.Minute+40*time.Second || len(lost.topics) != 41 || lost.gap.Reason != market.GapExpired ||
			lost.gap.From != (market.Position{Epoch: 3, Seq: 1}) || lost.gap.To != (market.Position{Epoch: 3, Seq: 50}) {
			t.Errorf("got %+v", lost)
		}
		values := calls[2]
		if values.at != 3*time.Minute+40*time.Second || len(values.topics) != 0 || len(values.events) != 30 {
			t.Errorf("got %+v", values)
		}
		for i, e := range values.events {
			if d := cmp.Diff(trade(market.Seq(21+i), name(11+i)), e); d != "" {
				t.Error(d)
			}
		}
	})
}

func TestALineOfTooManyOperationsIsReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		l := run(t, time.Minute, r, Config{Operations: 50})
		ctx := t.Context()
		ok(t, l.Replace(ctx, trades("A", "B"), []market.Event{trade(1, "A"), trade(2, "B")}))
		time.Sleep(2 * time.Minute)
		ok(t, l.Publish(ctx, []market.Event{trade(3, "A"), trade(4, "B")}), l.Forget(ctx, trades("B")))
		for q := market.Seq(5); l.Stats().Resets == 0; q++ {
			ok(t, l.Replace(ctx, trades("C"), []market.Event{trade(q, "C")}), l.Forget(ctx, trades("C")))
		}
		if st := l.Stats(); st.Operations > 15 {
			t.Errorf("got %+v", st)
		}
		time.Sleep(2 * time.Minute)
		var got []string
		for _, c := range r.take()[1:] {
			slices.SortFunc(c.topics, func(a, b market.Topic) int { return int(a.Symbol[0]) - int(b.Symbol[0]) })
			got = append(got, fmt.Sprint(c.kind, c.topics, len(c.events)))
		}
		last := "1 [trades:A trades:C] 2"
		if l.Stats().Operations != 0 || len(got) < 4 || got[0] != "3 [trades:A trades:B] 0" || got[1] != got[0] || got[2] != "2 [trades:B] 0" ||
			(got[3] != last && got[3] != "1 [trades:A] 1") {
			t.Errorf("got %q", got)
		}
	})
}
