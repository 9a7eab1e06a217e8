package gateway

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lzstock/lzstock/internal/poll"
)

func dashboardOf(t *testing.T, cfg Config) *Gateway {
	t.Helper()
	cfg.Poller = poll.NewGoroutines()
	g, err := New(cfg, newHub(t), &ledger{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestDashboard asks for the page, for what is beside it, and for it where it is
// off.
func TestDashboard(t *testing.T) {
	files := fstest.MapFS{"index.html": {Data: []byte("<!doctype html>")}, "assets/a-1.js": {Data: []byte("1")}}
	on, off := dashboardOf(t, Config{Dashboard: files}), dashboardOf(t, Config{})
	for _, c := range []struct {
		g            *Gateway
		method, path string
		status       int
		part         string
	}{
		{on, http.MethodGet, "/", http.StatusOK, "<!doctype html>"},
		{on, http.MethodHead, "/", http.StatusOK, ""},
		{on, http.MethodGet, "/assets/a-1.js", http.StatusOK, "1"},
		{on, http.MethodPost, "/", http.StatusMethodNotAllowed, "bad-method"},
		{on, http.MethodGet, "/index.html", http.StatusNotFound, "a page to look at is at /"},
		{on, http.MethodGet, "/assets/", http.StatusNotFound, "unknown-path"},
		{on, http.MethodGet, "/v1/stream", http.StatusUpgradeRequired, "not-an-upgrade"},
		{off, http.MethodGet, "/", http.StatusNotFound, "unknown-path"},
		{off, http.MethodGet, "/assets/a-1.js", http.StatusNotFound, "unknown-path"},
	} {
		w := httptest.NewRecorder()
		c.g.ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.part) {
			t.Errorf("%s %s: %d %s, want %d with %q", c.method, c.path, w.Code, w.Body, c.status, c.part)
		}
		if c.g == off && strings.Contains(w.Body.String(), "a page to look at") {
			t.Errorf("%s tells of a page that is off", c.path)
		}
	}
}

// A page without an index is a mistake of the build, and told at the start.
func TestDashboardWithoutIndex(t *testing.T) {
	cfg := Config{Dashboard: fstest.MapFS{"a.js": {}}, Poller: poll.NewGoroutines()}
	_, err := New(cfg, newHub(t), &ledger{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err == nil || !strings.Contains(err.Error(), "index.html") {
		t.Errorf("error %v, want one that names index.html", err)
	}
}
