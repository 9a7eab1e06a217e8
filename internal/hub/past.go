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
		for t := range s.changed(topics, after) {
			if held := t.held(); held > after {
				p.Lacks[t.name] = held
			}
			p.Events = append(p.Events, t.history.after(after)...)
		}
		slices.SortFunc(p.Events, ascending)
		return p
	})
}

// Lacking are topics that a hub's history does not hold all of after a position, or
// soon will not.
type Lacking struct {
	At   market.Seq                  // how far the hub had read
	Last map[market.Topic]market.Seq // the position of each one's last event
}

// Lacks tells which topics it is that the history does not hold all of after a
// position, or will not when it has half of a topic's events anew. "*" stands for
// every symbol.
func (h *Hub) Lacks(ctx context.Context, topics []market.Topic, after market.Seq) (Lacking, error) {
	return ask(ctx, h, func(s *shard) Lacking {
		l := Lacking{At: s.position, Last: map[market.Topic]market.Seq{}}
		for t := range s.changed(topics, after) {
			if t.held() > after || t.history.half(after, s.hub.cfg.History) {
				l.Last[t.name] = t.last.Seq
			}
		}
		return l
	})
}

// changed gives the topics that have had something after a position.
func (s *shard) changed(topics []market.Topic, after market.Seq) map[*topic]struct{} {
	changed := map[*topic]struct{}{}
	s.each(topics, func(t *topic) {
		if s.live(t) && t.last.Seq > after {
			changed[t] = struct{}{}
		}
	})
	return changed
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
