package obs_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lzstock/lzstock/internal/leak"
	"github.com/lzstock/lzstock/internal/memnet"
	"github.com/lzstock/lzstock/internal/obs"
	"github.com/lzstock/lzstock/internal/safetext"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestLogFormats(t *testing.T) {
	for _, c := range []struct {
		format obs.LogFormat
		want   string
	}{
		{obs.LogText, "msg=hello"},
		{obs.LogJSON, `"msg":"hello"`},
		{obs.LogAuto, `"msg":"hello"`}, // a buffer is no terminal
		{"", `"msg":"hello"`},
	} {
		var out bytes.Buffer
		l, err := obs.NewLogger(&out, obs.LogConfig{Format: c.format, Level: slog.LevelWarn})
		if err != nil {
			t.Fatal(err)
		}
		l.Info("quiet")
		l.Warn("hello")
		if got := out.String(); !strings.Contains(got, c.want) || strings.Contains(got, "quiet") {
			t.Errorf("%q: got %q, want %q and nothing below warn", c.format, got, c.want)
		}
	}
	if _, err := obs.NewLogger(io.Discard, obs.LogConfig{Format: "xml"}); err == nil || !strings.Contains(err.Error(), `"xml"`) {
		t.Errorf("unknown format: %v", err)
	}
}

func TestLogsHideSecretsAndCommandNoTerminal(t *testing.T) {
	for _, format := range []obs.LogFormat{obs.LogText, obs.LogJSON} {
		var out bytes.Buffer
		l, err := obs.NewLogger(&out, obs.LogConfig{Format: format})
		if err != nil {
			t.Fatal(err)
		}
		bad := errors.New(`parse "nats://user:swordfish@host": no`)
		l.Info("to nats://user:swordfish@host", slog.String("url", "nats://swordfish@host"), slog.Any("error", bad), slog.Group("bus", slog.String("url", "ws://h?token=swordfish")))
		if got := out.String(); strings.Contains(got, "swordfish") || !strings.Contains(got, "user:***@host") {
			t.Errorf("%s: %s", format, got)
		}
	}
	var out bytes.Buffer
	l, err := obs.NewLogger(&out, obs.LogConfig{Format: obs.LogText})
	if err != nil {
		t.Fatal(err)
	}
	l.Info("a\x1b[2J", slog.String("b", "\u009b31m\u202e"), slog.Any("error", errors.New("\x7f\u200b")))
	if got := strings.TrimSuffix(out.String(), "\n"); got != safetext.Clean(got) {
		t.Errorf("%q", got)
	}
}

func newAdmin(t *testing.T, checks ...obs.Check) *obs.Admin {
	t.Helper()
	reg, err := obs.NewRegistry(obs.Build{Version: "v1.2.3", Go: "go1.26"})
	if err != nil {
		t.Fatal(err)
	}
	a, err := obs.NewAdmin(obs.AdminConfig{
		Registry: reg, Logger: slog.New(slog.DiscardHandler),
		Build: obs.Build{Version: "v1.2.3"}, Command: []string{"lzstock", "up"}, Title: "<gateway>", Checks: checks,
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func TestAdminPages(t *testing.T) {
	a := newAdmin(t)
	for _, c := range []struct {
		path string
		code int
		want string
	}{
		{"/", 200, "lzstock &lt;gateway&gt;"},
		{"/healthz", 200, "ok"},
		{"/readyz", 200, "ok"},
		{"/metrics", 200, `lzstock_build_info{goversion="go1.26",modified="false",revision="",version="v1.2.3"} 1`},
		{"/metrics", 200, "go_goroutines"},
		{"/metrics", 200, "process_open_fds"},
		{"/debug/pprof/", 200, "goroutine"},
		{"/debug/pprof/goroutine?debug=1", 200, "goroutine profile"},
		{"/debug/pprof/cmdline", 200, "lzstock\x00up"},
		{"/nowhere", 404, "not found"},
	} {
		if code, body := get(t, a, c.path); code != c.code || !strings.Contains(body, c.want) {
			t.Errorf("GET %s: %d, %.300q; want %d with %q", c.path, code, body, c.code, c.want)
		}
	}
}

func TestReadyNamesWhatIsNot(t *testing.T) {
	var down error
	a := newAdmin(t,
		obs.Check{Name: "bus", Ready: func() error { return nil }},
		obs.Check{Name: "upstream", Ready: func() error { return down }})
	if code, body := get(t, a, "/readyz"); code != 200 || body != "ok: bus\nok: upstream\n" {
		t.Errorf("ready: %d, %q", code, body)
	}
	down = errors.New("no monitor answers at dns://user:swordfish@host")
	if code, body := get(t, a, "/readyz"); code != 503 || body != "ok: bus\nnot ready: upstream: no monitor answers at dns://user:***@host\n" {
		t.Errorf("not ready: %d, %q", code, body)
	}
}

func TestServeStopsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmin(t)
		l := memnet.Listen()
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := a.Serve(ctx, l); err != nil {
				t.Error(err)
			}
		})
		tr := &http.Transport{DialContext: l.DialContext}
		resp, err := (&http.Client{Transport: tr}).Get("http://admin/healthz")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		// A profile that takes an hour does not keep the process.
		wg.Go(func() {
			resp, err := (&http.Client{Transport: tr}).Get("http://admin/debug/pprof/goroutine?seconds=3600")
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
			if err == nil {
				t.Error("the profile came to its end")
			}
		})
		synctest.Wait()
		cancel()
		wg.Wait()
		tr.CloseIdleConnections()
		synctest.Wait()
		if c, s := l.Open(); c != 0 || s != 0 {
			t.Errorf("open connections: %d, %d", c, s)
		}
	})
}

func TestServeReportsItsListener(t *testing.T) {
	l := memnet.Listen()
	_ = l.Close()
	if err := newAdmin(t).Serve(t.Context(), l); err == nil || !strings.Contains(err.Error(), "serve admin on 127.0.0.1") {
		t.Errorf("err = %v", err)
	}
}

func TestAdminNeedsItsParts(t *testing.T) {
	if _, err := obs.NewAdmin(obs.AdminConfig{Registry: prometheus.NewRegistry()}); err == nil {
		t.Error("an admin without a logger was made")
	}
}
