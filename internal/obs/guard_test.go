package obs_test

import (
	"bufio"
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
	"time"

	"github.com/lzstock/lzstock/internal/memnet"
	"github.com/lzstock/lzstock/internal/obs"
)

func TestRequestsForOtherHostsAreRefused(t *testing.T) {
	reg, err := obs.NewRegistry(obs.Build{})
	if err != nil {
		t.Fatal(err)
	}
	changed := false
	a, err := obs.NewAdmin(obs.AdminConfig{
		Registry: reg, Logger: slog.New(slog.DiscardHandler),
		Hosts: func(r *http.Request) error {
			if r.Host != "localhost" {
				return errors.New("allow it with --admin-hosts")
			}
			return nil
		},
		Add: []func(*http.ServeMux){func(mux *http.ServeMux) {
			mux.HandleFunc("POST /drain", func(http.ResponseWriter, *http.Request) { changed = true })
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"GET /", "GET /metrics", "GET /readyz", "GET /debug/pprof/cmdline", "GET /nowhere", "POST /drain"} {
		method, path, _ := strings.Cut(path, " ")
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), method, "http://evil.example"+path, nil)
		r.Header.Set("X-Lzstock", "1")
		if a.ServeHTTP(w, r); w.Code != http.StatusMisdirectedRequest || !strings.Contains(w.Body.String(), "--admin-hosts") || changed {
			t.Errorf("%s %s: %d %s, changed is %t", method, path, w.Code, w.Body, changed)
		}
		r.Host = "localhost"
		if w = httptest.NewRecorder(); w.Code == http.StatusMisdirectedRequest {
			t.Errorf("%s %s of localhost: %d", method, path, w.Code)
		}
	}
}

func TestForeignPagesStartNoProfiles(t *testing.T) {
	const browser = "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"
	a := newAdmin(t)
	for _, c := range []struct {
		name, path, agent, site, mode string
		want                          int
	}{
		{"an image", "/debug/pprof/heap", browser, "cross-site", "no-cors", 403},
		{"a page of another port", "/debug/pprof/goroutine?debug=2", browser, "same-site", "no-cors", 403},
		{"a link to a profile", "/debug/pprof/heap?gc=1", browser, "cross-site", "navigate", 403},
		{"an image, where browsers do not say", "/debug/pprof/heap", browser, "", "", 403},
		{"a fetch of figures", "/metrics", browser, "cross-site", "cors", 403},
		{"a link to the list", "/debug/pprof/", browser, "cross-site", "navigate", 200},
		{"a link to the page", "/", browser, "cross-site", "navigate", 200},
		{"the list's own link", "/debug/pprof/heap", browser, "same-origin", "navigate", 200},
		{"the address bar", "/debug/pprof/heap", browser, "none", "navigate", 200},
		{"the page, where browsers do not say", "/", browser, "", "", 200},
		{"go tool pprof", "/debug/pprof/heap", "Go-http-client/1.1", "", "", 200},
		{"curl", "/debug/pprof/heap?debug=1", "curl/8.5.0", "", "", 200},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, c.path, nil)
		for name, value := range map[string]string{"User-Agent": c.agent, "Sec-Fetch-Site": c.site, "Sec-Fetch-Mode": c.mode} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		w := httptest.NewRecorder()
		if a.ServeHTTP(w, r); w.Code != c.want {
			t.Errorf("%s: %d, want %d", c.name, w.Code, c.want)
		}
	}
}

// TestConnectionsHaveTheirTime has peers that keep the listener waiting, and a
// profile of half a minute beside them.
func TestConnectionsHaveTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memnet.Listen()
		ctx, cancel := context.WithCancel(t.Context())
		var tasks sync.WaitGroup
		defer tasks.Wait()
		defer cancel()
		tasks.Go(func() {
			if err := newAdmin(t).Serve(ctx, l); err != nil {
				t.Error(err)
			}
		})
		// cut sends something, and returns after how long the listener hung up.
		cut := func(send string, read bool) time.Duration {
			c, err := l.DialContext(ctx, "", "")
			if err != nil {
				t.Error(err)
				return 0
			}
			defer func() { _ = c.Close() }()
			began := time.Now()
			if _, err := io.WriteString(c, send); err != nil {
				t.Error(err)
			}
			if !read {
				time.Sleep(time.Minute)
			}
			_, _ = io.Copy(io.Discard, c)
			return time.Since(began)
		}
		for name, c := range map[string]struct {
			send string
			most time.Duration
		}{
			"nothing":                   {"", 5 * time.Second},
			"half a header":             {"GET / HTTP/1.1\r\nHost: x\r\n", 5 * time.Second},
			"half a body":               {"POST /debug/pprof/symbol HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0x", 10 * time.Second},
			"silence after one":         {"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 2 * time.Minute},
			"half a body of a profile":  {"GET /debug/pprof/heap HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0x", 10 * time.Second},
			"answers that nobody reads": {strings.Repeat("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 50), time.Minute},
			"a long header":             {"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 20<<10) + "\r\n", time.Second},
		} {
			tasks.Go(func() {
				if took := cut(c.send, !strings.HasPrefix(name, "answers")); took > c.most+time.Second {
					t.Errorf("%s: it was cut after %s", name, took)
				}
			})
		}
		tasks.Go(func() {
			c, err := l.DialContext(ctx, "", "")
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = c.Close() }()
			began := time.Now()
			_, err = io.WriteString(c, "GET /debug/pprof/mutex?seconds=30 HTTP/1.1\r\nHost: x\r\n\r\n")
			if err != nil {
				t.Error(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Error(err)
				return
			}
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if took := time.Since(began); err != nil || resp.StatusCode != http.StatusOK || took < 30*time.Second {
				t.Errorf("a profile of 30 s: %d after %s, %v", resp.StatusCode, took, err)
			}
		})
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if _, open := l.Open(); open != 0 {
			t.Errorf("%d connections are open", open)
		}
	})
}
