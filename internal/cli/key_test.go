package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lzstock/lzstock/internal/auth"
)

const jwtSecret = "0123456789abcdef0123456789abcdef"

// newAuth authenticates with what the commands made.
func newAuth(t *testing.T, c auth.Config) *auth.Authenticator {
	t.Helper()
	a, err := auth.New(c, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestKeyCommands(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.yaml")
	// What limits a gateway must not become the limit of a key.
	environ := []string{"LZSTOCK_KEYS=" + file, "LZSTOCK_MAX_SYMBOLS=12", "LZSTOCK_CHANNELS=bars"}
	code, stdout, stderr := run(t, environ, "key", "add", "alice", "--id", "K1", "--note", "her phone")
	if code != 0 {
		t.Fatalf("add: %s", stderr)
	}
	_, rest, ok := strings.Cut(stdout, "id:     K1\nsecret: ")
	secret, _, _ := strings.Cut(rest, "\n")
	for _, want := range []string{"APCA-API-KEY-ID: K1\n", "APCA-API-SECRET-KEY: " + secret + "\n", "--key K1 --secret " + secret, "the only time"} {
		if !ok || !strings.Contains(stdout, want) {
			t.Errorf("want %q in\n%s", want, stdout)
		}
	}
	code, stdout, stderr = run(t, nil, "key", "add", "bob", "--keys", file, "--json", "--channels", "quotes,trades",
		"--symbols", "AAPL,BTC*", "--delay", "15m", "--max-symbols", "3", "--max-sockets", "2", "--max-sessions", "1", "--expires", "720h")
	if code != 0 {
		t.Fatalf("add: %s", stderr)
	}
	var made struct{ ID, Secret string }
	if err := json.Unmarshal([]byte(stdout), &made); err != nil {
		t.Fatal(err)
	}

	a := newAuth(t, auth.Config{Keys: file})
	who, err := a.Key(t.Context(), "K1", secret)
	if grant, _ := json.Marshal(who.Grant); err != nil || who.User != "alice" || string(grant) != "{}" || !who.Expires.IsZero() {
		t.Errorf("the first key is of %+v, %v", who, err)
	}
	who, err = a.Key(t.Context(), made.ID, made.Secret)
	if grant, _ := json.Marshal(who.Grant); err != nil || who.Expires.Sub(who.Issued).Hours() != 720 ||
		string(grant) != `{"channels":["quotes","trades"],"symbols":["AAPL","BTC*"],"delay":"15m0s","limits":{"symbols":3,"sockets":2,"sessions":1}}` {
		t.Errorf("the second key is of %+v, %v: grant %s", who, err, grant)
	}

	_, stdout, _ = run(t, environ, "key", "list")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if len(lines) != 3 {
		t.Fatalf("listed:\n%s", stdout)
	}
	for i, want := range []string{
		"ID USER CREATED EXPIRES GRANT NOTE",
		"K1 alice " + keyTime(t, file, 0) + " never everything her phone",
		"channels=quotes,trades symbols=AAPL,BTC* delay=15m0s max-symbols=3 max-sockets=2 max-sessions=1",
	} {
		if got := strings.Join(strings.Fields(lines[i]), " "); !strings.Contains(got, want) {
			t.Errorf("line %d: %q, want %q", i, got, want)
		}
	}
	_, stdout, _ = run(t, environ, "key", "list", "--json")
	if strings.Count(stdout, "\n") != 2 || !strings.Contains(stdout, `{"id":"K1","user":"alice",`) || strings.Contains(stdout, "sha256") {
		t.Errorf("listed as JSON:\n%s", stdout)
	}

	for _, c := range []struct {
		name string
		args []string
		code int
		want string // part of both outputs
	}{
		{"same id", []string{"add", "carol", "--id", "K1"}, 1, "lzstock: add a key: " + file + ": the id K1 is in use already"},
		{"bad user", []string{"add", " carol"}, 1, "bad user: want 1 to 128 bytes"},
		{"bad symbol", []string{"add", "carol", "--symbols", "A*B"}, 2, `bad pattern "A*B"`},
		{"no symbol", []string{"add", "carol", "--symbols", ""}, 2, `bad pattern ""`},
		{"bad channel", []string{"add", "carol", "--channels", "ticks"}, 2, `--channels: no channel "ticks", want some of [trades quotes`},
		{"no channel", []string{"add", "carol", "--channels="}, 2, `--channels: no channel ""`},
		{"bad limit", []string{"add", "carol", "--max-sockets=-1"}, 2, "must not be negative"},
		{"bad expiry", []string{"add", "carol", "--expires=-1h"}, 2, "--expires is -1h0m0s: want at least 1s"},
		{"no user", []string{"add"}, 2, `expected "<user>"`},
		{"revoke nothing", []string{"revoke"}, 2, "want the id of a key, or --user"},
		{"revoke both", []string{"revoke", "K1", "--user", "bob"}, 2, "want the id of a key, or --user"},
		{"revoke unknown", []string{"revoke", "K9"}, 1, "no such key"},
		{"revoke by id", []string{"revoke", "K1"}, 0, "revoked K1 of alice\n"},
		{"revoke by user", []string{"revoke", "--user", "bob"}, 0, "revoked " + made.ID + " of bob\n"},
		{"list none", []string{"list"}, 0, "ID  USER"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := run(t, environ, append([]string{"key"}, c.args...)...)
			if code != c.code || !strings.Contains(stdout+stderr, c.want) {
				t.Errorf("exit code %d: %q, want %d and %q", code, stdout+stderr, c.code, c.want)
			}
		})
	}
	for _, args := range [][]string{{"key", "list"}, {"key", "add", "alice"}} {
		if code, _, stderr := run(t, nil, args...); code != 2 || !strings.Contains(stderr, "missing flags: --keys=FILE") {
			t.Errorf("%v without a file: exit code %d, %q", args, code, stderr)
		}
	}
	if code, _, stderr := run(t, nil, "key", "list", "--keys", "nowhere.yaml"); code != 1 || !strings.Contains(stderr, "list keys: open nowhere.yaml") {
		t.Errorf("no such file: exit code %d, %q", code, stderr)
	}
}

// keyTime is when a file's key was made.
func keyTime(t *testing.T, file string, i int) string {
	t.Helper()
	keys, err := auth.ReadKeys(file)
	if err != nil {
		t.Fatal(err)
	}
	return keys[i].Created.Format("2006-01-02T15:04:05Z")
}

func TestTokenCommand(t *testing.T) {
	file := write(t, "jwt.secret", jwtSecret+"\n")
	code, stdout, stderr := run(t, []string{"LZSTOCK_MAX_SYMBOLS=12"}, "token", "--secret-file", file, "--user", "alice",
		"--issuer", "dev", "--audience", "lz", "--symbols", "AAPL", "--delay", "15m")
	if code != 0 {
		t.Fatalf("token: %s", stderr)
	}
	a := newAuth(t, auth.Config{Secret: file, Issuer: "dev", Audience: "lz", Leeway: -1})
	who, err := a.Token(t.Context(), strings.TrimSuffix(stdout, "\n"))
	if grant, _ := json.Marshal(who.Grant); err != nil || who.User != "alice" || who.Expires.Sub(who.Issued).Hours() != 1 ||
		string(grant) != `{"symbols":["AAPL"],"delay":"15m0s"}` {
		t.Errorf("the token is of %+v, %v", who, err)
	}
	short := write(t, "short", jwtSecret[1:])
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"short secret", []string{"--secret-file", short, "--user", "alice"}, 1, "lzstock: token: " + short + ": the secret has 31 bytes: want at least 32"},
		{"no such file", []string{"--secret-file", "nowhere", "--user", "alice"}, 1, "lzstock: token: open nowhere"},
		{"no user", []string{"--secret-file", file}, 2, "missing flags: --user=USER"},
		{"no file", []string{"--user", "alice"}, 2, "missing flags: --secret-file=FILE"},
		{"bad user", []string{"--secret-file", file, "--user", "a\nb"}, 1, "bad user"},
		{"bad expiry", []string{"--secret-file", file, "--user", "alice", "--expires", "0s"}, 2, "--expires is 0s: want at least 1s"},
		{"bad symbol", []string{"--secret-file", file, "--user", "alice", "--symbols", "A B"}, 2, `bad pattern "A B"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := run(t, nil, append([]string{"token"}, c.args...)...)
			if code != c.code || stdout != "" || !strings.Contains(stderr, c.want) || strings.Contains(stderr, jwtSecret[1:]) {
				t.Errorf("exit code %d: %q, %q, want %d and %q", code, stdout, stderr, c.code, c.want)
			}
		})
	}
}

// What is about one key is no setting: neither a variable nor a file has it.
func TestCallFlagsAreNoSettings(t *testing.T) {
	if code, _, stderr := run(t, []string{"LZSTOCK_EXPIRES=1h"}, "version"); code != 2 || !strings.Contains(stderr, "unknown environment variable LZSTOCK_EXPIRES") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	file := write(t, "lz.yaml", "user: alice\n")
	if code, _, stderr := run(t, nil, "--config", file, "version"); code != 2 || !strings.Contains(stderr, `lz.yaml:1: unknown key "user"`) {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	keys := filepath.Join(t.TempDir(), "keys.yaml")
	settings := write(t, "gateway.yaml", "max-symbols: 12\nkeys: "+keys+"\n")
	if code, _, stderr := run(t, nil, "--config", settings, "key", "add", "alice"); code != 0 {
		t.Fatal(stderr)
	}
	if text, err := os.ReadFile(keys); err != nil || strings.Contains(string(text), "grant") {
		t.Errorf("a gateway's limit became the key's: %v\n%s", err, text)
	}
}
