package hub

import (
	"context"
	"time"

	"github.com/lzstock/lzstock/internal/mailbox"
)

// Visit calls f for each member, one at a time, on its shard's goroutine, which does
// nothing else meanwhile: f must be quick, and keep nothing of the mailbox.
func (h *Hub) Visit(ctx context.Context, f func(sink Sink, box *mailbox.Mailbox, now time.Time)) error {
	for _, s := range h.shards {
		done := make(chan struct{})
		if err := s.send(ctx, message{do: func(s *shard) {
			defer close(done)
			for m := range s.members {
				s.guard(m, func() { f(m.sink, &m.box, s.now) })
			}
		}}); err != nil {
			return err
		}
		select {
		case <-done:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-h.done:
			return ErrClosed
		}
	}
	return nil
}
