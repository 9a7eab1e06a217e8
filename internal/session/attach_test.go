package session_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lzstock/lzstock/internal/session"
)

func TestNewerSocketWins(t *testing.T) {
	bubble(t, session.Config{}, func(t *testing.T, _ *session.Memory, a, b *gateway) {
		t.Helper()
		id := a.create("ann")
		first := a.attach(id, "c1")
		second := a.attach(id, "c2")
		if first.ended() != session.Superseded { // at once, on the same gateway
			t.Errorf("the first socket: %v, want superseded", first.ended())
		}
		third := b.attach(id, "c3")
		synctest.Wait()
		if second.ended() != session.Superseded || third.ended() != 0 {
			t.Errorf("the second socket %v, the third %v: want the second to be superseded", second.ended(), third.ended())
		}
		s, err := a.Get(t.Context(), id, "ann")
		must(t, err)
		if s.Holder.Gateway != "b" || s.Holder.Conn != "c3" || s.Fence != 3 {
			t.Errorf("held by %+v, fence %d", s.Holder, s.Fence)
		}
		// Who was superseded changes nothing any more.
		must(t, second.Detach(t.Context()))
		wantErr(t, "update of the second", second.Update(t.Context(), request("MSFT")), session.ErrSuperseded)
		synctest.Wait()
		if third.ended() != 0 {
			t.Errorf("the third socket ended: %v", third.ended())
		}
		if s := a.Stats(); s.Superseded != 2 || s.Attached != 0 || b.Stats().Attached != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestRaceForOneSession(t *testing.T) {
	bubble(t, session.Config{}, func(t *testing.T, _ *session.Memory, a, b *gateway) {
		t.Helper()
		for range 50 {
			id := a.create("ann")
			var wg sync.WaitGroup
			var mu sync.Mutex
			var all []*socket
			for i := range 6 {
				wg.Go(func() {
					s, err := []*gateway{a, b}[i%2].tryAttach(id, fmt.Sprint("c", i))
					if err != nil {
						wantErr(t, "attach", err, session.ErrSuperseded)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					all = append(all, s)
				})
			}
			wg.Wait()
			synctest.Wait()
			holds := 0
			for _, s := range all {
				if s.ended() == 0 {
					holds++
				}
			}
			if holds != 1 {
				t.Fatalf("%d of %d sockets have the session", holds, len(all))
			}
			must(t, a.Delete(t.Context(), id, "ann"))
			synctest.Wait()
		}
	})
}

func TestTimes(t *testing.T) {
	bubble(t, session.Config{}, func(t *testing.T, _ *session.Memory, a, b *gateway) {
		t.Helper()
		there := func(id session.ID) bool {
			_, err := b.Get(t.Context(), id, "ann")
			return err == nil
		}
		idle, held := a.create("ann"), a.create("ann")
		s := a.attach(held, "c1")
		time.Sleep(session.DefaultUnattached - time.Second)
		if !there(idle) {
			t.Error("it expired before its time")
		}
		time.Sleep(time.Second)
		if there(idle) {
			t.Error("it lives without a socket")
		}
		time.Sleep(4 * time.Hour)
		if !there(held) || s.ended() != 0 {
			t.Fatalf("it expired under its socket: %v", s.ended())
		}
		must(t, s.Detach(t.Context()))
		time.Sleep(session.DefaultDetached - time.Second)
		if !there(held) {
			t.Error("it expired before its client could come back")
		}
		again := b.attach(held, "c2")
		if diff := cmp.Diff(request("AAPL"), again.Session().Request); diff != "" {
			t.Error(diff)
		}
		must(t, again.Detach(t.Context()))
		time.Sleep(session.DefaultDetached)
		if there(held) {
			t.Error("it lives though nobody came back")
		}
		if n := a.Stats().Renewals; n < 4*60*2 || n > 4*60*3 {
			t.Errorf("%d renewals in 4 h, want about two a minute", n)
		}
	})
}

func TestKilledGatewayLeavesItsSessions(t *testing.T) {
	bubble(t, session.Config{}, func(t *testing.T, _ *session.Memory, a, b *gateway) {
		t.Helper()
		back, gone := a.create("ann"), a.create("ann")
		a.attach(back, "c1")
		a.attach(gone, "c2")
		time.Sleep(time.Hour)
		a.stop()
		time.Sleep(session.DefaultDetached - 40*time.Second)
		s := b.attach(back, "c3")
		time.Sleep(40 * time.Second)
		if _, err := b.tryAttach(gone, "c4"); err == nil {
			t.Error("a session outlives its gateway by more than Detached")
		}
		if s.ended() != 0 {
			t.Errorf("the session that came back ended: %v", s.ended())
		}
	})
}

func TestRenewalsAreSpread(t *testing.T) {
	bubble(t, session.Config{PerUser: 1000}, func(t *testing.T, _ *session.Memory, a, _ *gateway) {
		t.Helper()
		for i := range 300 {
			a.attach(a.create("ann"), fmt.Sprint("c", i))
		}
		time.Sleep(time.Minute + 500*time.Millisecond) // not at a turn
		before := a.Stats().Renewals
		time.Sleep(time.Second)
		if n := a.Stats().Renewals - before; n != 10 {
			t.Errorf("%d of 300 were renewed within a second, want 10", n)
		}
	})
}

func TestUpdateIsRemembered(t *testing.T) {
	bubble(t, session.Config{}, func(t *testing.T, kv *session.Memory, a, b *gateway) {
		t.Helper()
		id := a.create("ann")
		s := a.attach(id, "c1")
		wants := func(r session.Request) {
			t.Helper()
			got, err := b.Get(t.Context(), id, "ann")
			must(t, err)
			if diff := cmp.Diff(r, got.Request); diff != "" {
				t.Error(diff)
			}
		}
		must(t, s.Update(t.Context(), request("MSFT", "TSLA")))
		wants(request("MSFT", "TSLA"))
		if err := s.Update(t.Context(), request("no way")); err == nil {
			t.Error("a bad request was taken")
		}
		wants(request("MSFT", "TSLA"))
		kv.SetDown(true)
		wantErr(t, "update", s.Update(t.Context(), request("NVDA")), session.ErrUnavailable)
		kv.SetDown(false)
		time.Sleep(time.Minute)
		wants(request("NVDA"))
		must(t, s.Detach(t.Context()))
		wantErr(t, "update behind detach", s.Update(t.Context(), request("AAPL")), session.ErrNotFound)
		time.Sleep(time.Minute)
		wants(request("NVDA"))
	})
}

// TestDetachBeatsRenewal has a renewal wait while the session is detached.
func TestDetachBeatsRenewal(t *testing.T) {
	bubble(t, session.Config{}, func(t *testing.T, _ *session.Memory, a, b *gateway) {
		t.Helper()
		for range 200 {
			id := a.create("ann")
			s := a.attach(id, "c1")
			var wg sync.WaitGroup
			wg.Go(func() { _ = s.Update(t.Context(), request("MSFT")) })
			wg.Go(func() { must(t, s.Detach(t.Context())) })
			wg.Wait()
			got, err := b.Get(t.Context(), id, "ann")
			must(t, err)
			if got.Attached() {
				t.Fatalf("it is attached to %+v, which was detached", got.Holder)
			}
			must(t, a.Delete(t.Context(), id, "ann"))
		}
	})
}

func TestDeleteEndsTheSocket(t *testing.T) {
	bubble(t, session.Config{}, func(t *testing.T, _ *session.Memory, a, b *gateway) {
		t.Helper()
		near, far := a.create("ann"), a.create("ann")
		s1, s2 := a.attach(near, "c1"), b.attach(far, "c2")
		must(t, a.Delete(t.Context(), near, "ann"))
		if s1.ended() != session.Deleted {
			t.Errorf("the socket of this gateway: %v", s1.ended())
		}
		must(t, a.Delete(t.Context(), far, "ann"))
		synctest.Wait()
		if s2.ended() != session.Deleted {
			t.Errorf("the socket of the other gateway: %v", s2.ended())
		}
		wantErr(t, "update", s2.Update(t.Context(), request("AAPL")), session.ErrNotFound)
		must(t, s2.Detach(t.Context()))
		if n := a.Stats().Sessions + b.Stats().Sessions; n != 0 {
			t.Errorf("%d sessions are known", n)
		}
	})
}

// TestSocketsOutliveTheStore has the store away for so long that all expires.
func TestSocketsOutliveTheStore(t *testing.T) {
	for name, lose := range map[string]func(kv *session.Memory){
		"away": func(kv *session.Memory) {
			kv.SetDown(true)
			time.Sleep(10 * session.DefaultDetached)
			kv.SetDown(false)
		},
		"made anew": func(kv *session.Memory) { kv.Wipe() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, session.Config{}, func(t *testing.T, kv *session.Memory, a, b *gateway) {
				t.Helper()
				id, idle := a.create("ann"), a.create("ann")
				s := a.attach(id, "c1")
				lose(kv)
				time.Sleep(3 * time.Second)
				synctest.Wait()
				if s.ended() != 0 {
					t.Fatalf("the socket ended: %v", s.ended())
				}
				got, err := b.Get(t.Context(), id, "ann")
				must(t, err)
				if got.Holder.Conn != "c1" || got.Fence != 1 {
					t.Errorf("restored as %+v, fence %d", got.Holder, got.Fence)
				}
				_, err = b.Get(t.Context(), idle, "ann")
				wantErr(t, "one without a socket", err, session.ErrNotFound)
				if sa, sb := a.Stats(), b.Stats(); sa.Sessions != 1 || sb.Sessions != 1 || sa.Restored != 1 || sa.Failures > 1 {
					t.Errorf("stats %+v and %+v", sa, sb)
				}
				next := b.attach(id, "c2")
				synctest.Wait()
				if s.ended() != session.Superseded || next.ended() != 0 {
					t.Errorf("after it came back: %v and %v", s.ended(), next.ended())
				}
			})
		})
	}
}

func TestRevoke(t *testing.T) {
	bubble(t, session.Config{}, func(t *testing.T, kv *session.Memory, a, b *gateway) {
		t.Helper()
		held, idle, other := a.create("ann"), a.create("ann"), a.create("bob")
		s1, s2 := b.attach(held, "c1"), b.attach(other, "c2")
		before := time.Now()
		time.Sleep(time.Second)
		tool, err := session.New(session.Config{KV: kv})
		must(t, err)
		n, err := tool.Revoke(t.Context(), "ann")
		if err != nil || n != 2 {
			t.Errorf("%d sessions, %v: want 2", n, err)
		}
		at := time.Now()
		synctest.Wait()
		if s1.ended() != session.Revoked || s2.ended() != 0 {
			t.Errorf("sockets %v and %v: want the first to be revoked", s1.ended(), s2.ended())
		}
		for _, g := range []*gateway{a, b} {
			if diff := cmp.Diff([]session.User{"ann"}, g.revocations()); diff != "" {
				t.Error(diff)
			}
			for _, id := range []session.ID{held, idle} {
				_, err := g.tryAttach(id, "c3")
				wantErr(t, "attach", err, session.ErrNotFound)
			}
			for _, c := range []struct {
				user   session.User
				issued time.Time
				want   bool
			}{
				{"ann", before, true},
				{"ann", at, true},
				{"ann", at.Add(1), false},
				{"ann", time.Time{}, false},
				{"bob", before, false},
			} {
				if got := g.IsRevoked(c.user, c.issued); got != c.want {
					t.Errorf("%s, issued %v: revoked %v, want %v", c.user, c.issued, got, c.want)
				}
			}
		}
		token := session.Identity{User: "ann", Method: session.Token, Issued: before}
		_, _, err = a.Create(t.Context(), token, request("AAPL"))
		wantErr(t, "an old token", err, session.ErrRevoked)
		time.Sleep(time.Second)
		token.Issued = time.Now()
		id, _, err := a.Create(t.Context(), token, request("AAPL"))
		must(t, err)
		b.attach(id, "c4")
		late := start(t, kv, "late", session.Config{})
		synctest.Wait()
		if !late.IsRevoked("ann", before) {
			t.Error("a gateway that starts later does not know")
		}
		time.Sleep(session.DefaultRevoked)
		if a.IsRevoked("ann", before) || late.IsRevoked("ann", before) {
			t.Error("it is remembered for longer than Config.Revoked")
		}
		late.stop()
	})
}

// TestRevokeAgain takes a second revocation for a new one.
func TestRevokeAgain(t *testing.T) {
	bubble(t, session.Config{}, func(t *testing.T, _ *session.Memory, a, b *gateway) {
		t.Helper()
		for i := range 2 {
			s := b.attach(a.create("ann"), "c1")
			_, err := a.Revoke(t.Context(), "ann")
			must(t, err)
			synctest.Wait()
			if s.ended() != session.Revoked || len(a.revocations()) != i+1 || len(b.revocations()) != i+1 {
				t.Errorf("time %d: %v, %v, %v", i, s.ended(), a.revocations(), b.revocations())
			}
			time.Sleep(time.Second)
		}
		if _, err := a.Revoke(t.Context(), ""); err == nil {
			t.Error("nobody was revoked")
		}
	})
}
