package app

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/lzstock/lzstock/internal/edge"
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
		maps.Copy(req.Header, header)
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
	inside, outside := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, &net.TCPAddr{IP: net.IPv4zero}
	for _, c := range []struct {
		at    net.Addr
		open  bool
		names []string
		want  *edge.Hosts
	}{
		{inside, true, nil, &edge.Hosts{Loopback: true, Flag: "--hosts"}},
		{inside, false, nil, nil},
		{outside, true, nil, nil},
		{inside, false, []string{"a.example"}, &edge.Hosts{Loopback: true, Allow: []string{"a.example"}, Flag: "--hosts"}},
		{outside, true, []string{"a.example"}, &edge.Hosts{Allow: []string{"a.example"}, Flag: "--hosts"}},
	} {
		if got := hosts(c.at, c.open, c.names); !reflect.DeepEqual(got, c.want) {
			t.Errorf("on %s, open %t, %v: %+v", c.at, c.open, c.names, got)
		}
	}
}

func TestListenersThatAskNobodyAreNamed(t *testing.T) {
	var log, out bytes.Buffer
	b, err := newBuilder(Process{Logger: slog.New(slog.NewTextHandler(&log, nil)), Out: &out})
	if err != nil {
		t.Fatal(err)
	}
	b.warn(t.Context(), "inside", &net.TCPAddr{IP: net.IPv6loopback}, "harm", "--none")
	if log.Len() > 0 || b.warnings() != "" {
		t.Errorf("%s%s", &log, b.warnings())
	}
	b.warn(t.Context(), "gRPC", &net.TCPAddr{IP: net.IPv4zero, Port: 7000}, "publish", "add --grpc-client-ca")
	if want := "WARNING: gRPC on 0.0.0.0:7000 asks nobody, and lets whoever reaches it publish: add --grpc-client-ca\n"; b.warnings() != want {
		t.Errorf("the banner says %q", b.warnings())
	}
	for _, want := range []string{"level=WARN", "listener=gRPC", "address=0.0.0.0:7000", `advice="add --grpc-client-ca"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %s in %s", want, &log)
		}
	}
}
