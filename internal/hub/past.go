package hub

import (
	"context"
	"slices"

	"github.com/lzstock/lzstock/market"
)

// Past is what a hub's history holds of some topics after a position.
type Past struct {
	At     market.Seq                  // how far the hub had read
	Events []market.Event              // ascending, each with its Prev
	Lacks  map[market.Topic]market.Seq // topics that had more: Events begin after this position
}

// Past gives what the history holds of topics after a position. "*" stands for
// every symbol.
func (h *Hub) Past(ctx context.Context, topics []market.Topic, after market.Seq) (Past, error) {
	return ask(ctx, h, func(s *shard) Past {
		p := Past{At: s.position, Lacks: map[market.Topic]market.Seq{}}
		seen := map[*topic]bool{}
		s.each(topics, func(t *topic) {
			if seen[t] || !s.live(t) || t.last.Seq <= after {
				return
			}
			seen[t] = true
			if held := max(t.base, t.history.dropped); held > after {
				p.Lacks[t.name] = held
			}
			p.Events = append(p.Events, t.history.after(after)...)
		})
		slices.SortFunc(p.Events, ascending)
		return p
	})
}

// ask has a shard answer a question: any of them knows all topics.
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
