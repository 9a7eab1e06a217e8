package upstream

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/lzstock/lzstock/market"
)

// nowhere is a sink that takes everything.
type nowhere struct{}

func (nowhere) Publish(context.Context, []market.Event) error                 { return nil }
func (nowhere) Replace(context.Context, []market.Topic, []market.Event) error { return nil }
func (nowhere) Forget(context.Context, []market.Topic) error                  { return nil }
func (nowhere) Gap(context.Context, market.Gap) error                         { return nil }
func (nowhere) Feed(context.Context, market.Feed) error                       { return nil }

// batches is a session, and a batch of events of topics that it carries, which next
// moves on.
func batches(tb testing.TB, wild bool) (c *Client, s *session, batch []market.Event, next func()) {
	tb.Helper()
	const topics, size = 200, 128
	c, err := New(Config{Monitors: []string{"a:1"}}, nowhere{}, nil, nil)
	if err != nil {
		tb.Fatal(err)
	}
	s = newSession(target{}, 1)
	batch = make([]market.Event, size)
	last := map[market.Topic]market.Seq{}
	at := uint64(1)
	c.wild[market.Trades] = wild
	next = func() {
		at++
		for i := range batch {
			e := market.Event{Seq: market.MakeSeq(at, i), Channel: market.Trades, Trade: &market.Trade{Time: time.Unix(1, 0)}}
			e.Symbol = market.Symbol(fmt.Sprintf("S%d", (int(at)*size+i)%topics))
			e.Prev = last[e.Topic()]
			last[e.Topic()] = e.Seq
			batch[i] = e
		}
	}
	for i := range topics {
		t := market.Topic{Channel: market.Trades, Symbol: market.Symbol(fmt.Sprintf("S%d", i))}
		c.topics[t] = &topic{asked: true, carried: true}
		c.valueless(t)
	}
	return c, s, batch, next
}

func TestBatchDoesNotAllocate(t *testing.T) {
	for _, wild := range []bool{false, true} {
		c, s, batch, next := batches(t, wild)
		next()
		first := batch[0].Seq
		events := make([]market.Event, len(batch))
		passed := 0.0
		if n := testing.AllocsPerRun(100, func() {
			copy(events, batch)
			for i := range events { // each run is one batch later
				e := &events[i]
				e.Seq += market.Seq(passed) * 256
				e.Prev = c.places[e.Topic()].last
			}
			passed++
			if err := c.batch(t.Context(), s, events); err != nil {
				t.Error(err)
			}
		}); n != 0 {
			t.Errorf("%.0f allocations a batch", n)
		}
		if want := first + market.Seq(passed)*256 - 256 + 127; c.at.Seq != want {
			t.Errorf("at %d, want %d: the events were not passed on", c.at.Seq, want)
		}
	}
}

// BenchmarkBatch is the cost of an event between the stream and the sink.
func BenchmarkBatch(b *testing.B) {
	for name, wild := range map[string]bool{"named": false, "wildcard": true} {
		b.Run(name, func(b *testing.B) {
			c, s, batch, next := batches(b, wild)
			b.ReportAllocs()
			for n := 0; n < b.N; n += len(batch) {
				b.StopTimer()
				next()
				b.StartTimer()
				if err := c.batch(b.Context(), s, batch); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
