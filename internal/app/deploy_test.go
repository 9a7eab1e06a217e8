package app

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"gopkg.in/yaml.v3"

	"github.com/lzstock/lzstock/internal/bus"
	"github.com/lzstock/lzstock/internal/feed"
	"github.com/lzstock/lzstock/internal/feed/sim"
	"github.com/lzstock/lzstock/internal/leak"
	"github.com/lzstock/lzstock/internal/ops"
)

const (
	alertsFile    = "../../deploy/prometheus/alerts.yml"
	dashboardFile = "../../deploy/grafana/dashboards/lzstock.json"
	runbooksFile  = "../../docs/runbooks.md"
	runbooksURL   = "https://github.com/lzstock/lzstock/blob/main/docs/runbooks.md#"
)

// registered gives the names of all metrics that processes register, also of those
// that have no series yet.
func registered(t *testing.T) map[string]bool {
	t.Helper()
	b, err := newBuilder(Process{Logger: slog.New(slog.DiscardHandler), Out: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, c := range slices.Backward(b.opened) {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}()
	if err := b.up(t.Context(), UpConfig{
		Edge: EdgeConfig{Listen: "127.0.0.1:0"}, Admin: AdminConfig{Listen: "127.0.0.1:0"}, GRPC: "127.0.0.1:0", Source: &feed.Source{Sim: &sim.Options{}},
	}); err != nil {
		t.Fatal(err)
	}
	n := &node{cfg: bus.EmbeddedConfig{Dir: t.TempDir()}, log: b.Logger}
	if err := n.start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.server.Load().Close() }()
	if err := b.registry.Register(nodeCollector{n}); err != nil {
		t.Fatal(err)
	}
	descs := make(chan *prometheus.Desc)
	go func() { defer close(descs); b.registry.Describe(descs) }()
	name := regexp.MustCompile(`fqName: "([^"]+)"`)
	out := map[string]bool{}
	for d := range descs {
		out[name.FindStringSubmatch(d.String())[1]] = true
	}
	return out
}

// named gives the metrics that an expression names, without what histograms add.
func named(expr string, known map[string]bool) (names []string) {
	for _, n := range regexp.MustCompile(`\b(?:lzstock|go|process)_[a-z0-9_]+`).FindAllString(expr, -1) {
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if cut, ok := strings.CutSuffix(n, suffix); ok && known[cut] {
				n = cut
			}
		}
		names = append(names, n)
	}
	return names
}

type alert struct {
	Alert, Expr         string
	Labels, Annotations map[string]string
}

func alerts(t *testing.T) []alert {
	t.Helper()
	text, err := os.ReadFile(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Groups []struct{ Rules []alert } }
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	var out []alert
	for _, g := range doc.Groups {
		out = append(out, g.Rules...)
	}
	if len(out) < 10 {
		t.Fatalf("%d alerts in %s", len(out), alertsFile)
	}
	return out
}

// TestDeployNamesMetrics holds alerts, the dashboard and the operator's page to what
// processes register. The dashboard has all figures of the page.
func TestDeployNamesMetrics(t *testing.T) {
	leak.Check(t)
	known := registered(t)
	for _, must := range []string{"lzstock_gateway_refused_total", "lzstock_node_ready", "lzstock_feed_lag_seconds", "go_goroutines"} {
		if !known[must] {
			t.Fatalf("%s is not registered: this test does not see what it should", must)
		}
	}
	check := func(where, expr string) (names []string) {
		names = named(expr, known)
		for _, n := range names {
			if !known[n] {
				t.Errorf("%s names %s, which no process has: %s", where, n, expr)
			}
		}
		return names
	}
	for _, a := range alerts(t) {
		if len(check("alert "+a.Alert, a.Expr)) == 0 && a.Alert != "ProcessIsGone" {
			t.Errorf("alert %s is about no metric", a.Alert)
		}
	}
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			ID      int
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
	}
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&board); err != nil {
		t.Fatal(err)
	}
	shown, ids := map[string]bool{}, map[int]string{}
	for _, p := range board.Panels {
		if ids[p.ID] != "" {
			t.Errorf("panels %s and %s have one id", p.Title, ids[p.ID])
		}
		ids[p.ID] = p.Title
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %s shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			for _, n := range check("panel "+p.Title, target.Expr) {
				shown[n] = true
			}
		}
	}
	for _, n := range ops.Metrics() {
		if !known[n] {
			t.Errorf("the operator's page shows %s, which no process has", n)
		}
		if !shown[n] {
			t.Errorf("the operator's page shows %s, and the dashboard does not", n)
		}
	}
}

// TestAlertsHaveRunbooks: each alert links to its section, and each section has its
// alert.
func TestAlertsHaveRunbooks(t *testing.T) {
	text, err := os.ReadFile(runbooksFile)
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^## (\w+)$`).FindAllSubmatch(text, -1) {
		sections[strings.ToLower(string(m[1]))] = false // as GitHub makes anchors of one word
	}
	for _, a := range alerts(t) {
		anchor, ours := strings.CutPrefix(a.Annotations["runbook_url"], runbooksURL)
		if _, there := sections[anchor]; !ours || !there || anchor != strings.ToLower(a.Alert) {
			t.Errorf("alert %s links to %q: want its section in docs/runbooks.md", a.Alert, a.Annotations["runbook_url"])
		}
		sections[anchor] = true
		if a.Annotations["summary"] == "" || !slices.Contains([]string{"page", "ticket"}, a.Labels["severity"]) {
			t.Errorf("alert %s: want a summary, and page or ticket as severity", a.Alert)
		}
	}
	for s, used := range sections {
		if !used {
			t.Errorf("docs/runbooks.md has a section %s, of no alert", s)
		}
	}
}
