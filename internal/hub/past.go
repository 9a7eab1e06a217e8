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
		var events []market.Event
		p := s.past(topics, after, func(t *topic) { events = append(events, t.history.after(after)...) })
		slices.SortFunc(events, ascending)
		p.Events = events
		return p
	})
}

// Lacks gives what Past does, without the events.
func (h *Hub) Lacks(ctx context.Context, topics []market.Topic, after market.Seq) (Past, error) {
	return ask(ctx, h, func(s *shard) Past { return s.past(topics, after, func(*topic) {}) })
}

// past looks at each topic that has had something after a position.
func (s *shard) past(topics []market.Topic, after market.Seq, look func(t *topic)) Past {
	p := Past{At: s.position, Lacks: map[market.Topic]market.Seq{}}
	seen := map[*topic]bool{}
	s.each(topics, func(t *topic) {
		if seen[t] || !s.live(t) || t.last.Seq <= after {
			return
		}
		seen[t] = true
		if held := t.held(); held > after {
			p.Lacks[t.name] = held
		}
		look(t)
	})
	return p
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
