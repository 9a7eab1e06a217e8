package hub

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lzstock/lzstock/internal/mailbox"
)

// TestWhoJoinsAtTheEndIsTold has members join before, during and after the hub's
// end: each fails to join, or is failed.
func TestWhoJoinsAtTheEndIsTold(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			h, err := New(Config{Shards: 2, Inbox: 4})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			join := func() {
				var r recorder
				m, err := h.Join(t.Context(), &r, mailbox.Options{})
				if err != nil && !errors.Is(err, ErrClosed) {
					t.Error(err)
				}
				if err == nil {
					<-h.done
					if !errors.Is(r.err(), ErrClosed) {
						t.Errorf("has joined, and was told %v", r.err())
					}
				}
				m.Leave()
			}
			for range 4 {
				wg.Go(join) // wait for the hub, which does not run yet
			}
			synctest.Wait()
			wg.Go(func() { _ = h.Run(ctx) })
			for range 20 {
				wg.Go(join)
			}
			stop()
			wg.Wait()
			for range 20 {
				if _, err := h.Join(t.Context(), &recorder{}, mailbox.Options{}); !errors.Is(err, ErrClosed) {
					t.Fatalf("joined a hub that has ended: %v", err)
				}
			}
			if n := h.Stats().Members; n != 0 {
				t.Errorf("%d are left", n)
			}
			time.Sleep(time.Second)
		})
	}
}
