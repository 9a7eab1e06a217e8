package session_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lzstock/lzstock/internal/session"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// gateway is a Manager that runs.
type gateway struct {
	*session.Manager
	tb   testing.TB
	kv   session.KV
	stop func()

	mu      sync.Mutex
	revoked []session.User
}

func start(tb testing.TB, kv session.KV, name string, cfg session.Config) *gateway {
	tb.Helper()
	g := &gateway{tb: tb, kv: kv}
	cfg.KV, cfg.Gateway = kv, name
	cfg.Logger = slog.New(slog.NewTextHandler(tb.Output(), nil))
	cfg.OnRevoke = func(u session.User, _ time.Time) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.revoked = append(g.revoked, u)
	}
	var err error
	g.Manager, err = session.New(cfg)
	must(tb, err)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := g.Run(ctx); err != nil {
			tb.Errorf("%s: %v", name, err)
		}
	})
	g.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	tb.Cleanup(g.stop)
	return g
}

// revocations gives the users of whom OnRevoke told.
func (g *gateway) revocations() []session.User {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.revoked)
}

func (g *gateway) create(user session.User) session.ID {
	g.tb.Helper()
	id, _, err := g.Create(g.tb.Context(), identity(user), request("AAPL"))
	must(g.tb, err)
	return id
}

// socket is one that has, or had, a session.
type socket struct {
	*session.Attachment
	mu    sync.Mutex
	cause []session.Cause
}

func (s *socket) ended() session.Cause {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch len(s.cause) {
	case 0:
		return 0
	case 1:
		return s.cause[0]
	}
	panic(fmt.Sprintf("its end was told %d times: %v", len(s.cause), s.cause))
}

func (g *gateway) tryAttach(id session.ID, conn string) (*socket, error) {
	s := &socket{}
	a, err := g.Attach(g.tb.Context(), id, conn, func(c session.Cause) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.cause = append(s.cause, c)
	})
	s.Attachment = a
	return s, err
}

func (g *gateway) attach(id session.ID, conn string) *socket {
	g.tb.Helper()
	s, err := g.tryAttach(id, conn)
	must(g.tb, err)
	return s
}

func identity(user session.User) session.Identity {
	return session.Identity{User: user, Method: session.Key}
}

func request(symbols ...market.Symbol) session.Request {
	r := session.Request{Delivery: wire.Adaptive}
	for _, s := range symbols {
		r.Topics = append(r.Topics, market.Topic{Channel: market.Trades, Symbol: s})
	}
	return r
}

func wantErr(tb testing.TB, what string, err, want error) {
	tb.Helper()
	if !errors.Is(err, want) {
		tb.Errorf("%s: %v, want %v", what, err, want)
	}
}

// bubble runs two gateways over one store.
func bubble(t *testing.T, cfg session.Config, do func(t *testing.T, kv *session.Memory, a, b *gateway)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		kv := session.NewMemory(session.MemoryConfig{})
		a, b := start(t, kv, "a", cfg), start(t, kv, "b", cfg)
		synctest.Wait()
		do(t, kv, a, b)
		a.stop()
		b.stop()
	})
}

func TestCreateAndGet(t *testing.T) {
	bubble(t, session.Config{}, func(t *testing.T, _ *session.Memory, a, b *gateway) {
		t.Helper()
		who := session.Identity{User: "ann", Method: session.Token, Credential: "t-1", Issued: time.Now().UTC().Add(-time.Hour)}
		id, made, err := a.Create(t.Context(), who, request("AAPL", "MSFT"))
		must(t, err)
		if made.Expires.Sub(made.Created) != session.DefaultUnattached || made.Attached() {
			t.Errorf("made %+v", made)
		}
		for _, g := range []*gateway{a, b} {
			got, err := g.Get(t.Context(), id, "ann")
			must(t, err)
			if diff := cmp.Diff(made, got, cmp.Comparer(func(a, b session.Session) bool {
				return cmp.Equal(a.Identity, b.Identity) && cmp.Equal(a.Request, b.Request) && a.Expires.Equal(b.Expires)
			})); diff != "" {
				t.Error(diff)
			}
		}
	})
}

// TestNothingCanBeProbed holds the errors of unknown, foreign, expired and
// deleted sessions side by side.
func TestNothingCanBeProbed(t *testing.T) {
	bubble(t, session.Config{}, func(t *testing.T, _ *session.Memory, a, b *gateway) {
		t.Helper()
		expired := a.create("ann")
		time.Sleep(session.DefaultUnattached + time.Second)
		deleted, foreign := a.create("ann"), a.create("bob")
		must(t, b.Delete(t.Context(), deleted, "ann"))
		wantErr(t, "delete of a foreign session", a.Delete(t.Context(), foreign, "ann"), session.ErrNotFound)
		for name, id := range map[string]session.ID{
			"unknown": "AAAAAAAAAAAAAAAAAAAAAA", "no id": "", "expired": expired, "deleted": deleted, "foreign": foreign,
		} {
			_, err := a.Get(t.Context(), id, "ann")
			if want := "get session " + id.Name() + ": no such session"; err == nil || err.Error() != want {
				t.Errorf("%s: %q, want %q", name, err, want)
			}
			if name != "foreign" {
				_, err = b.tryAttach(id, "c")
				wantErr(t, "attach "+name, err, session.ErrNotFound)
			}
		}
		if _, err := a.Get(t.Context(), foreign, "bob"); err != nil {
			t.Errorf("the foreign session is gone: %v", err)
		}
	})
}

func TestOpenCountsByAddress(t *testing.T) {
	bubble(t, session.Config{}, func(t *testing.T, _ *session.Memory, a, b *gateway) {
		t.Helper()
		var last session.ID
		for i := range session.DefaultPerUser + 1 { // no quota by user
			id, _, err := a.Create(t.Context(), session.Identity{User: session.User(fmt.Sprint("10.0.0.", i)), Method: session.Open}, request("AAPL"))
			must(t, err)
			last = id
		}
		if _, err := b.Get(t.Context(), last, "somebody"); err != nil {
			t.Error(err)
		}
	})
	bubble(t, session.Config{PerUser: 1}, func(t *testing.T, _ *session.Memory, a, _ *gateway) {
		t.Helper()
		for i, want := range []error{nil, nil, session.ErrUserQuota} {
			_, _, err := a.Create(t.Context(), session.Identity{User: session.User(fmt.Sprint("10.0.0.", i%2)), Method: session.Open}, request("AAPL"))
			wantErr(t, fmt.Sprint("session ", i), err, want)
		}
	})
}

func TestQuotas(t *testing.T) {
	bubble(t, session.Config{PerUser: 3, Total: 5}, func(t *testing.T, _ *session.Memory, a, b *gateway) {
		t.Helper()
		var ids []session.ID
		for range 2 {
			ids = append(ids, a.create("ann"))
		}
		synctest.Wait() // the store tells the other gateway
		ids = append(ids, b.create("ann"))
		synctest.Wait()
		_, _, err := a.Create(t.Context(), identity("ann"), request("AAPL"))
		wantErr(t, "one too many", err, session.ErrUserQuota)
		own := identity("eve")
		own.Grant.Limits.Sessions = 1
		_, _, err = a.Create(t.Context(), own, request("AAPL"))
		must(t, err)
		_, _, err = a.Create(t.Context(), own, request("AAPL"))
		wantErr(t, "more than the grant's limit", err, session.ErrUserQuota)
		a.create("bob")
		_, _, err = a.Create(t.Context(), identity("bob"), request("AAPL"))
		wantErr(t, "one too many of all", err, session.ErrTotalQuota)

		// What is gone counts no more: at once on the same gateway.
		must(t, a.Delete(t.Context(), ids[0], "ann"))
		a.create("ann")
		time.Sleep(2 * session.DefaultUnattached)
		if n := a.Stats().Sessions; n != 0 {
			t.Errorf("%d sessions are known after all expired", n)
		}
		b.create("ann")
	})
}

func TestQuotaHoldsUnderConcurrency(t *testing.T) {
	bubble(t, session.Config{}, func(t *testing.T, _ *session.Memory, a, _ *gateway) {
		t.Helper()
		var wg sync.WaitGroup
		for range 3 * session.DefaultPerUser {
			wg.Go(func() { _, _, _ = a.Create(t.Context(), identity("ann"), request("AAPL")) })
		}
		wg.Wait()
		synctest.Wait()
		if s := a.Stats(); s.Sessions != session.DefaultPerUser || s.UserQuota != 2*session.DefaultPerUser {
			t.Errorf("%+v, want %d sessions", s, session.DefaultPerUser)
		}
	})
}

func TestBadConfig(t *testing.T) {
	for _, cfg := range []session.Config{{Unattached: 1}, {Detached: -1}, {Revoked: time.Millisecond}, {PerUser: -1}, {Total: -1}} {
		if _, err := session.New(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
	_, err := session.New(session.Config{})
	must(t, err)
}

func TestList(t *testing.T) {
	bubble(t, session.Config{}, func(t *testing.T, kv *session.Memory, a, b *gateway) {
		t.Helper()
		names := map[string]string{}
		for _, u := range []session.User{"ann", "bob", "ann"} {
			id := a.create(u)
			names[id.Name()] = string(u)
		}
		tool, err := session.New(session.Config{KV: kv}) // Run does not run
		must(t, err)
		for user, want := range map[session.User]int{"": 3, "ann": 2, "eve": 0} {
			n := 0
			for info, err := range tool.List(t.Context(), user) {
				must(t, err)
				if names[info.Name] != string(info.Identity.User) {
					t.Errorf("%+v is none of %v", info, names)
				}
				n++
			}
			if n != want {
				t.Errorf("%d sessions of %q, want %d", n, string(user), want)
			}
		}
		kv.SetDown(true)
		for _, err := range tool.List(t.Context(), "") {
			wantErr(t, "list while the store is down", err, session.ErrUnavailable)
		}
		_ = b
	})
}

func TestUnavailable(t *testing.T) {
	bubble(t, session.Config{}, func(t *testing.T, kv *session.Memory, a, b *gateway) {
		t.Helper()
		id := a.create("ann")
		s := a.attach(id, "c1")
		must(t, a.Ready())
		kv.SetDown(true)
		for range 2 { // at once, and after it is known
			began := time.Now()
			_, _, err := a.Create(t.Context(), identity("ann"), request("AAPL"))
			wantErr(t, "create", err, session.ErrUnavailable)
			_, err = b.tryAttach(id, "c2")
			wantErr(t, "attach", err, session.ErrUnavailable)
			_, err = a.Get(t.Context(), id, "ann")
			wantErr(t, "get", err, session.ErrUnavailable)
			wantErr(t, "delete", a.Delete(t.Context(), id, "ann"), session.ErrUnavailable)
			wantErr(t, "update", s.Update(t.Context(), request("MSFT")), session.ErrUnavailable)
			_, err = a.Revoke(t.Context(), "ann")
			wantErr(t, "revoke", err, session.ErrUnavailable)
			synctest.Wait()
			wantErr(t, "ready", a.Ready(), session.ErrUnavailable)
			if took := time.Since(began); took > 5*time.Second { // create and attach wait, 2 s each
				t.Errorf("it took %v", took)
			}
			time.Sleep(10 * time.Second)
		}
		began := time.Now()
		_, err := b.tryAttach(id, "c2")
		wantErr(t, "attach", err, session.ErrUnavailable)
		if took := time.Since(began); took != 0 {
			t.Errorf("it waited %v for a store that has been lost for long", took)
		}
		if c := s.ended(); c != 0 {
			t.Errorf("the socket ended, %v, because the store is down", c)
		}
		kv.SetDown(false)
		time.Sleep(2 * time.Second)
		must(t, a.Ready())
		a.create("ann")
	})
}

func TestCallsEndWithTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := session.New(session.Config{}) // Run does not run
		must(t, err)
		why := errors.New("the client went")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(why)
		_, _, err = m.Create(ctx, identity("ann"), request())
		wantErr(t, "create", err, why)
		if errors.Is(err, session.ErrUnavailable) {
			t.Errorf("%v blames the store", err)
		}
		_, _, err = m.Create(t.Context(), identity("ann"), request())
		wantErr(t, "create without Run", err, session.ErrUnavailable)
	})
}
