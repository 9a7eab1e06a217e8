package watch

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/lzstock/lzstock/client"
	"github.com/lzstock/lzstock/market"
)

// wanted is what a user wants to see. It changes while the program runs.
type wanted struct {
	channels []market.Channel
	changed  chan struct{} // room for one

	mu      sync.Mutex
	symbols map[market.Symbol]bool
	detail  market.Symbol // has its minutes and trades as well, "" for none
}

// set changes it.
func (w *wanted) set(f func(w *wanted)) {
	w.mu.Lock()
	f(w)
	w.mu.Unlock()
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// topics gives what that takes.
func (w *wanted) topics() map[market.Topic]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make(map[market.Topic]bool)
	for s := range w.symbols {
		for _, ch := range w.channels {
			out[market.Topic{Channel: ch, Symbol: s}] = true
		}
	}
	if w.detail != "" {
		for _, ch := range []market.Channel{market.Trades, market.Bars, market.UpdatedBars} {
			out[market.Topic{Channel: ch, Symbol: w.detail}] = true
		}
	}
	return out
}

// subscribe keeps the client subscribed to what is wanted. Symbols that the
// gateway refuses are shown; when it refuses all at first, there is nothing to
// watch.
func (w *watcher) subscribe(ctx context.Context, c *client.Client) error {
	have := make(map[market.Topic]bool)
	for first := true; ; first = false {
		want := w.wanted.topics()
		var add, drop []market.Topic
		for t := range want {
			if !have[t] {
				add = append(add, t)
			}
		}
		for t := range have {
			if !want[t] {
				drop = append(drop, t)
			}
		}
		have = maps.Clone(want)
		if err := w.attempt(ctx, func() error { return c.Unsubscribe(ctx, drop...) }); err != nil {
			return err
		}
		err := w.attempt(ctx, func() error { return c.Subscribe(ctx, add...) })
		if rejected, ok := errors.AsType[*client.RejectedError](err); ok && (!first || len(rejected.Rejected) < len(add)) {
			err = nil
			w.show(func(d display, now time.Time) {
				for _, r := range rejected.Rejected {
					d.rejected(r, now)
				}
			})
		}
		if err != nil {
			return err
		}
		select {
		case <-w.wanted.changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// attempt does what may succeed later again and again, unless the gateway has
// kept it. It waits for the first connection.
func (w *watcher) attempt(ctx context.Context, f func() error) error {
	for {
		err := f()
		if over(ctx) || err == nil {
			return nil
		}
		e, ok := errors.AsType[*client.Error](err)
		switch {
		case !ok || e.Retry == client.RetryNever:
			return err
		case e.Code == http.StatusServiceUnavailable: // kept until prices are there again
			return nil
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return nil
		}
	}
}

func over(ctx context.Context) bool { return ctx.Err() != nil }
