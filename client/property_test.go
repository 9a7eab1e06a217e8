package client_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/lzstock/lzstock/client"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// scenario is what happens to a client, step by step.
type scenario struct {
	steps  []step
	lossy  bool
	urls   int
	held   int
	refuse bool
}

type step struct {
	what  string
	topic int
	n     int
	wait  time.Duration
}

func scenarios(lossy bool) *rapid.Generator[scenario] {
	whats := []string{"publish", "publish", "publish", "publish", "wait", "drop", "cut", "drain", "old", "busy", "internal", "freeze", "subscribe", "beat", "skip", "repeat"}
	if lossy {
		whats = append(whats, "renumber", "lie", "skip", "silence")
	}
	return rapid.Custom(func(t *rapid.T) scenario {
		s := scenario{lossy: lossy, urls: rapid.IntRange(1, 3).Draw(t, "urls")}
		if lossy {
			s.held = rapid.SampledFrom([]int{0, 5, 40}).Draw(t, "held")
			s.refuse = rapid.IntRange(0, 9).Draw(t, "refuse") == 0
		}
		one := rapid.Custom(func(t *rapid.T) step {
			return step{
				what: rapid.SampledFrom(whats).Draw(t, "what"), topic: rapid.IntRange(0, 5).Draw(t, "topic"), n: rapid.IntRange(1, 20).Draw(t, "n"),
				wait: time.Duration(rapid.SampledFrom([]int{0, 0, 1, 10, 100, 1000, 5000, 20_000, 61_000}).Draw(t, "ms")) * time.Millisecond,
			}
		})
		s.steps = rapid.SliceOfN(one, 5, 40).Draw(t, "steps")
		return s
	})
}

// play gives what came, and what was wrong with it.
func (s scenario) play(t *testing.T, fail func(string, ...any)) (st client.Stats) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx := day(t)
		m := newModel(t)
		m.held, m.refuse = s.held, s.refuse
		cfg := m.config()
		for range s.urls - 1 {
			cfg.URLs = append(cfg.URLs, "ws://another")
		}
		var gaps []client.Gap
		cfg.OnGap = func(g client.Gap) { gaps = append(gaps, g) }
		c, err := client.Dial(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		all := client.Trades("A", "B", "C", "D", "E", "F")
		m.publish(all[:4]...)
		r := read(c)
		if err := c.Subscribe(ctx, all[:3]...); err != nil {
			t.Fatal(err)
		}
		wanted, skipped := 3, false
		for _, step := range s.steps {
			topic := all[step.topic%wanted]
			switch step.what {
			case "publish":
				for i := range step.n {
					m.publish(all[:1+(step.topic+i)%len(all)]...)
				}
			case "drop":
				m.drop()
			case "cut":
				m.cut()
			case "drain":
				m.drain(wire.Drain, step.wait, step.wait+10*time.Second)
			case "old":
				m.end(wire.MaxAge.CloseCode())
			case "busy":
				m.end(wire.RateLimited.CloseCode())
			case "internal":
				m.end(wire.Internal.CloseCode())
			case "freeze":
				m.each(func(l *link) { l.frozen = true })
			case "subscribe":
				if wanted < len(all) {
					topics := all[wanted : wanted+1]
					wanted++
					if !s.lossy { // what has no value cannot be resumed before its second heartbeat
						m.publish(topics...)
					}
					within, cancel := context.WithTimeout(ctx, 10*time.Minute)
					if err := c.Subscribe(within, topics...); err != nil {
						fail("subscribe: %v", err)
					}
					cancel()
				}
			case "beat":
				m.each(func(l *link) {
					if !l.frozen {
						_ = l.send(wire.AppendHeartbeat(nil, l.format, wire.Heartbeat{Time: time.Now(), Seq: m.q}))
					}
				})
			case "skip":
				if s.lossy || !skipped { // the second one within a minute is reported, not mended
					skipped = true
					m.mu.Lock()
					m.skip[topic] = true
					m.mu.Unlock()
				}
			case "lie":
				m.mu.Lock()
				m.lie[topic] = true
				m.mu.Unlock()
			case "repeat":
				m.repeat(topic)
			case "silence":
				m.drop()
				m.publish(all...)
			case "renumber":
				m.renumber()
			}
			time.Sleep(step.wait)
		}
		m.mu.Lock()
		clear(m.skip)
		clear(m.lie)
		m.mu.Unlock()
		time.Sleep(5 * time.Minute) // everything settles
		m.publish(all...)
		m.publish(all...)
		time.Sleep(5 * time.Minute)
		_ = c.Close()
		<-r.done
		got := r.got()
		broken := m.compare(got, all[:wanted], fail)
		st = c.Stats()
		if !s.lossy && (broken > 0 || len(gaps) > 0) {
			for i, e := range got {
				t.Logf("%d %s q=%d pq=%d n=%d snap=%t broken=%t", i, e.Topic(), e.Seq, e.Prev, e.Trade.ID, e.Snapshot, e.Broken)
			}
			t.Logf("%+v since %v err %v", st, m.since, c.State().Err)
			fail("%d events are marked, %d gaps are reported (%v), and nothing was lost", broken, len(gaps), gaps)
		}
		if int(st.Broken) != broken || int(st.Events) != len(got) || int(st.Gaps) != len(gaps) {
			fail("%+v, but %d events of which %d are marked, and %d gaps", st, len(got), broken, len(gaps))
		}
		if n := len(m.attempts()); n > 10*len(s.steps)+40 {
			fail("%d attempts", n)
		}
	})
	return st
}

// repeat sends the last event of a topic again, also where it was lost on the way
// before.
func (m *model) repeat(topic market.Topic) {
	m.each(func(l *link) {
		if l.frozen || m.skip[topic] {
			return
		}
		for _, e := range slices.Backward(m.log) {
			if last := l.last[topic]; e.epoch == m.epoch && e.event.Topic() == topic && e.event.Seq == last {
				_ = l.data(l.next(e.event))
				return
			}
		}
	})
}

// TestNothingIsLostWhereItCanBeResumed drops, cuts, freezes, drains and ends
// connections, and lets a gateway lose events on the way: the client hands out
// exactly what was published.
func TestNothingIsLostWhereItCanBeResumed(t *testing.T) {
	var sum client.Stats
	rapid.Check(t, func(rt *rapid.T) {
		st := scenarios(false).Draw(rt, "scenario").play(t, rt.Errorf)
		add(&sum, st)
	})
	if sum.Moves == 0 || sum.Drops == 0 || sum.Resumed == 0 || sum.Duplicates == 0 || sum.Missing == 0 {
		t.Errorf("the scenarios are too tame: %+v", sum)
	}
}

// TestWhatIsLostIsReported has histories that are too short, new epochs, and
// gateways that lie: what is missing is marked.
func TestWhatIsLostIsReported(t *testing.T) {
	var sum client.Stats
	rapid.Check(t, func(rt *rapid.T) {
		st := scenarios(true).Draw(rt, "scenario").play(t, rt.Errorf)
		add(&sum, st)
	})
	if sum.Broken == 0 || sum.Gaps == 0 || sum.Missing == 0 {
		t.Errorf("the scenarios are too tame: %+v", sum)
	}
}

func add(sum *client.Stats, st client.Stats) {
	sum.Moves += st.Moves
	sum.Drops += st.Drops
	sum.Resumed += st.Resumed
	sum.Duplicates += st.Duplicates
	sum.Missing += st.Missing
	sum.Broken += st.Broken
	sum.Gaps += st.Gaps
}
