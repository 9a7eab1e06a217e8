package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lzstock/lzstock/internal/session"
	"github.com/lzstock/lzstock/market"
)

const someHash = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"

// entry is a key file with one key, and more lines for it.
func entry(more ...string) string {
	lines := append([]string{"keys:", "  - id: K1", "    user: alice", "    hash: " + someHash, "    created: 2026-01-05T15:00:00Z"}, more...)
	return strings.Join(lines, "\n") + "\n"
}

func sameKeys() cmp.Option {
	return cmp.Options{cmpopts.EquateComparable(Key{}.hash), cmp.AllowUnexported(Key{})}
}

func TestParseKeys(t *testing.T) {
	f, err := parseKeys([]byte(entry(
		"    expires: 2027-01-05T15:00:00+01:00", "    note: her phone",
		"    grant:", "      channels: [trades]", "      symbols: [AAPL, BTC*, 0700, NO]", "      delay: 15m",
		"      limits: {symbols: 100}",
		"  - {id: K2, user: bob, hash: '"+someHash+"', created: 2026-01-05T15:00:00Z, expires: ~}",
	)))
	must(t, err)
	hash := sha256.Sum256([]byte("foo"))
	created := time.Date(2026, 1, 5, 15, 0, 0, 0, time.UTC)
	want := []Key{
		{
			ID: "K1", User: "alice", Created: created, Expires: time.Date(2027, 1, 5, 14, 0, 0, 0, time.UTC), Note: "her phone", hash: hash,
			Grant: session.Grant{
				Channels: []market.Channel{market.Trades}, Symbols: []session.Pattern{"AAPL", "BTC*", "0700", "NO"},
				Delay: 15 * time.Minute, Limits: session.Limits{Symbols: 100},
			},
		},
		{ID: "K2", User: "bob", Created: created, hash: hash},
	}
	if diff := cmp.Diff(want, f.keys, sameKeys()); diff != "" {
		t.Error(diff)
	}
}

func TestBadKeyFiles(t *testing.T) {
	second := "  - {id: K1, user: bob, hash: '" + someHash + "', created: 2026-01-05T15:00:00Z}"
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "the file is empty: want `keys: []`"},
		{"comments only", "# nothing\n", "the file is empty"},
		{"no YAML", "keys: [", "yaml: "},
		{"no mapping", "- a\n", "line 1: want fields, some of: keys"},
		{"no keys", "{}\n", "line 1: want a list named keys"},
		{"null", "keys:\n", "line 1: want a list named keys"},
		{"other field", "kyes: []\n", `line 1: unknown field "kyes"`},
		{"two documents", "keys: []\n---\nkeys: []\n", "want one YAML document"},
		{"two lists", "keys: []\nkeys: []\n", "line 2: the field keys comes twice"},
		{"key is no mapping", "keys: [a]\n", "line 1: want fields, some of: id, user"},
		{"unknown field", entry("    scope: all"), `line 6: unknown field "scope"`},
		{"field twice", entry("    user: bob"), "line 6: the field user comes twice"},
		{"list for a value", entry("    note: [a]"), "line 6: note: want a plain value"},
		{"alias", "keys:\n  - &a {id: K1}\n  - *a\n", "line 2: a key needs its user"},
		{"no id", strings.Replace(entry(), "id: K1", "id: ", 1), "line 2: a key needs its id"},
		{"no hash", strings.Replace(entry(), "hash: "+someHash, "note: a", 1), "line 2: a key needs its hash"},
		{"no created", strings.Replace(entry(), "created: 2026-01-05T15:00:00Z", "note: a", 1), "a key needs its created"},
		{"bad id", strings.Replace(entry(), "id: K1", "id: a b", 1), `line 2: bad id "a b": want 1 to 64`},
		{"option as id", strings.Replace(entry(), "id: K1", "id: --all", 1), `bad id "--all"`},
		{"bad user", strings.Replace(entry(), "alice", `"al\u0007ice"`, 1), "line 2: bad user: want 1 to 128 bytes"},
		{"secret in place of its hash", strings.Replace(entry(), someHash, "hunter2", 1), "line 4: bad hash: want sha256: and 64"},
		{"other hash", strings.Replace(entry(), "sha256:", "md5:", 1), "line 4: bad hash"},
		{"short hash", strings.Replace(entry(), someHash, someHash[:60], 1), "line 4: bad hash"},
		{"long hash", strings.Replace(entry(), someHash, someHash+"00", 1), "line 4: bad hash"},
		{"odd hash", strings.Replace(entry(), someHash, "sha256:zz", 1), "line 4: bad hash"},
		{"bad time", entry("    expires: tomorrow"), `line 6: expires is "tomorrow": want a time such as 2026-`},
		{"zero time", entry("    expires: 0001-01-01T00:00:00Z"), `line 6: expires is "0001-01-01T00:00:00Z"`},
		{"long note", entry("    note: " + strings.Repeat("x", 257)), "line 2: bad note"},
		{"same id", entry(second), "line 6: the id K1 is in use already, in line 2"},
		{"null grant", entry("    grant:"), "line 6: the grant is empty: leave it out"},
		{"list for a grant", entry("    grant: [AAPL]"), "line 6: bad grant: want an object"},
		{"unknown field of a grant", entry("    grant: {symbol: [AAPL]}"), `line 6: bad grant: json: unknown field "symbol"`},
		{"field of a grant twice", entry("    grant: {delay: 1m, delay: 0s}"), `line 6: bad grant: the field "delay" comes twice`},
		{"no symbols granted", entry("    grant: {symbols: []}"), `line 6: bad grant: "symbols" is empty: leave it out to grant all`},
		{"null symbols granted", entry("    grant: {symbols: }"), `line 6: bad grant: "symbols" is empty`},
		{"null symbol granted", entry("    grant: {symbols: [~]}"), "line 6: bad grant"},
		{"bad channel", entry("    grant: {channels: [ticks]}"), `line 6: bad grant: no channel "ticks"`},
		{"bad delay", entry("    grant: {delay: 15}"), "line 6: bad grant"},
		{"bad limit", entry("    grant: {limits: {sockets: -1}}"), "must not be negative"},
		{"huge limit", entry("    grant: {limits: {sockets: 99999999999999999999}}"), "line 6: bad grant"},
		{"alias in a grant", "keys:\n- &a {id: x, grant: {symbols: &s [A]}}\n- *a\n", "line 2: a key needs its user"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseKeys([]byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}

func TestAddAndRevoke(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.yaml")
	wanted := Key{
		ID: "K1", User: "alice", Note: "her phone: 1", Expires: time.Now().Add(time.Hour),
		Grant: session.Grant{Channels: []market.Channel{market.Trades}, Symbols: []session.Pattern{"0700", "BTC*", "true"}, Delay: time.Minute, Limits: session.Limits{Sockets: 2}},
	}
	first, secret, err := AddKey(t.Context(), path, wanted)
	must(t, err)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
	second, other, err := AddKey(t.Context(), path, Key{User: "bob"})
	must(t, err)
	if secret == other || len(secret) < 4+52 || first.hash != sha256.Sum256([]byte(secret)) {
		t.Errorf("secrets %q and %q", secret, other)
	}
	if len(second.ID) != 20 || second.Grant.Channels != nil {
		t.Errorf("second key %+v", second)
	}
	keys, err := ReadKeys(path)
	must(t, err)
	if diff := cmp.Diff([]Key{first, second}, keys, sameKeys(), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	text, err := os.ReadFile(path)
	must(t, err)
	if strings.Contains(string(text), secret[4:]) || !strings.HasPrefix(string(text), "# API keys of LZStock") {
		t.Errorf("the file holds the secret or lost its comment:\n%s", text)
	}
	for _, c := range []struct {
		key  Key
		want string
	}{
		{Key{ID: "K1", User: "carol"}, "the id K1 is in use already"},
		{Key{User: ""}, "bad user"},
		{Key{ID: "a b", User: "carol"}, "bad id"},
		{Key{User: "carol", Expires: time.Now().Add(-time.Second)}, "want a time to come"},
		{Key{User: "carol", Grant: session.Grant{Symbols: []session.Pattern{"A B"}}}, "bad pattern"},
	} {
		if _, secret, err := AddKey(t.Context(), path, c.key); secret != "" || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %q, %v; want %s", c.key, secret, err, c.want)
		}
	}
	if now, err := os.ReadFile(path); err != nil || string(now) != string(text) {
		t.Errorf("a refusal changed the file: %v", err)
	}
	gone, err := RevokeKeys(t.Context(), path, func(k Key) bool { return k.User == "alice" })
	must(t, err)
	if len(gone) != 1 || gone[0].ID != "K1" {
		t.Errorf("revoked %+v", gone)
	}
	if _, err := RevokeKeys(t.Context(), path, func(k Key) bool { return k.ID == "K1" }); err == nil || !strings.Contains(err.Error(), "no such key") {
		t.Errorf("revoked again: %v", err)
	}
	_, err = RevokeKeys(t.Context(), path, func(Key) bool { return true })
	must(t, err)
	if keys, err := ReadKeys(path); err != nil || len(keys) != 0 {
		t.Errorf("left: %v, %v", keys, err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("files left behind: %v, %v", left, err)
	}
}

// An edit keeps what people wrote: comments, the mode, and a link.
func TestEditKeepsTheRest(t *testing.T) {
	dir := t.TempDir()
	target := write(t, filepath.Join(dir, "real.yaml"), "# ours\n"+strings.Replace(entry(), "user: alice", "user: alice # of accounting", 1))
	must(t, os.Chmod(target, 0o640))
	link := filepath.Join(dir, "keys.yaml")
	must(t, os.Symlink(target, link))
	_, _, err := AddKey(t.Context(), link, Key{User: "bob"})
	must(t, err)
	text, err := os.ReadFile(target)
	must(t, err)
	for _, want := range []string{"# ours\n", "user: alice # of accounting\n", "user: bob\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("want %q in\n%s", want, text)
		}
	}
	if info, err := os.Stat(target); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v", err)
	}
}

func TestEditRefusesABrokenFile(t *testing.T) {
	path := write(t, "keys.yaml", "keys: [a]\n")
	if _, _, err := AddKey(t.Context(), path, Key{User: "bob"}); err == nil || !strings.Contains(err.Error(), "keys.yaml: line 1: want fields") {
		t.Errorf("error %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "keys: [a]\n" {
		t.Errorf("the file is now %q, %v", text, err)
	}
}

// Keys that are added at the same time are all there in the end.
func TestConcurrentAdds(t *testing.T) {
	const adders = 16
	path := filepath.Join(t.TempDir(), "keys.yaml")
	var group sync.WaitGroup
	errs := make([]error, adders)
	for i := range adders {
		group.Go(func() { _, _, errs[i] = AddKey(t.Context(), path, Key{User: session.User(fmt.Sprint("user", i))}) })
	}
	group.Wait()
	must(t, errors.Join(errs...))
	keys, err := ReadKeys(path)
	must(t, err)
	users := map[session.User]bool{}
	for _, k := range keys {
		users[k.User] = true
	}
	if len(users) != adders {
		t.Errorf("%d of %d keys are left", len(users), adders)
	}
}

// Who waits for the lock in vain is told so.
func TestLockIsGivenUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.yaml")
	synctest.Test(t, func(t *testing.T) {
		unlock, err := lock(t.Context(), path)
		must(t, err)
		defer unlock()
		if _, _, err := AddKey(t.Context(), path, Key{User: "bob"}); err == nil || !strings.Contains(err.Error(), "somebody else") {
			t.Errorf("error %v", err)
		}
	})
}

// Whatever a file holds: what is read of it is sound, and writing it again
// changes nothing.
func FuzzKeyFile(f *testing.F) {
	f.Add(entry())
	f.Add(entry("    expires: 2027-01-05T15:00:00Z", "    grant: {symbols: [AAPL, BTC*], delay: 15m, limits: {sockets: 2}}"))
	f.Add("keys: []\n")
	f.Add("keys:\n- &a {id: x, grant: {symbols: &s [A]}}\n- *a\n")
	f.Fuzz(func(t *testing.T, text string) {
		file, err := parseKeys([]byte(text))
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, k := range file.keys {
			if err := k.validate(); err != nil || seen[k.ID] || k.Created.IsZero() {
				t.Fatalf("unsound key %+v: %v", k, err)
			}
			if !strings.Contains(strings.ToLower(text), hex.EncodeToString(k.hash[:])) {
				t.Fatalf("the hash of %+v is not in the file", k)
			}
			seen[k.ID] = true
			n, err := k.node()
			must(t, err)
			back, err := parseKey(n)
			if err != nil {
				t.Fatalf("%+v cannot be read back: %v", k, err)
			}
			if diff := cmp.Diff(k, back, sameKeys(), cmpopts.EquateEmpty(), cmpopts.EquateApproxTime(time.Second)); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}
