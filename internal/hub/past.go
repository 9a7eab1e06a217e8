package hub

import (
	"container/heap"
	"context"

	"github.com/lzstock/lzstock/market"
)

// Past is what a hub's history holds of some topics after a position.
type Past struct {
	Events  []market.Event              // ascending, each with its Prev; those of one position are all there
	Through market.Seq                  // nothing is missing up to here, but of Lacks
	Lacks   map[market.Topic]market.Seq // topics that had more: Events has them from behind this position on
}

// Past gives the first that the history holds of topics after a position, limit
// events or a few more. "*" stands for every symbol.
func (h *Hub) Past(ctx context.Context, topics []market.Topic, after market.Seq, limit int) (Past, error) {
	return ask(ctx, h, func(s *shard) Past {
		p := Past{Through: s.position, Lacks: map[market.Topic]market.Seq{}}
		seen := map[*topic]struct{}{}
		s.each(topics, func(t *topic) {
			if s.live(t) && !t.quiet(after) {
				seen[t] = struct{}{}
			}
		})
		for _, name := range topics { // those that have shown nothing
			c := &s.channels[name.Channel]
			if base := max(s.base, c.base); base > after && name.Symbol != market.AllSymbols && c.topics[name.Symbol] == nil {
				p.Lacks[name] = base
			}
		}
		var left tails
		for t := range seen {
			if held := t.held(); held > after {
				p.Lacks[t.name] = held
			}
			if next := t.history.after(after); next < len(t.history.events) {
				left = append(left, tail{&t.history, next})
			}
		}
		heap.Init(&left)
		for len(left) > 0 {
			e := left[0].first()
			if n := len(p.Events); n >= limit && p.Events[n-1].Seq != e.Seq {
				p.Through = p.Events[n-1].Seq
				break
			}
			p.Events = append(p.Events, *e)
			if left[0].next++; left[0].next < len(left[0].history.events) {
				heap.Fix(&left, 0)
			} else {
				heap.Pop(&left)
			}
		}
		return p
	})
}

// tail is what is left of a topic's history, at least one event.
type tail struct {
	history *ring
	next    int
}

func (t *tail) first() *market.Event { return t.history.at(t.next) }

// tails is a heap: the one with the earliest event is on top.
type tails []tail

func (t *tails) Len() int           { return len(*t) }
func (t *tails) Less(i, j int) bool { return ascending(*(*t)[i].first(), *(*t)[j].first()) < 0 }
func (t *tails) Swap(i, j int)      { (*t)[i], (*t)[j] = (*t)[j], (*t)[i] }
func (t *tails) Push(x any)         { *t = append(*t, x.(tail)) } //nolint:forcetypeassert // heap's own
func (t *tails) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}

// ask has the first shard answer a question: any of them knows all topics, and it
// has their histories. It gets all batches before the others do, so that the answer
// holds at least what any of them had read by the time of the question.
func ask[T any](ctx context.Context, h *Hub, f func(s *shard) T) (answer T, err error) {
	got := make(chan T, 1)
	if err := h.shards[0].send(ctx, message{do: func(s *shard) { got <- f(s) }}); err != nil {
		return answer, err
	}
	select {
	case answer = <-got:
		return answer, nil
	case <-ctx.Done():
		return answer, context.Cause(ctx)
	case <-h.done:
		return answer, ErrClosed
	}
}
