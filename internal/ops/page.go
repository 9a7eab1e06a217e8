package ops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/lzstock/lzstock/internal/page"
)

// Path is where the figures are, as JSON.
const Path = "/ops.json"

// slowAtOnce is how many slow clients are shown, and slowEvery how long one look at
// them is good for: it stops what delivers for a moment, whoever many look.
const (
	slowAtOnce = 20
	slowEvery  = 2 * time.Second
)

// Config says what a page shows beside the history.
type Config struct {
	Title   string // of the process, such as "gateway"
	Build   string
	Files   fs.FS // the page, as it was built
	History *History
	Logger  *slog.Logger
	State   func() []State                                   // how the parts are
	Drain   func() any                                       // how far the drain is; nil: there is none
	Slow    func(ctx context.Context, most int) (any, error) // the slowest clients; nil: there are none
}

// State is how one part of the process is, for people.
type State struct {
	Name  string    `json:"name"`           // such as "feed"
	State string    `json:"state"`          // such as "live"
	Level string    `json:"level"`          // "ok", "warn" or "bad"
	Text  string    `json:"text,omitempty"` // what is to be said of it
	Since time.Time `json:"since,omitzero"` // when that began
}

// document is the answer at Path.
type document struct {
	Title   string            `json:"title"`
	Build   string            `json:"build"`
	Started time.Time         `json:"started"`
	Now     int64             `json:"now"` // Unix milliseconds
	Step    int64             `json:"step_ms"`
	Kept    int               `json:"kept"`
	Times   []int64           `json:"times"`
	Figures map[string]series `json:"figures"`
	State   []State           `json:"state"`
	Drain   any               `json:"drain,omitempty"`
	Slow    any               `json:"slow,omitempty"`
}

// Page answers with the page and its figures.
type Page struct {
	cfg     Config
	started time.Time
	files   *page.Page

	mu     sync.Mutex
	slow   any
	slowAt time.Time
}

// NewPage makes a page.
func NewPage(c Config) (*Page, error) {
	if c.History == nil || c.Files == nil || c.Logger == nil || c.State == nil {
		return nil, errors.New("ops: a page needs its files, a history, the state of the parts and a logger")
	}
	files, err := page.New(c.Files, "/")
	if err != nil {
		return nil, fmt.Errorf("ops: %w", err)
	}
	return &Page{cfg: c, started: time.Now(), files: files}, nil
}

// Admin registers the page and its figures:
//
//	GET /                  the page, and its files beside it
//	GET /ops.json?since=MS the figures after a time, in Unix milliseconds; all without
func (p *Page) Admin(mux *http.ServeMux) {
	for _, pattern := range p.files.Patterns() {
		mux.HandleFunc("GET "+pattern, func(w http.ResponseWriter, r *http.Request) { p.files.Serve(w, r, r.TLS != nil) })
	}
	mux.HandleFunc("GET "+Path, p.figures)
}

func (p *Page) figures(w http.ResponseWriter, r *http.Request) {
	var after int64
	if since := r.URL.Query().Get("since"); since != "" {
		var err error
		if after, err = strconv.ParseInt(since, 10, 64); err != nil || after < 0 {
			http.Error(w, "since: want a time in whole milliseconds since 1970", http.StatusBadRequest)
			return
		}
	}
	d := document{
		Title: p.cfg.Title, Build: p.cfg.Build, Started: p.started, Now: time.Now().UnixMilli(),
		Step: Step.Milliseconds(), Kept: Kept, State: p.cfg.State(), Slow: p.slowest(r.Context()),
	}
	d.Times, d.Figures = p.cfg.History.since(after)
	if p.cfg.Drain != nil {
		d.Drain = p.cfg.Drain()
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	_ = json.NewEncoder(w).Encode(d) // who has left does not need it
}

// slowest gives the slow clients as they were a moment ago at most.
func (p *Page) slowest(ctx context.Context) any {
	if p.cfg.Slow == nil {
		return nil
	}
	p.mu.Lock()
	fresh := !p.slowAt.IsZero() && time.Since(p.slowAt) < slowEvery
	if !fresh {
		p.slowAt = time.Now()
	}
	last := p.slow
	p.mu.Unlock()
	if fresh {
		return last
	}
	now, err := p.cfg.Slow(ctx, slowAtOnce)
	if err != nil { // the gateway stops, or the page has gone
		p.cfg.Logger.LogAttrs(ctx, slog.LevelDebug, "slow clients are not known", slog.Any("error", err))
		return last
	}
	p.mu.Lock()
	p.slow = now
	p.mu.Unlock()
	return now
}
