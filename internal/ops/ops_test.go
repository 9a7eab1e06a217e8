package ops

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lzstock/lzstock/internal/leak"
	pages "github.com/lzstock/lzstock/web/ops"
)

func TestMain(m *testing.M) { leak.Main(m) }

// stage is a page over metrics that the test moves, in a bubble.
type stage struct {
	t        *testing.T
	mux      *http.ServeMux
	sockets  prometheus.Gauge
	events   prometheus.Counter
	merged   prometheus.Counter
	ends     *prometheus.CounterVec
	age      *prometheus.HistogramVec
	looked   int
	slowFail error
}

func newStage(t *testing.T) *stage {
	t.Helper()
	st := &stage{
		t: t, mux: http.NewServeMux(),
		sockets: prometheus.NewGauge(prometheus.GaugeOpts{Name: "lzstock_gateway_sockets", Help: "x"}),
		events:  prometheus.NewCounter(prometheus.CounterOpts{Name: "lzstock_gateway_delivered_total", Help: "x"}),
		merged:  prometheus.NewCounter(prometheus.CounterOpts{Name: "lzstock_gateway_conflated_total", Help: "x"}),
		ends:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lzstock_gateway_ended_total", Help: "x"}, []string{"reason"}),
		age: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "lzstock_gateway_age_seconds", Help: "x", Buckets: []float64{.001, .01, .1, 1},
		}, []string{"of"}),
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(st.sockets, st.events, st.merged, st.ends, st.age)
	log := slog.New(slog.DiscardHandler)
	h, err := NewHistory(reg, log)
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPage(Config{
		Title: "gateway", Build: "lzstock test", Files: fstest.MapFS{"index.html": {Data: []byte("<!doctype html>")}}, History: h, Logger: log,
		State: func() []State { return []State{{Name: "feed", State: "live", Level: "ok"}} },
		Drain: func() any { return map[string]int{"left": 3} },
		Slow: func(_ context.Context, most int) (any, error) {
			st.looked++
			return []int{most, st.looked}, st.slowFail
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Admin(st.mux)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait() // the first reading
	return st
}

// answer is what a program reads.
type answer struct {
	Title   string
	Now     int64
	Times   []int64
	Figures map[string][]*float64
	State   []State
	Drain   map[string]int
	Slow    []int
}

func (st *stage) ask(query string) (a answer) {
	st.t.Helper()
	w := st.get(Path + query)
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != http.StatusOK {
		st.t.Fatalf("%d %v: %.300s", w.Code, err, w.Body)
	}
	for name, s := range a.Figures {
		if len(s) != len(a.Times) {
			st.t.Errorf("%s has %d values at %d times", name, len(s), len(a.Times))
		}
	}
	return a
}

func (st *stage) get(path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	st.mux.ServeHTTP(w, httptest.NewRequestWithContext(st.t.Context(), http.MethodGet, path, nil))
	return w
}

// want holds a figure's values against those that must be; NaN is none.
func (a *answer) want(t *testing.T, name string, values ...float64) {
	t.Helper()
	got := a.Figures[name]
	if len(got) != len(values) {
		t.Errorf("%s: %d values, want %v", name, len(got), values)
		return
	}
	for i, want := range values {
		switch {
		case got[i] == nil && math.IsNaN(want):
		case got[i] == nil, math.Abs(*got[i]-want) > 1e-5*max(1, math.Abs(want)):
			t.Errorf("%s: sample %d is %v, want %v", name, i, got[i], want)
			if got[i] != nil {
				t.Log(*got[i])
			}
		}
	}
}

func tick() {
	time.Sleep(Step)
	synctest.Wait()
}

// TestFigures moves the metrics by what is known, and has the figures say it.
func TestFigures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t)
		nan := math.NaN()
		if a := st.ask(""); len(a.Times) != 0 {
			t.Errorf("before the first second: %+v", a)
		}
		begin := time.Now()
		st.sockets.Set(7)
		st.events.Add(1000)
		st.merged.Add(250)
		for range 98 {
			st.age.WithLabelValues("a").Observe(0.005)
		}
		st.age.WithLabelValues("b").Observe(0.5) // another series of the same
		st.age.WithLabelValues("b").Observe(0.5)
		tick()
		st.sockets.Set(5)
		st.ends.WithLabelValues("slow_consumer").Add(2)
		tick()
		st.events.Add(10)
		st.ends.WithLabelValues("slow_consumer").Inc()
		tick()
		a := st.ask("")
		if a.Title != "gateway" || len(a.Times) != 3 || a.Times[0] != begin.Add(Step).UnixMilli() || a.Times[2] != a.Now || a.State[0].Name != "feed" || a.Drain["left"] != 3 {
			t.Errorf("%+v", a)
		}
		a.want(t, "sockets", 7, 5, 5)
		a.want(t, "events", 1000, 0, 10)
		a.want(t, "conflated", 0.25, 0, 0)
		a.want(t, "closes.slow_consumer", nan, 2, 1)
		// 98 of 100 between 1 and 10 ms: the 50th is 50/98 of the way; the 99th is
		// half of the way from 0.1 to 1 s.
		p50 := 0.001 + 0.009*50/98
		a.want(t, "age_p50", p50, p50, p50)
		a.want(t, "age_p99", 0.55, 0.55, 0.55)
		if _, ok := a.Figures["bus"]; ok {
			t.Error("a figure of what the process has not")
		}

		if b := st.ask("?since=" + jsonOf(t, a.Times[1])); len(b.Times) != 1 || b.Times[0] != a.Times[2] {
			t.Errorf("since: %+v", b)
		} else {
			b.want(t, "events", 10)
		}
		if b := st.ask("?since=" + jsonOf(t, a.Times[2])); len(b.Times) != 0 {
			t.Errorf("since the last: %+v", b)
		}

		time.Sleep(window) // what was observed is forgotten
		tick()
		a = st.ask("?since=" + jsonOf(t, time.Now().Add(-Step).UnixMilli()))
		a.want(t, "age_p50", nan)
	})
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestHistoryIsBounded holds the last quarter of an hour, and so many figures.
func TestHistoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t)
		for i := range Kept + 100 {
			st.sockets.Set(float64(i))
			tick()
		}
		a := st.ask("")
		if len(a.Times) != Kept || a.Times[Kept-1]-a.Times[0] != (Kept-1)*Step.Milliseconds() || *a.Figures["sockets"][0] != 100 || *a.Figures["sockets"][Kept-1] != Kept+99 {
			t.Errorf("%d samples from %d", len(a.Times), a.Times[0])
		}
		for i := range 2 * most {
			st.ends.WithLabelValues(strings.Repeat("x", i)).Inc()
		}
		tick()
		if a := st.ask(""); len(a.Figures) != most {
			t.Errorf("%d figures, want %d", len(a.Figures), most)
		}
	})
}

// TestCounterThatBeginsAnew tells nothing false.
func TestCounterThatBeginsAnew(t *testing.T) {
	at := time.Unix(1, 0)
	now := func(v float64) *reading {
		at = at.Add(Step)
		return &reading{at: at, values: map[string]float64{"lzstock_gateway_delivered_total": v}}
	}
	a, b := now(100), now(3)
	if got := sample(a, a, b)["events"]; !math.IsNaN(got) {
		t.Errorf("%v events a second", got)
	}
}

func TestQuantile(t *testing.T) {
	h := histogram{limits: []float64{1, 2, 4}, counts: []float64{0, 10, 10, 20}}
	for q, want := range map[float64]float64{0.25: 1.5, 0.5: 2, 0.75: 4, 1: 4} { // beyond the last limit it is that
		if got := quantile(q, histogram{}, h); got != want {
			t.Errorf("%v: %v, want %v", q, got, want)
		}
	}
	if got := quantile(0.5, h, h); !math.IsNaN(got) {
		t.Errorf("of nothing: %v", got)
	}
}

// TestSlowClientsAreLookedAtSeldom, however many pages are open.
func TestSlowClientsAreLookedAtSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t)
		for range 10 {
			if a := st.ask(""); len(a.Slow) != 2 || a.Slow[0] != slowAtOnce || a.Slow[1] != 1 {
				t.Errorf("%v", a.Slow)
			}
		}
		time.Sleep(slowEvery)
		st.slowFail = errors.New("the gateway stops")
		if a := st.ask(""); st.looked != 2 || a.Slow[1] != 1 {
			t.Errorf("looked %d times, %v", st.looked, a.Slow)
		}
	})
}

func TestBadSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t)
		for _, since := range []string{"x", "-1", "1.5"} {
			if w := st.get(Path + "?since=" + since); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "want a time") {
				t.Errorf("%s: %d %s", since, w.Code, w.Body)
			}
		}
		w := st.get("/")
		if w.Code != http.StatusOK || !strings.Contains(w.Header().Get("Content-Security-Policy"), "script-src 'self'") || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("the page: %d %v", w.Code, w.Header())
		}
	})
}

func TestNeedsItsParts(t *testing.T) {
	if _, err := NewPage(Config{}); err == nil {
		t.Error("a page of nothing")
	}
	if _, err := NewHistory(nil, nil); err == nil {
		t.Error("a history of nothing")
	}
}

// TestPageIsWhole looks at what is embedded: the page names files that are there, and
// needs nothing that its policy forbids.
func TestPageIsWhole(t *testing.T) {
	files, err := pages.Files()
	if err != nil {
		t.Fatal(err)
	}
	html, err := fs.ReadFile(files, "index.html")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`(?:src|href)="/(assets/[^"]+)"`).FindAllSubmatch(html, -1)
	if len(named) != 2 {
		t.Errorf("the page names %d files, want its script and its style\n%s", len(named), html)
	}
	for _, m := range named {
		if _, err := fs.Stat(files, string(m[1])); err != nil {
			t.Error(err)
		}
	}
	if regexp.MustCompile(`<script[^>]*>[^<]|<style| style=| on\w+=`).Match(html) {
		t.Errorf("something inline, which the policy forbids\n%s", html)
	}
}
