package app

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lzstock/lzstock/internal/gateway"
)

// drained gives a part that takes some time to be drained, longer than all parts
// have to stop.
func (r *record) drained(name string, takes time.Duration) part {
	p := r.worker(name, nil)
	p.within, p.left = takes, func() int { return 3 }
	p.drain = func(ctx context.Context) {
		r.add("drain %s", name)
		select {
		case <-time.After(takes):
			r.add("drained %s", name)
		case <-ctx.Done():
			r.add("drain of %s cut", name)
		}
	}
	return p
}

// ask asks the admin listener.
func ask(d *drain, method, path string, h http.Header) (int, DrainStatus) {
	mux := http.NewServeMux()
	d.admin(mux)
	w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(context.Background(), method, path, nil)
	r.Header = h
	mux.ServeHTTP(w, r)
	var s DrainStatus
	_ = json.Unmarshal(w.Body.Bytes(), &s) // where it is none, s is empty
	return w.Code, s
}

// course is how a process ends.
func course() []string {
	return []string{
		"drain gateway", "drained gateway", "drain grpc", "drained grpc",
		"stop gateway", "stopped gateway", "close gateway", "stop grpc", "stopped grpc", "close grpc", "stop bus", "stopped bus", "close bus",
	}
}

// TestSignalDrainsFirst from the clients inward, and stops the parts then.
func TestSignalDrainsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r record
		ctx, cancel := context.WithCancel(t.Context())
		d := newDrain(slog.New(slog.DiscardHandler))
		time.AfterFunc(time.Hour, cancel)
		time.AfterFunc(time.Hour-1, func() {
			if err := d.ready(); err != nil {
				t.Errorf("before: %v", err)
			}
		})
		time.AfterFunc(time.Hour+time.Second, func() {
			_, s := ask(d, "GET", "/drain", nil)
			if err := d.ready(); err == nil || !strings.HasPrefix(err.Error(), "draining since 2000-01-01T01:00:00Z, 6 clients left") {
				t.Errorf("ready: %v", err)
			}
			if s.State != Draining || !s.Stops || s.Deadline.Sub(s.Since) != 32*time.Second || s.Left != 6 {
				t.Errorf("%+v", s)
			}
		})
		begin := time.Now()
		err := runParts(ctx, d.log, d, []part{r.worker("bus", nil), r.drained("grpc", 2*time.Second), r.drained("gateway", 30*time.Second)})
		if err != nil || time.Since(begin) != time.Hour+35*time.Second {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
		if !slices.Equal(r.lines, course()) {
			t.Errorf("got %q", r.lines)
		}
	})
}

// TestDrainOnRequest leaves the process running, unless it is to stop.
func TestDrainOnRequest(t *testing.T) {
	for _, stop := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var r record
			ctx, cancel := context.WithCancel(t.Context())
			var out strings.Builder
			d := newDrain(slog.New(slog.NewTextHandler(&out, nil)))
			ended := make(chan error, 1)
			var wg sync.WaitGroup
			wg.Go(func() {
				ended <- runParts(ctx, d.log, d, []part{r.worker("bus", nil), r.drained("grpc", 2*time.Second), r.drained("gateway", 30*time.Second)})
			})
			synctest.Wait()
			if code, s := ask(d, "POST", "/drain", nil); code != http.StatusForbidden || s.State != "" {
				t.Errorf("without the header: %d, %+v", code, s)
			}
			header := http.Header{gateway.AdminHeader: {"test"}}
			if code, _ := ask(d, "POST", "/drain?stop=maybe", header); code != http.StatusBadRequest {
				t.Errorf("stop=maybe: %d", code)
			}
			if _, s := ask(d, "GET", "/drain", nil); s.State != Serving {
				t.Errorf("%+v", s)
			}
			path := "/drain"
			if stop {
				path += "?stop=true"
			}
			if code, s := ask(d, "POST", path, header); code != http.StatusOK || s.State != Draining || s.Stops != stop {
				t.Errorf("%d, %+v", code, s)
			}
			time.Sleep(20 * time.Second)
			ask(d, "POST", "/drain", header) // again: nothing new
			time.Sleep(time.Minute)
			if !stop {
				if _, s := ask(d, "GET", "/drain", nil); s.State != Drained || len(ended) > 0 || d.ready() == nil {
					t.Errorf("%+v, ended %d", s, len(ended))
				}
				cancel()
			}
			if err := <-ended; err != nil || !slices.Equal(r.lines, course()) {
				t.Errorf("%v, %q", err, r.lines)
			}
			wg.Wait()
			cancel()
			if !strings.Contains(out.String(), `reason="an operator asked for it" within=32s`) {
				t.Errorf("log: %s", out.String())
			}
		})
	}
}

// TestFailureCutsADrain: what has failed serves nobody.
func TestFailureCutsADrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r record
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		d := newDrain(slog.New(slog.DiscardHandler))
		begin := time.Now()
		err := runParts(ctx, d.log, d, []part{
			{name: "bus", run: func(context.Context) error { time.Sleep(5 * time.Second); return errors.New("disk full") }},
			r.drained("gateway", 30*time.Second),
		})
		if err == nil || err.Error() != "bus: disk full" || time.Since(begin) != 6*time.Second || r.lines[1] != "drain of gateway cut" {
			t.Errorf("%v after %s: %q", err, time.Since(begin), r.lines)
		}
	})
}
