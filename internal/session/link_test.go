package session_test

import (
	"context"
	"errors"
	"iter"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lzstock/lzstock/internal/session"
)

var errCut = errors.New("the link is cut")

// link is one gateway's way to the store.
type link struct {
	session.KV
	// before runs ahead of a Create, and after behind an Update that took place;
	// its error is the answer.
	before func()
	after  func() error
	// noDelete has deletes fail.
	noDelete bool

	mu    sync.Mutex
	cut   chan struct{} // closed while the link is cut
	stall chan struct{} // not nil: watches wait until it is closed
}

func newLink(kv session.KV) *link { return &link{KV: kv, cut: make(chan struct{})} }

func (l *link) setDown(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if down {
		close(l.cut)
		return
	}
	l.cut = make(chan struct{})
}

func (l *link) setStalled(c chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stall = c
}

func (l *link) state() (cut, stall chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.cut:
		return l.cut, l.stall, errCut
	default:
		return l.cut, l.stall, nil
	}
}

func (l *link) Create(ctx context.Context, key string, value []byte, ttl time.Duration) (uint64, error) {
	if _, _, err := l.state(); err != nil {
		return 0, err
	}
	if l.before != nil {
		l.before()
	}
	return l.KV.Create(ctx, key, value, ttl)
}

func (l *link) Update(ctx context.Context, key string, value []byte, ttl time.Duration, rev uint64) (uint64, error) {
	if _, _, err := l.state(); err != nil {
		return 0, err
	}
	rev, err := l.KV.Update(ctx, key, value, ttl, rev)
	if err == nil && l.after != nil {
		err = l.after()
	}
	return rev, err
}

func (l *link) Get(ctx context.Context, key string) (session.Entry, error) {
	if _, _, err := l.state(); err != nil {
		return session.Entry{}, err
	}
	return l.KV.Get(ctx, key)
}

func (l *link) Delete(ctx context.Context, key string, rev uint64) error {
	if _, _, err := l.state(); err != nil || l.noDelete {
		return errCut
	}
	return l.KV.Delete(ctx, key, rev)
}

func (l *link) Watch(ctx context.Context) iter.Seq2[session.Entry, error] {
	return func(yield func(session.Entry, error) bool) {
		cut, _, err := l.state()
		if err != nil {
			yield(session.Entry{}, err)
			return
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			select {
			case <-cut:
				cancel(errCut)
			case <-ctx.Done():
			}
		})
		defer cancel(nil)
		for e, err := range l.KV.Watch(ctx) {
			if _, stall, _ := l.state(); stall != nil {
				select {
				case <-stall:
				case <-ctx.Done():
				}
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// linked runs gateway a at the store, and gateway b over a link.
func linked(t *testing.T, do func(t *testing.T, l *link, a, b *gateway)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		kv := session.NewMemory(session.MemoryConfig{})
		l := newLink(kv)
		a, b := start(t, kv, "a", session.Config{}), start(t, l, "b", session.Config{})
		synctest.Wait()
		do(t, l, a, b)
		a.stop()
		b.stop()
	})
}

// TestWhatHappensBehindACutLink has one gateway miss all of it.
func TestWhatHappensBehindACutLink(t *testing.T) {
	linked(t, func(t *testing.T, l *link, a, b *gateway) {
		t.Helper()
		kept, moved, deleted, revoked := b.create("ann"), b.create("ann"), b.create("ann"), b.create("bob")
		s1, s2, s3, s4 := b.attach(kept, "c1"), b.attach(moved, "c2"), b.attach(deleted, "c3"), b.attach(revoked, "c4")
		synctest.Wait()
		l.setDown(true)
		synctest.Wait()
		there := a.attach(moved, "c5")
		must(t, a.Delete(t.Context(), deleted, "ann"))
		_, err := a.Revoke(t.Context(), "bob")
		must(t, err)
		a.create("eve")
		time.Sleep(session.DeleteKept / 2) // the kept one has expired
		for i, s := range []*socket{s1, s2, s3, s4} {
			if s.ended() != 0 {
				t.Fatalf("socket %d ended behind the cut link: %v", i+1, s.ended())
			}
		}
		l.setDown(false)
		time.Sleep(2 * time.Second)
		for i, c := range []struct {
			got, want session.Cause
		}{{s1.ended(), 0}, {s2.ended(), session.Superseded}, {s3.ended(), session.Deleted}, {s4.ended(), session.Revoked}, {there.ended(), 0}} {
			if c.got != c.want {
				t.Errorf("socket %d: %v, want %v", i+1, c.got, c.want)
			}
		}
		if len(b.revocations()) != 1 || b.Stats().Sessions != 2 || b.Stats().Restored != 1 {
			t.Errorf("revoked %v, stats %+v", b.revocations(), b.Stats())
		}
		if _, err := a.Get(t.Context(), kept, "ann"); err != nil {
			t.Errorf("the session that expired under its socket: %v", err)
		}
	})
}

// TestRestoredTwice has a session expire under a ghost's gateway, while its
// client has come back elsewhere and been cut off as well. The ghost's gateway is
// first to create it again: before the other one looks, or after.
func TestRestoredTwice(t *testing.T) {
	for name, late := range map[string]bool{"before": false, "after": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kv := session.NewMemory(session.MemoryConfig{})
				l1, l2 := newLink(kv), newLink(kv)
				a, b := start(t, l1, "a", session.Config{}), start(t, l2, "b", session.Config{})
				synctest.Wait()
				id := a.create("ann")
				ghost := a.attach(id, "c1")
				l1.setDown(true)
				synctest.Wait()
				newer := b.attach(id, "c2")
				synctest.Wait()
				l2.setDown(true)
				time.Sleep(10 * session.DefaultDetached)
				hold := make(chan struct{})
				l2.before = func() { <-hold }
				if late {
					l2.setDown(false)
					time.Sleep(1500 * time.Millisecond)
				}
				l1.setDown(false)
				time.Sleep(1500 * time.Millisecond)
				if s, err := a.Get(t.Context(), id, "ann"); err != nil || s.Holder.Conn != "c1" || s.Fence != 1 {
					t.Fatalf("the ghost's gateway made it %+v, %v", s, err)
				}
				close(hold)
				if !late {
					l2.setDown(false)
				}
				time.Sleep(2 * time.Second)
				if ghost.ended() != session.Superseded || newer.ended() != 0 {
					t.Errorf("the ghost %v, the newer socket %v", ghost.ended(), newer.ended())
				}
				s, err := a.Get(t.Context(), id, "ann")
				must(t, err)
				if s.Holder.Conn != "c2" || s.Fence != 2 {
					t.Errorf("held by %+v, fence %d", s.Holder, s.Fence)
				}
				a.stop()
				b.stop()
			})
		})
	}
}

// TestLostBeforeItWasKnown has things happen between the write that attaches and
// its answer.
func TestLostBeforeItWasKnown(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(t *testing.T, id session.ID, a *gateway)
		want      error
	}{
		"superseded": {func(t *testing.T, id session.ID, a *gateway) { t.Helper(); a.attach(id, "c9") }, session.ErrSuperseded},
		"deleted":    {func(t *testing.T, id session.ID, a *gateway) { t.Helper(); must(t, a.Delete(t.Context(), id, "ann")) }, session.ErrNotFound},
		"revoked": {func(t *testing.T, _ session.ID, a *gateway) {
			t.Helper()
			_, err := a.Revoke(t.Context(), "ann")
			must(t, err)
		}, session.ErrNotFound},
		"marked as revoked": {func(t *testing.T, _ session.ID, a *gateway) {
			t.Helper()
			wantErr(t, "revoke", markOnly(t, a, "ann"), session.ErrUnavailable)
		}, session.ErrNotFound},
		"nothing": {func(*testing.T, session.ID, *gateway) {}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			linked(t, func(t *testing.T, l *link, a, b *gateway) {
				t.Helper()
				id := a.create("ann")
				hold, written := make(chan struct{}), make(chan struct{})
				l.after = func() error {
					close(written)
					<-hold
					return nil
				}
				var wg sync.WaitGroup
				wg.Go(func() {
					s, err := b.tryAttach(id, "c1")
					if !errors.Is(err, c.want) {
						t.Errorf("attach: %v, want %v", err, c.want)
					}
					if s.ended() != 0 {
						t.Errorf("it failed, and its end was told: %v", s.ended())
					}
				})
				<-written
				c.meanwhile(t, id, a)
				synctest.Wait() // the other gateway has seen it
				l.after = nil
				close(hold)
				wg.Wait()
			})
		})
	}
}

// markOnly revokes a user so that the mark stands, and the sessions as well.
func markOnly(t *testing.T, g *gateway, user session.User) error {
	t.Helper()
	l := newLink(g.kv)
	l.noDelete = true
	tool, err := session.New(session.Config{KV: l})
	must(t, err)
	_, err = tool.Revoke(t.Context(), user)
	return err
}

func TestTheMarkIsEnough(t *testing.T) {
	linked(t, func(t *testing.T, _ *link, a, b *gateway) {
		t.Helper()
		held, idle := a.create("ann"), a.create("ann")
		s := b.attach(held, "c1")
		wantErr(t, "revoke", markOnly(t, a, "ann"), session.ErrUnavailable)
		synctest.Wait()
		if s.ended() != session.Revoked {
			t.Errorf("the socket: %v", s.ended())
		}
		for _, id := range []session.ID{held, idle} {
			_, err := b.tryAttach(id, "c2")
			wantErr(t, "attach", err, session.ErrNotFound)
			_, err = a.Get(t.Context(), id, "ann")
			wantErr(t, "get", err, session.ErrNotFound)
		}
		n, err := a.Revoke(t.Context(), "ann") // again
		if err != nil || n != 2 {
			t.Errorf("revoked %d, %v", n, err)
		}
	})
}

// TestReadingAllAgain has a gateway write while it reads all that there is.
func TestReadingAllAgain(t *testing.T) {
	linked(t, func(t *testing.T, l *link, a, b *gateway) {
		t.Helper()
		hold := make(chan struct{})
		l.before = func() { <-hold }
		var wg sync.WaitGroup
		for range session.DefaultPerUser {
			wg.Go(func() { b.create("ann") })
		}
		synctest.Wait()
		stall := make(chan struct{})
		l.setStalled(stall)
		l.setDown(true)
		synctest.Wait()
		l.setDown(false)
		time.Sleep(time.Second)
		synctest.Wait() // what there is has been read, and waits
		l.before = nil
		wg.Go(func() {
			_, err := b.Revoke(t.Context(), "eve")
			must(t, err)
		})
		synctest.Wait() // the mark is there, and the rest waits as well
		l.setStalled(nil)
		close(stall)
		synctest.Wait()
		if !b.IsRevoked("eve", time.Now().Add(-time.Minute)) || len(b.revocations()) != 1 {
			t.Errorf("told %v", b.revocations())
		}
		_, _, err := b.Create(t.Context(), identity("ann"), request("AAPL"))
		wantErr(t, "one more than those that are being created", err, session.ErrUserQuota)
		close(hold)
		wg.Wait()
		synctest.Wait()
		if n := b.Stats().Sessions; n != session.DefaultPerUser {
			t.Errorf("%d sessions", n)
		}
	})
}

// TestLostAnswers has writes take place whose answers are lost.
func TestLostAnswers(t *testing.T) {
	linked(t, func(t *testing.T, l *link, a, b *gateway) {
		t.Helper()
		id := a.create("ann")
		s := b.attach(id, "c1")
		stall := make(chan struct{})
		l.setStalled(stall) // the watch does not help
		l.after = func() error { return errCut }
		wantErr(t, "update", s.Update(t.Context(), request("MSFT")), session.ErrUnavailable)
		l.after = nil
		must(t, s.Update(t.Context(), request("TSLA")))
		if s.ended() != 0 {
			t.Errorf("its own write ended it: %v", s.ended())
		}
		close(stall)
	})
}

// TestSlowWatch has a gateway learn from its writes what the watch has not told.
func TestSlowWatch(t *testing.T) {
	linked(t, func(t *testing.T, l *link, a, b *gateway) {
		t.Helper()
		token := session.Identity{User: "ann", Method: session.Token, Issued: time.Now()}
		time.Sleep(time.Second)
		id := b.create("bob")
		s := b.attach(id, "c1")
		synctest.Wait()
		stall := make(chan struct{})
		l.setStalled(stall)
		a.attach(id, "c2")
		wantErr(t, "update", s.Update(t.Context(), request("MSFT")), session.ErrSuperseded)
		if s.ended() != session.Superseded {
			t.Errorf("the socket that was superseded: %v", s.ended())
		}
		_, err := a.Revoke(t.Context(), "ann")
		must(t, err)
		_, _, err = b.Create(t.Context(), token, request("AAPL"))
		wantErr(t, "create with a revoked token", err, session.ErrRevoked)
		for info, err := range a.List(t.Context(), "ann") {
			t.Errorf("there is %+v, %v", info, err)
		}
		close(stall)
		synctest.Wait()
		if b.Stats().Sessions != 1 {
			t.Errorf("stats %+v", b.Stats())
		}
	})
}
