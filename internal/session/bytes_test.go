package session_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lzstock/lzstock/internal/session"
	"github.com/lzstock/lzstock/market"
)

// symbols gives a request whose record takes some ten bytes for each of n symbols.
func symbols(n int) session.Request {
	var r session.Request
	for i := range n {
		r.Topics = append(r.Topics, market.Topic{Channel: market.Trades, Symbol: market.Symbol(fmt.Sprintf("S%06d", i))})
	}
	return r
}

// TestBytes holds users, addresses and all of them to what their sessions may take, on
// whichever gateway they are made.
func TestBytes(t *testing.T) {
	cfg := session.Config{UserBytes: 10_000, TotalBytes: 25_000}
	bubble(t, cfg, func(t *testing.T, _ *session.Memory, a, b *gateway) {
		t.Helper()
		first, _, err := a.Create(t.Context(), identity("ann"), symbols(700))
		must(t, err)
		synctest.Wait() // the store tells the other gateway
		for name, g := range map[string]*gateway{"where it was made": a, "elsewhere": b} {
			_, _, err = g.Create(t.Context(), identity("ann"), symbols(700))
			wantErr(t, name, err, session.ErrUserBytes)
		}
		open := session.Identity{User: "ann", Method: session.Open} // an address, not the user
		_, _, err = b.Create(t.Context(), open, symbols(700))
		must(t, err)
		_, _, err = b.Create(t.Context(), open, symbols(700))
		wantErr(t, "of an address", err, session.ErrUserBytes)
		synctest.Wait()
		_, _, err = a.Create(t.Context(), identity("bob"), symbols(950))
		wantErr(t, "of all", err, session.ErrTotalBytes)
		if s := a.Stats(); s.Bytes != b.Stats().Bytes || s.Bytes < 14_000 || s.Bytes > 20_000 || s.UserBytes != 1 || s.TotalBytes != 1 {
			t.Errorf("%+v", s)
		}

		// What is gone makes room.
		must(t, a.Delete(t.Context(), first, "ann"))
		_, _, err = a.Create(t.Context(), identity("ann"), symbols(700))
		must(t, err)
		time.Sleep(2 * session.DefaultUnattached)
		if n := a.Stats().Bytes + b.Stats().Bytes; n != 0 {
			t.Errorf("%d bytes are counted of nothing", n)
		}
	})
}

// TestSessionsGrowWithinTheirBytes has a session with a socket ask for more than it may:
// it remembers what it had, and goes on.
func TestSessionsGrowWithinTheirBytes(t *testing.T) {
	bubble(t, session.Config{UserBytes: 10_000}, func(t *testing.T, _ *session.Memory, a, b *gateway) {
		t.Helper()
		id := a.create("ann")
		held, err := a.Attach(t.Context(), id, "conn", func(session.Cause) {})
		must(t, err)
		must(t, held.Update(t.Context(), symbols(500)))
		wantErr(t, "too much", held.Update(t.Context(), symbols(1000)), session.ErrUserBytes)
		must(t, held.Update(t.Context(), symbols(600)))
		synctest.Wait()
		for _, g := range []*gateway{a, b} {
			if n := g.Stats().Bytes; n < 6_000 || n > 8_000 {
				t.Errorf("%d bytes are counted", n)
			}
		}
		got, err := b.Get(t.Context(), id, "ann")
		must(t, err)
		if len(got.Request.Topics) != 600 {
			t.Errorf("the session has %d topics", len(got.Request.Topics))
		}
		must(t, held.Detach(t.Context()))
		time.Sleep(2 * session.DefaultDetached)
		if n := a.Stats().Bytes; n != 0 {
			t.Errorf("%d bytes are counted of nothing", n)
		}
	})
}
