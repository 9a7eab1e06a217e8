package app

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lzstock/lzstock/internal/auth"
	"github.com/lzstock/lzstock/internal/gateway"
	"github.com/lzstock/lzstock/internal/leak"
)

// TestReboundNames has a foreign page's name lead to the listeners of a process
// whose settings are the usual ones.
func TestReboundNames(t *testing.T) {
	leak.Check(t)
	s := begin(t, func(ctx context.Context, p Process) error {
		return Up(ctx, p, UpConfig{
			Edge: EdgeConfig{Listen: "127.0.0.1:0", Dashboard: true}, Admin: AdminConfig{Listen: "127.0.0.1:0", Hosts: []string{"admin.example"}}, GRPC: "127.0.0.1:0",
		})
	})
	defer http.DefaultClient.CloseIdleConnections()
	admin, public := s.find(`curl (http://\S+)/readyz`), s.find(`dashboard  (http://\S+):`)
	ask := func(base, method, path, host string, header http.Header) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		for name, values := range header {
			req.Header[name] = values
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	own := http.Header{"Origin": {"http://evil.example"}}
	upgrade := http.Header{
		"Origin": own["Origin"], "Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="},
	}
	verb := http.Header{gateway.AdminHeader: {"page"}}
	for _, c := range []struct {
		base, method, path string
		header             http.Header
		flag               string
	}{
		{public, "GET", "/", nil, "--hosts"},
		{public, "GET", "/v1/stream", upgrade, "--hosts"},
		{public, "GET", "/v1/events?trades=*", own, "--hosts"},
		{public, "GET", "/v2/stocks/snapshots?symbols=AAPL", own, "--hosts"},
		{public, "POST", "/v1/sessions", own, "--hosts"},
		{public, "OPTIONS", "/v1/sessions", own, "--hosts"},
		{public, "GET", "/nowhere", nil, "--hosts"},
		{admin, "GET", "/", nil, "--admin-hosts"},
		{admin, "GET", "/ops.json", nil, "--admin-hosts"},
		{admin, "GET", "/sessions", nil, "--admin-hosts"},
		{admin, "GET", "/debug/pprof/cmdline", nil, "--admin-hosts"},
		{admin, "POST", "/revoke?user=alice", verb, "--admin-hosts"},
		{admin, "POST", "/drain?stop=true", verb, "--admin-hosts"},
	} {
		if status, text := ask(c.base, c.method, c.path, "evil.example", c.header); status != http.StatusMisdirectedRequest || !strings.Contains(text, c.flag+" evil.example") {
			t.Errorf("%s %s: %d %s", c.method, c.path, status, text)
		}
	}
	for _, c := range []struct{ base, host string }{{public, "localhost:1"}, {public, "[::1]"}, {admin, "localhost"}, {admin, "admin.example:9090"}} {
		if status, text := ask(c.base, "GET", "/", c.host, nil); status != http.StatusOK {
			t.Errorf("%s at %s: %d %s", c.host, c.base, status, text)
		}
	}
	if _, text := ask(admin, "GET", "/drain", "localhost", nil); !strings.Contains(text, `"state":"serving"`) {
		t.Errorf("a foreign page has drained it: %s", text)
	}
	if err := s.end(); err != nil {
		t.Error(err)
	}
}

// TestWhichGatewaysCheckHosts: those that a page could read prices from, and those
// that are told to.
func TestWhichGatewaysCheckHosts(t *testing.T) {
	keys := auth.Config{Secret: filepath.Join(t.TempDir(), "secret")}
	if err := os.WriteFile(keys.Secret, []byte(strings.Repeat("s", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		edge EdgeConfig
		want bool
	}{
		"open on loopback":                {EdgeConfig{Listen: "127.0.0.1:0"}, true},
		"open elsewhere":                  {EdgeConfig{Listen: "0.0.0.0:0", InsecureOpen: true}, false},
		"open elsewhere, with names":      {EdgeConfig{Listen: "0.0.0.0:0", InsecureOpen: true, Hosts: []string{"a.example"}}, true},
		"with credentials":                {EdgeConfig{Listen: "127.0.0.1:0", Auth: keys}, false},
		"with credentials and with names": {EdgeConfig{Listen: "127.0.0.1:0", Auth: keys, Hosts: []string{"a.example"}}, true},
	} {
		b, err := newBuilder(Process{Logger: slog.New(slog.DiscardHandler), Out: io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		var g gateway.Config
		l, err := b.clients(t.Context(), c.edge, &g)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = l.Close()
		if (g.Hosts != nil) != c.want {
			t.Errorf("%s: hosts are %+v", name, g.Hosts)
		}
	}
}
