package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeAdmin answers every profile with this process's goroutines.
func fakeAdmin(t *testing.T) (url string, asked func() []string) {
	t.Helper()
	var mu sync.Mutex
	var paths []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		paths = append(paths, r.URL.String())
		mu.Unlock()
		if err := pprof.Lookup("goroutine").WriteTo(w, 0); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return paths
	}
}

func TestEachProfileHasItsTopBesideIt(t *testing.T) {
	url, asked := fakeAdmin(t)
	tk := taker{admin: url, folder: t.TempDir(), alive: func() error { return nil }}
	// The answers are goroutine profiles, which have no bytes to be sorted by.
	for _, group := range plan(5 * time.Second) {
		for _, p := range group {
			if err := tk.fetch(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			if p.args = nil; filepath.Ext(p.file) != ".pprof" {
				continue
			}
			if err := tk.top(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(filepath.Join(tk.folder, p.file+".txt"))
			if err != nil || !bytes.Contains(text, []byte("Type: goroutine")) {
				t.Errorf("%s: %s, %v", p.file, text, err)
			}
		}
	}
	for _, want := range []string{
		"/debug/pprof/profile?seconds=2", "/debug/pprof/mutex?seconds=2", "/debug/pprof/block?seconds=2",
		"/debug/pprof/heap?gc=1", "/debug/pprof/goroutine?debug=2",
	} {
		if !strings.Contains(strings.Join(asked(), "\n"), want) {
			t.Errorf("nobody asked for %s: %q", want, asked())
		}
	}
	var out bytes.Buffer
	if err := tk.summary(&out); err != nil || !strings.Contains(out.String(), "go tool pprof -http=: "+filepath.Join(tk.folder, "cpu.pprof")) {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestProfilesWithoutLoadAreNone(t *testing.T) {
	url, asked := fakeAdmin(t)
	ended := errors.New("ended")
	tk := taker{admin: url, folder: t.TempDir(), alive: func() error { return ended }}
	if err := tk.all(t.Context(), 5*time.Second); !errors.Is(err, ended) || len(asked()) != 1 {
		t.Errorf("%v after %q", err, asked())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tk.all(ctx, 5*time.Second); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestOptions(t *testing.T) {
	good := options{out: "x", clients: 1, rate: 1, duration: 5 * time.Second}
	if err := good.validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(o *options){
		"out":      func(o *options) { o.out = "" },
		"clients":  func(o *options) { o.clients = 0 },
		"rate":     func(o *options) { o.rate = -1 },
		"duration": func(o *options) { o.duration = time.Second },
	} {
		o := good
		if change(&o); o.validate() == nil {
			t.Errorf("a bad -%s was taken", name)
		}
	}
}
