package auth

import (
	"context"
	"crypto"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"
)

// issuer serves a key set, in memory.
type issuer struct {
	set     atomic.Pointer[string] // nil: it is down
	page    string                 // what it says then
	fetches atomic.Int64
}

func (i *issuer) serve(set string) { i.set.Store(&set) }

func (i *issuer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	i.fetches.Add(1)
	set := i.set.Load()
	if set == nil {
		http.Error(w, i.page, http.StatusBadGateway)
		return
	}
	_, _ = io.WriteString(w, *set)
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	i.ServeHTTP(rec, r)
	return rec.Result(), nil
}

func (i *issuer) config() Config {
	return Config{JWKS: "https://issuer/jwks", Client: &http.Client{Transport: i}}
}

func (i *issuer) fetched(t *testing.T, when string, want int64) {
	t.Helper()
	synctest.Wait()
	if got := i.fetches.Swap(0); got != want {
		t.Errorf("%s: %d fetches, want %d", when, got, want)
	}
}

func TestKeySetRotates(t *testing.T) {
	one, two := rsaKeys()
	first := setOf(t, map[string]crypto.PublicKey{"1": &one.PublicKey})
	second := setOf(t, map[string]crypto.PublicKey{"2": &two.PublicKey})
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{}
		i.serve(first)
		a := start(t, i.config())
		old := sign(t, jwt.SigningMethodRS256, "1", one, claims(nil))
		fresh := sign(t, jwt.SigningMethodRS256, "2", two, claims(nil))
		_, err := a.Token(t.Context(), old)
		must(t, err)
		i.fetched(t, "at the start", 1)

		i.serve(second)
		time.Sleep(10 * time.Second)
		_, err = a.Token(t.Context(), fresh)
		must(t, err)
		i.fetched(t, "for a new key", 1)
		if _, err := a.Token(t.Context(), old); !errors.Is(err, ErrBadToken) {
			t.Errorf("the key that is gone: %v", err)
		}
		i.fetched(t, "for a key that is gone, right after a fetch", 0)

		i.serve(first)
		time.Sleep(10 * time.Minute)
		i.fetched(t, "by itself", 1)
		_, err = a.Token(t.Context(), old)
		must(t, err)
	})
}

// However many tokens are wrong, fetches are few.
func TestWrongTokensCauseFewFetches(t *testing.T) {
	one, two := rsaKeys()
	set := setOf(t, map[string]crypto.PublicKey{"1": &one.PublicKey})
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{}
		i.serve(set)
		a := start(t, i.config())
		i.fetched(t, "at the start", 1)
		unknown := sign(t, jwt.SigningMethodRS256, "x", two, claims(nil))
		for _, token := range []string{
			sign(t, jwt.SigningMethodRS256, "1", two, claims(nil)),
			sign(t, jwt.SigningMethodNone, "y", jwt.UnsafeAllowNoneSignatureType, claims(nil)),
			sign(t, jwt.SigningMethodHS256, "y", []byte(someSecret), claims(nil)),
			"garbage",
		} {
			time.Sleep(time.Minute)
			i.fetches.Store(0)
			if _, err := a.Token(t.Context(), token); !errors.Is(err, ErrBadToken) {
				t.Errorf("%v", err)
			}
			i.fetched(t, "for a token whose key is known or that has no business here", 0)
		}
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() {
				for range 60 {
					if _, err := a.Token(t.Context(), unknown); !errors.Is(err, ErrBadToken) {
						t.Errorf("%v", err)
					}
					time.Sleep(500 * time.Millisecond)
				}
			})
		}
		group.Wait()
		i.fetched(t, "for 6,000 tokens of an unknown key in 30 s", 3)
	})
}

// Without a key set nothing can be said, and what was known outlasts the issuer.
func TestIssuerIsDown(t *testing.T) {
	one, two := rsaKeys()
	set := setOf(t, map[string]crypto.PublicKey{"1": &one.PublicKey})
	other := setOf(t, map[string]crypto.PublicKey{"2": &two.PublicKey})
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{page: other} // which does not count
		a := start(t, i.config())
		token := sign(t, jwt.SigningMethodRS256, "1", one, claims(nil))
		if _, err := a.Token(t.Context(), token); !errors.Is(err, ErrUnavailable) || !errors.Is(a.Ready(), ErrUnavailable) {
			t.Errorf("before the first fetch: %v", err)
		}
		i.serve(set)
		time.Sleep(2 * time.Second) // the first retry
		synctest.Wait()
		_, err := a.Token(t.Context(), token)
		must(t, err)
		must(t, a.Ready())
		for _, broken := range []string{"<html>", `{"keys":[]}`, strings.Repeat(" ", maxSet) + other} {
			i.serve(broken)
			time.Sleep(11 * time.Minute)
			_, err = a.Token(t.Context(), token)
			must(t, err)
		}
		a.metric(t, "lzstock_auth_stale", `
# HELP lzstock_auth_stale 1 while a source cannot be loaded and what was loaded before is in use.
# TYPE lzstock_auth_stale gauge
lzstock_auth_stale{source="jwks"} 1
`)
		if n := strings.Count(a.logged(), "level=ERROR"); n != 4 {
			t.Errorf("%d errors in the log, want one for each of 4:\n%s", n, a.logged())
		}
		if !strings.Contains(a.logged(), "it is greater than 1048576 bytes") {
			t.Errorf("the log does not say what is wrong:\n%s", a.logged())
		}
		i.fetches.Store(0)
		time.Sleep(time.Hour)
		if n := i.fetches.Load(); n < 6 || n > 8 {
			t.Errorf("%d retries in an hour, want about one in ten minutes", n)
		}
		i.serve(set)
		time.Sleep(11 * time.Minute)
		log := a.logged()
		if !strings.Contains(log[strings.LastIndex(log, "level=ERROR"):], "credentials loaded") {
			t.Errorf("the log does not say that it is mended:\n%s", log)
		}
	})
}

// Who waits for a fetch waits no longer than it is worth, and than it wants.
func TestWaitForAFetchEnds(t *testing.T) {
	one, _ := rsaKeys()
	synctest.Test(t, func(t *testing.T) {
		hangs := roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		a := start(t, Config{JWKS: "https://issuer/jwks", Client: &http.Client{Transport: hangs}})
		token := sign(t, jwt.SigningMethodRS256, "1", one, claims(nil))
		begin := time.Now()
		if _, err := a.Token(t.Context(), token); !errors.Is(err, ErrUnavailable) || time.Since(begin) != patience {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin = time.Now()
		if _, err := a.Token(ctx, token); !errors.Is(err, ErrUnavailable) || time.Since(begin) != time.Second {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// The same over a real network, with the client that New makes.
func TestKeySetOverHTTP(t *testing.T) {
	one, two := rsaKeys()
	i := &issuer{}
	i.serve(setOf(t, map[string]crypto.PublicKey{"1": &one.PublicKey}))
	s := httptest.NewServer(i)
	defer s.Close()
	away := httptest.NewServer(http.RedirectHandler("http://example.com/jwks", http.StatusFound))
	defer away.Close()

	run := func(url string) *Authenticator {
		a, err := New(Config{JWKS: url, Cooldown: time.Nanosecond}, nil, prometheus.NewRegistry())
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { _ = a.Run(ctx) })
		t.Cleanup(func() {
			cancel()
			group.Wait()
		})
		return a
	}
	a := run(s.URL)
	_, err := a.Token(t.Context(), sign(t, jwt.SigningMethodRS256, "1", one, claims(nil)))
	must(t, err)
	i.serve(setOf(t, map[string]crypto.PublicKey{"2": &two.PublicKey}))
	_, err = a.Token(t.Context(), sign(t, jwt.SigningMethodRS256, "2", two, claims(nil)))
	must(t, err)

	_, _, err = run(away.URL).remote.fetch(t.Context())
	if err == nil || !strings.Contains(err.Error(), "want https") {
		t.Errorf("a redirect to http: %v", err)
	}
}
