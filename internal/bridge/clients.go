package bridge

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/internal/wire"
)

// Client is how one bridge's client keeps up.
type Client struct {
	ID      string
	Handler Handler
	Framing wire.Framing
	Mode    mailbox.Mode
	Age     time.Duration // of the connection
	Oldest  time.Duration // how long the oldest event has waited; 0: none waits
	Queued  int           // events that wait
	Merged  uint64        // events that gave way to later ones, ever
	Bytes   uint64        // that were offered to it, ever
	Busy    bool          // it has not taken all that was offered
}

// slower orders clients, the slowest first.
func slower(a, b Client) int {
	return cmp.Or(cmp.Compare(b.Oldest, a.Oldest), cmp.Compare(b.Queued, a.Queued), cmp.Compare(b.Merged, a.Merged), cmp.Compare(a.ID, b.ID))
}

// Slowest gives the clients of some hubs that keep up worst, at most n, the slowest
// first. Those who keep up are not among them.
func (f *Factory) Slowest(ctx context.Context, n int, hubs ...*hub.Hub) ([]Client, error) {
	var list []Client
	look := func(to hub.Sink, box *mailbox.Mailbox, now time.Time) {
		s, ours := to.(*sink)
		if !ours {
			return
		}
		b := (*Bridge)(s)
		c := Client{Queued: box.Len(), Merged: box.Merged(), Busy: b.busy}
		if c.Queued == 0 && c.Merged == 0 && !c.Busy {
			return
		}
		if oldest := box.Oldest(); !oldest.IsZero() {
			c.Oldest = max(0, now.Sub(oldest))
		}
		c.ID, c.Handler, c.Framing, c.Mode, c.Age, c.Bytes = b.id, b.handler, b.framing, box.Mode(), now.Sub(b.born), b.bytes
		at, _ := slices.BinarySearchFunc(list, c, slower)
		if at < n {
			list = slices.Insert(list, at, c)
			list = list[:min(n, len(list))]
		}
	}
	for _, h := range hubs {
		if err := h.Visit(ctx, look); err != nil {
			return nil, err
		}
	}
	return list, nil
}
