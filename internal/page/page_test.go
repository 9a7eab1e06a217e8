package page

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

var script = strings.Repeat("console.log('prices');\n", 100)

func sample(t *testing.T, prefix string) *Page {
	t.Helper()
	p, err := New(fstest.MapFS{
		"index.html":           {Data: []byte("<!doctype html>")},
		"theme.js":             {Data: []byte("1")},
		"assets/index-abc.js":  {Data: []byte(script)},
		"assets/index-abc.css": {Data: []byte("a{}")},
	}, prefix)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func ask(t *testing.T, p *Page, method, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	if !p.Serve(w, r, false) {
		w.WriteHeader(http.StatusNotFound)
	}
	return w.Result()
}

func body(t *testing.T, r io.Reader) string {
	t.Helper()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestServe(t *testing.T) {
	p := sample(t, "/")
	for path, want := range map[string]struct{ kind, cache, text string }{
		"/":                     {"text/html; charset=utf-8", "no-cache", "<!doctype html>"},
		"/theme.js":             {"text/javascript; charset=utf-8", "no-cache", "1"},
		"/assets/index-abc.js":  {"text/javascript; charset=utf-8", "public, max-age=31536000, immutable", script},
		"/assets/index-abc.css": {"text/css; charset=utf-8", "public, max-age=31536000, immutable", "a{}"},
	} {
		r := ask(t, p, http.MethodGet, path)
		h := r.Header
		if r.StatusCode != http.StatusOK || h.Get("Content-Type") != want.kind || h.Get("Cache-Control") != want.cache || body(t, r.Body) != want.text {
			t.Errorf("%s: %d %v", path, r.StatusCode, h)
		}
		if h.Get("Content-Security-Policy") != Policy || strings.Contains(Policy, "unsafe") || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s allows too much: %v", path, h)
		}
		tag := h.Get("ETag")
		if again := ask(t, p, http.MethodGet, path, "If-None-Match", tag); tag == "" || again.StatusCode != http.StatusNotModified {
			t.Errorf("%s with its tag %q: %d, want 304", path, tag, again.StatusCode)
		}
		if head := ask(t, p, http.MethodHead, path); head.StatusCode != http.StatusOK || body(t, head.Body) != "" {
			t.Errorf("HEAD %s: %d", path, head.StatusCode)
		}
	}
	for _, path := range []string{"/index.html", "/assets/", "/assets", "/nothing", "/../page.go"} {
		if r := ask(t, p, http.MethodGet, "http://host"+path); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", path, r.StatusCode)
		}
	}
}

func TestCompressed(t *testing.T) {
	p := sample(t, "/")
	const path = "/assets/index-abc.js"
	plain := ask(t, p, http.MethodGet, path)
	for _, takes := range []string{"gzip", "br;q=1.0, GZIP;q=0.5", "deflate , gzip"} {
		r := ask(t, p, http.MethodGet, path, "Accept-Encoding", takes)
		if r.Header.Get("Content-Encoding") != "gzip" || r.Header.Get("Vary") != "Accept-Encoding" || r.Header.Get("ETag") == plain.Header.Get("ETag") {
			t.Fatalf("%q: %v", takes, r.Header)
		}
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		if body(t, z) != script {
			t.Errorf("%q: something else came out", takes)
		}
	}
	for _, takes := range []string{"", "br", "gzip;q=0", "gzip; q=0.000", "identity"} {
		if r := ask(t, p, http.MethodGet, path, "Accept-Encoding", takes); r.Header.Get("Content-Encoding") != "" || body(t, r.Body) != script {
			t.Errorf("%q: %v", takes, r.Header)
		}
	}
	if r := ask(t, p, http.MethodGet, "/theme.js", "Accept-Encoding", "gzip"); r.Header.Get("Content-Encoding") != "" {
		t.Error("one byte was compressed")
	}
}

func TestPrefix(t *testing.T) {
	p := sample(t, "/ops/")
	paths := p.Patterns()
	slices.Sort(paths)
	if want := []string{"/ops/assets/index-abc.css", "/ops/assets/index-abc.js", "/ops/theme.js", "/ops/{$}"}; !slices.Equal(paths, want) {
		t.Errorf("files are at %q, want %q", paths, want)
	}
	if r := ask(t, p, http.MethodGet, "/ops/"); r.StatusCode != http.StatusOK {
		t.Errorf("the page: %d", r.StatusCode)
	}
}

func TestBadFiles(t *testing.T) {
	for name, files := range map[string]fstest.MapFS{
		"no index.html":  {"a.js": {}},
		"no type":        {"index.html": {}, "a.exe": {}},
		"no type at all": {"index.html": {}, "LICENSE": {}},
	} {
		if _, err := New(files, "/"); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
