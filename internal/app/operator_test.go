package app

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lzstock/lzstock/internal/feed"
	"github.com/lzstock/lzstock/internal/feed/sim"
	"github.com/lzstock/lzstock/internal/gateway"
	"github.com/lzstock/lzstock/internal/leak"
	"github.com/lzstock/lzstock/internal/ops"
)

// TestOperatorsPage has a process show what is known of it.
func TestOperatorsPage(t *testing.T) {
	leak.Check(t)
	s := begin(t, func(ctx context.Context, p Process) error {
		return Up(ctx, p, UpConfig{
			Edge: EdgeConfig{Listen: "127.0.0.1:0"}, Admin: AdminConfig{Listen: "127.0.0.1:0"}, GRPC: "127.0.0.1:0",
			Source: &feed.Source{Sim: &sim.Options{Rate: 2000}},
		})
	})
	defer http.DefaultClient.CloseIdleConnections()
	base := s.find(`curl (http://\S+)/readyz`)
	watch(t, s.find(`(ws://\S+/v1/stream)`)+"?quotes=*&delivery=latest&interval_ms=10000", `"T":"q"`)
	var doc struct {
		Title   string
		Times   []int64
		Figures map[string][]*float64
		State   []ops.State
		Drain   DrainStatus
		Slow    []gateway.SlowClient
	}
	last := func(name string) float64 {
		f := doc.Figures[name]
		if len(f) == 0 || f[len(f)-1] == nil {
			return 0
		}
		return *f[len(f)-1]
	}
	until := time.Now().Add(patience)
	for {
		status, body := fetch(t, base+ops.Path)
		doc.Figures = nil
		if err := json.Unmarshal([]byte(body), &doc); err != nil || status != http.StatusOK {
			t.Fatalf("%d %v: %.300s", status, err, body)
		}
		told := slices.ContainsFunc(doc.State, func(s ops.State) bool { return s.Name == "source sim" })
		if told && last("sockets") == 1 && last("events") > 100 && last("bus") == 1 && last("goroutines") > 5 && last("memory") > 1e6 && len(doc.Slow) == 1 && doc.Slow[0].Oldest > 0 {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("%.2000s", body)
		}
		select { // the next second
		case <-time.After(50 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
	if c := doc.Slow[0]; c.Delivery != "latest" || c.Queued == 0 || c.Oldest == 0 || c.Bytes == 0 || c.Transport != "websocket" || c.User != "" {
		t.Errorf("slow: %+v", c)
	}
	if doc.Title != "up" || doc.Drain.State != Serving || doc.Drain.Left != 1 {
		t.Errorf("%+v", doc)
	}
	for _, want := range []string{"drain", "bus", "monitor", "upstream", "place on the bus", "monitor in use", "feed", "source sim"} {
		if !slices.ContainsFunc(doc.State, func(s ops.State) bool { return s.Name == want && s.Level == levelOK && s.State != "" }) {
			t.Errorf("%s is not there, or not well: %+v", want, doc.State)
		}
	}
	for path, want := range map[string]string{"/": `<div id="page">`, "/debug/": "/debug/pprof", "/metrics": "lzstock_gateway_sockets 1"} {
		if status, body := fetch(t, base+path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %.300s", path, status, body)
		}
	}
	// No other page drains it.
	resp, err := http.Post(base+"/drain", "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("POST /drain as a form sends it: %d", resp.StatusCode)
	}
	if err := s.end(); err != nil {
		t.Error(err)
	}
}

func fetch(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}
