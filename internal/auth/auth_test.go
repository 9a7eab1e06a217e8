package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/lzstock/lzstock/internal/session"
)

// running is an Authenticator that runs in a bubble until the test ends.
type running struct {
	*Authenticator
	registry *prometheus.Registry
	log      *bytes.Buffer
}

func start(t *testing.T, c Config) *running {
	t.Helper()
	r := &running{registry: prometheus.NewRegistry(), log: &bytes.Buffer{}}
	var err error
	r.Authenticator, err = New(c, slog.New(slog.NewTextHandler(r.log, nil)), r.registry)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-ended)
	})
	return r
}

// metric expects what a metric says.
func (r *running) metric(t *testing.T, name, want string) {
	t.Helper()
	if err := testutil.GatherAndCompare(r.registry, strings.NewReader(want), name); err != nil {
		t.Error(err)
	}
}

// logged is the log so far.
func (r *running) logged() string {
	synctest.Wait()
	return r.log.String()
}

// told reports whether a change was announced.
func (r *running) told() bool {
	select {
	case <-r.Changed():
		return true
	default:
		return false
	}
}

// tick lets the files be looked at.
func tick() {
	time.Sleep(time.Second)
	synctest.Wait()
}

func TestKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.yaml")
	synctest.Test(t, func(t *testing.T) {
		grant := session.Grant{Symbols: []session.Pattern{"AAPL"}}
		k, secret, err := AddKey(t.Context(), path, Key{User: "alice", Grant: grant, Expires: time.Now().Add(time.Hour)})
		must(t, err)
		bob, other, err := AddKey(t.Context(), path, Key{User: "bob"})
		must(t, err)
		a := start(t, Config{Keys: path})
		if a.Open() || a.Ready() != nil {
			t.Errorf("open %v, ready %v", a.Open(), a.Ready())
		}
		want := session.Identity{User: "alice", Method: session.Key, Credential: k.ID, Issued: k.Created, Expires: k.Expires, Grant: grant}
		got, err := a.Key(t.Context(), k.ID, secret)
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		for _, c := range []struct{ id, secret string }{
			{k.ID, other},
			{bob.ID, secret},
			{"", secret},
			{k.ID, ""},
			{"nobody", ""},
			{strings.ToLower(k.ID), secret},
			{k.ID, secret + "x"},
			{k.ID, secret[:len(secret)-1]},
			{k.ID, strings.ToLower(secret)},
			{k.ID, strings.Repeat("x", maxSecret+1)},
		} {
			who, err := a.Key(t.Context(), c.id, c.secret)
			if !errors.Is(err, ErrBadKey) || err.Error() != ErrBadKey.Error() || who.User != "" {
				t.Errorf("%q %q: %+v, %v", c.id, c.secret, who, err)
			}
		}
		if _, err := a.Token(t.Context(), "x"); !errors.Is(err, ErrNotInUse) {
			t.Errorf("token: %v", err)
		}
		time.Sleep(time.Hour)
		if _, err := a.Key(t.Context(), k.ID, secret); !errors.Is(err, ErrExpired) {
			t.Errorf("an hour later: %v", err)
		}
		if _, err := a.Key(t.Context(), k.ID, other); !errors.Is(err, ErrBadKey) {
			t.Errorf("an hour later, with a wrong secret: %v", err)
		}
		if _, err := a.Check(t.Context(), got); !errors.Is(err, ErrExpired) {
			t.Errorf("checked an hour later: %v", err)
		}
		a.metric(t, "lzstock_auth_total", `
# HELP lzstock_auth_total Attempts to authenticate, by method and result.
# TYPE lzstock_auth_total counter
lzstock_auth_total{method="key",result="expired"} 1
lzstock_auth_total{method="key",result="ok"} 1
lzstock_auth_total{method="key",result="refused"} 11
lzstock_auth_total{method="token",result="not_in_use"} 1
`)
	})
}

// A secret that is too long to have been made by AddKey is not even hashed.
func TestLongSecret(t *testing.T) {
	secret := strings.Repeat("x", maxSecret+1)
	sum := sha256.Sum256([]byte(secret))
	a := newAuth(t, Config{Keys: write(t, "keys.yaml", strings.Replace(entry(), someHash, hashPrefix+hex.EncodeToString(sum[:]), 1))})
	if _, err := a.Key(t.Context(), "K1", secret); !errors.Is(err, ErrBadKey) {
		t.Errorf("error %v", err)
	}
}

func TestOpen(t *testing.T) {
	a := newAuth(t, Config{})
	anybody := session.Identity{Method: session.Open}
	if !a.Open() || a.Ready() != nil {
		t.Errorf("open %v, ready %v", a.Open(), a.Ready())
	}
	if who, err := a.Key(t.Context(), "any", "thing"); err != nil || !cmp.Equal(who, anybody) {
		t.Errorf("key: %+v, %v", who, err)
	}
	if who, err := a.Token(t.Context(), "anything"); err != nil || !cmp.Equal(who, anybody) {
		t.Errorf("token: %+v, %v", who, err)
	}
	if who, err := a.Check(t.Context(), anybody); err != nil || !cmp.Equal(who, anybody) {
		t.Errorf("check: %+v, %v", who, err)
	}
	for _, method := range []session.Method{session.Key, session.Token, ""} {
		if _, err := a.Check(t.Context(), session.Identity{Method: method}); !errors.Is(err, ErrNotInUse) {
			t.Errorf("check of %q: %v", method, err)
		}
	}
	shut := newAuth(t, Config{Secret: write(t, "secret", someSecret)})
	if _, err := shut.Check(t.Context(), anybody); !errors.Is(err, ErrNotInUse) {
		t.Errorf("an open identity where tokens are asked for: %v", err)
	}
	if _, err := shut.Key(t.Context(), "any", "thing"); !errors.Is(err, ErrNotInUse) {
		t.Errorf("a key where tokens are asked for: %v", err)
	}
}

func TestCheckSeesEdits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.yaml")
	synctest.Test(t, func(t *testing.T) {
		byID := func(id string) func(Key) bool { return func(k Key) bool { return k.ID == id } }
		_, secret, err := AddKey(t.Context(), path, Key{ID: "K1", User: "alice"})
		must(t, err)
		a := start(t, Config{Keys: path})
		who, err := a.Key(t.Context(), "K1", secret)
		must(t, err)
		tick()
		if a.told() {
			t.Error("told of a change without one")
		}

		text, err := os.ReadFile(path)
		must(t, err)
		write(t, path, string(text)+"    grant: {symbols: [AAPL]}\n")
		tick()
		now, err := a.Check(t.Context(), who)
		if err != nil || !a.told() || !cmp.Equal(now.Grant.Symbols, []session.Pattern{"AAPL"}) {
			t.Errorf("after another grant: %+v, %v", now, err)
		}

		other := who
		other.User = "mallory"
		if _, err := a.Check(t.Context(), other); !errors.Is(err, ErrRevoked) {
			t.Errorf("as another user: %v", err)
		}

		_, err = RevokeKeys(t.Context(), path, byID("K1"))
		must(t, err)
		tick()
		if _, err := a.Check(t.Context(), who); !errors.Is(err, ErrRevoked) || !a.told() {
			t.Errorf("after its removal: %v", err)
		}
		if _, err := a.Key(t.Context(), "K1", secret); !errors.Is(err, ErrBadKey) {
			t.Errorf("the removed key: %v", err)
		}

		_, _, err = AddKey(t.Context(), path, Key{ID: "K1", User: "alice"})
		must(t, err)
		tick()
		if _, err := a.Check(t.Context(), who); !errors.Is(err, ErrRevoked) {
			t.Errorf("with a newer key of the same id: %v", err)
		}
	})
}

// A broken file changes nothing, and is spoken of once.
func TestBrokenFileChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.yaml")
	synctest.Test(t, func(t *testing.T) {
		_, secret, err := AddKey(t.Context(), path, Key{ID: "K1", User: "alice"})
		must(t, err)
		good, err := os.ReadFile(path)
		must(t, err)
		a := start(t, Config{Keys: path})
		holds := func(when string, stale string) {
			t.Helper()
			for range 5 {
				tick()
			}
			if _, err := a.Key(t.Context(), "K1", secret); err != nil {
				t.Errorf("%s: %v", when, err)
			}
			a.metric(t, "lzstock_auth_stale", `
# HELP lzstock_auth_stale 1 while a source cannot be loaded and what was loaded before is in use.
# TYPE lzstock_auth_stale gauge
lzstock_auth_stale{source="keys"} `+stale+"\n")
		}
		holds("at first", "0")
		write(t, path, "keys: [broken]\n")
		holds("broken", "1")
		write(t, path, "")
		holds("empty", "1")
		must(t, os.Remove(path))
		holds("gone", "1")
		if a.told() {
			t.Error("told of a change without one")
		}
		write(t, path, string(good))
		holds("back", "0")
		if !a.told() {
			t.Error("not told of the change")
		}
		must(t, os.Remove(path))
		holds("gone again", "1")
		write(t, path, string(good))
		holds("back as it was", "0")
		if n := strings.Count(a.logged(), "level=ERROR"); n != 4 {
			t.Errorf("%d errors in the log, want one for each of 4:\n%s", n, a.logged())
		}
		a.metric(t, "lzstock_auth_reloads_total", `
# HELP lzstock_auth_reloads_total Times that credentials were loaded, or failed to in a new way.
# TYPE lzstock_auth_reloads_total counter
lzstock_auth_reloads_total{result="failed",source="keys"} 4
lzstock_auth_reloads_total{result="ok",source="keys"} 3
`)
		a.metric(t, "lzstock_auth_keys", `
# HELP lzstock_auth_keys API keys in use.
# TYPE lzstock_auth_keys gauge
lzstock_auth_keys 1
`)
	})
}

// A file that changes behind a link, as Kubernetes does it, and one whose size and
// time stay, are read again.
func TestChangesThatHide(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		link, first, second := filepath.Join(dir, "keys.yaml"), filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yaml")
		of := func(user string) string { return strings.Replace(entry(), "alice", user, 1) }
		touch := func(path string, at time.Time) { must(t, os.Chtimes(path, at, at)) }
		old, now := time.Now().Add(-time.Hour), time.Now()

		write(t, first, of("alice"))
		write(t, second, of("bobby"))
		touch(first, old)
		touch(second, old)
		must(t, os.Symlink(first, link))
		a := start(t, Config{Keys: link})
		user := func() session.User { return (*a.keys.Load())["K1"].User }
		tick()
		must(t, os.Symlink(second, link+".new"))
		must(t, os.Rename(link+".new", link))
		tick()
		if user() != "bobby" {
			t.Errorf("behind the link: %s", user())
		}

		touch(second, now.Add(time.Minute))
		tick()
		must(t, os.WriteFile(second, []byte(of("carol")), 0o600))
		touch(second, now.Add(time.Minute))
		tick()
		if user() != "carol" {
			t.Errorf("of the same size and time: %s", user())
		}
	})
}

// A new secret counts at once, the old one no longer.
func TestSecretIsReplaced(t *testing.T) {
	path := write(t, "secret", someSecret)
	synctest.Test(t, func(t *testing.T) {
		a := start(t, Config{Secret: path})
		mint := func(secret string) string {
			token, err := Mint([]byte(secret), Claims{User: "alice", Expires: time.Now().Add(time.Hour)})
			must(t, err)
			return token
		}
		newer := strings.ToUpper(someSecret)
		who, err := a.Token(t.Context(), mint(someSecret))
		must(t, err)
		write(t, path, newer)
		tick()
		if _, err := a.Token(t.Context(), mint(someSecret)); !errors.Is(err, ErrBadToken) {
			t.Errorf("the old secret: %v", err)
		}
		_, err = a.Token(t.Context(), mint(newer))
		must(t, err)
		_, err = a.Check(t.Context(), who) // it holds until it expires
		must(t, err)
		time.Sleep(time.Hour + 30*time.Second)
		if _, err := a.Check(t.Context(), who); !errors.Is(err, ErrExpired) {
			t.Errorf("an hour later: %v", err)
		}
	})
}

func TestBadConfigs(t *testing.T) {
	secret := write(t, "secret", someSecret)
	for _, c := range []struct {
		name   string
		config Config
		want   string
	}{
		{"no such file", Config{Keys: "nowhere.yaml"}, "auth: open nowhere.yaml: no such file"},
		{"a folder", Config{Keys: t.TempDir()}, "is not a plain file"},
		{"bad keys", Config{Keys: write(t, "keys.yaml", "a: b")}, "keys.yaml: line 1: unknown field"},
		{"bad secret", Config{Secret: write(t, "short", "x")}, "short: the secret has 1 bytes"},
		{"bad key set", Config{JWKS: write(t, "jwks.json", "{}")}, "jwks.json: bad key set"},
		{"both", Config{Secret: secret, JWKS: "https://x/jwks"}, "give one of the two"},
		{"issuer alone", Config{Issuer: "x"}, "an issuer or an audience is expected"},
		{"leeway", Config{Secret: secret, Leeway: time.Hour}, "leeway is 1h0m0s: want at most 10m0s"},
		{"poll", Config{Keys: secret, Poll: -1}, "poll is -1ns: want a positive time, or 0 for 1s"},
		{"grant", Config{Secret: secret, TokenGrant: session.Grant{Delay: -1}}, "tokens without a grant: bad grant"},
		{"http", Config{JWKS: "http://example.com/jwks"}, "want https"},
		{"password in it", Config{JWKS: "http://a:hunter2@example.com/jwks"}, "http://a:***@example.com/jwks: want https"},
		{"other scheme", Config{JWKS: "file:///jwks"}, "is no URL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := New(c.config, nil, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	exact := newAuth(t, Config{Secret: secret, Leeway: -1})
	token := sign(t, jwt.SigningMethodHS256, "", []byte(someSecret), claims(map[string]any{"exp": time.Now().Add(-time.Second).Unix()}))
	if _, err := exact.Token(t.Context(), token); !errors.Is(err, ErrExpired) {
		t.Errorf("without leeway: %v", err)
	}
}

func BenchmarkKey(b *testing.B) {
	path := filepath.Join(b.TempDir(), "keys.yaml")
	k, secret, err := AddKey(b.Context(), path, Key{User: "alice"})
	must(b, err)
	a := newAuth(b, Config{Keys: path})
	b.ReportAllocs()
	for b.Loop() {
		_, err := a.Key(b.Context(), k.ID, secret)
		must(b, err)
	}
}
