package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newSession makes a session on a gateway and gives its id.
func newSession(t *testing.T, addr string, k apiKey, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/v1/sessions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = k.headers()
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("a session: %s %s %v", resp.Status, text, err)
	}
	var s struct {
		ID string `json:"session_id"`
	}
	if err := json.Unmarshal(text, &s); err != nil || s.ID == "" {
		t.Fatalf("a session: %s %v", text, err)
	}
	return s.ID
}

// TestSessionsOnTwoGateways has two gateways keep their sessions in one store: a
// session goes from one to the other, also from one that has died, and ends
// everywhere.
func TestSessionsOnTwoGateways(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.yaml")
	alice, bob := addKey(t, file, "alice"), addKey(t, file, "bob")
	secret := filepath.Join(t.TempDir(), "jwt.secret")
	writeFile(t, secret, strings.Repeat("0123456789abcdef", 4))
	nats, grpc := natsServer(t), freeAddr(t)
	start(t, "monitor", "--grpc", grpc, "--nats", nats)
	gateway := func() (*process, string) {
		listen := freeAddr(t)
		return start(t, "gateway", "--listen", listen, "--monitor", grpc, "--session-nats", nats,
			"--auth", "keys,jwt", "--auth-keys", file, "--jwt-secret-file", secret), listen
	}
	a, onA := gateway()
	b, onB := gateway()
	start(t, "feed", "sim", "--nats", nats, "--rate", "500")
	attach := func(addr, id string) *raw {
		c := open(t, addr, "/v1/stream?session_id="+id).listen(0).waitSubscribed()
		eventually(t, "trades of the session", func() bool { return len(c.of("t")) > 3 })
		return c
	}

	// Made on A, attached on B, and taken back from there by A.
	id := newSession(t, onA, alice, `{"trades":["*"]}`)
	first := attach(onB, id)
	second := attach(onA, id)
	<-first.done
	if first.close != 4005 {
		t.Errorf("the superseded socket was closed with %d, want 4005", first.close)
	}

	// Listed wherever one asks, without what one could attach with.
	for _, g := range []*process{a, b} {
		out := must(t, "session", "list", "--admin", g.admin)
		if strings.Contains(out, id) || !strings.Contains(out, "alice") || !strings.Contains(out, "attached") {
			t.Errorf("session list printed %q", out)
		}
	}
	if out := must(t, "session", "list", "--admin", a.admin, "--user", "bob"); strings.Contains(out, "alice") {
		t.Errorf("session list of bob printed %q", out)
	}

	// Revoked on A while the socket is on B.
	third := attach(onB, id)
	<-second.done
	bobs := attach(onB, newSession(t, onA, bob, `{"trades":["*"]}`))
	begin := time.Now()
	if out := must(t, "session", "revoke", "alice", "--admin", a.admin); !strings.Contains(out, "revoked alice: 1 sessions deleted") {
		t.Errorf("session revoke printed %q", out)
	}
	<-third.done
	t.Logf("the socket on the other gateway ended %s after the command began", time.Since(begin).Round(time.Millisecond))
	if third.close != 4003 {
		t.Errorf("the revoked socket was closed with %d, want 4003", third.close)
	}
	if got := refused(t, onB, "/v1/stream?session_id="+id, nil); got != http.StatusNotFound {
		t.Errorf("the revoked session got %d, want 404", got)
	}
	if got := refused(t, onB, "/v1/stream", alice.headers()); got != http.StatusUnauthorized {
		t.Errorf("the revoked user's key got %d, want 401", got)
	}
	n := len(bobs.of("t"))
	eventually(t, "more trades for the other user", func() bool { return len(bobs.of("t")) > n+5 })

	// A dies with a session's socket: the client goes on with B.
	id = newSession(t, onA, bob, `{"trades":["*"]}`)
	lost := attach(onA, id)
	a.kill()
	<-lost.done
	attach(onB, id)
	if out := must(t, "session", "list", "--admin", b.admin, "--user", "bob", "--json"); strings.Count(out, `"attached":true`) != 2 {
		t.Errorf("session list printed %q", out)
	}
}
