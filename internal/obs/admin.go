package obs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/lzstock/lzstock/internal/safetext"
)

// Check is one thing that must hold for the process to be ready.
type Check struct {
	// Name is shown to people, such as "upstream".
	Name string
	// Ready returns nil, or why it is not ready. It must not block: readiness
	// is what is known, not what can be found out.
	Ready func() error
}

// AdminConfig is for NewAdmin.
type AdminConfig struct {
	Registry *prometheus.Registry
	Logger   *slog.Logger
	Build    Build
	// Command is the command line, with its secrets hidden.
	Command []string
	// Title names the process on the index page, such as "gateway".
	Title string
	// Checks must all hold for /readyz to answer 200.
	Checks []Check
	// Hosts returns why a request is for none of the hosts that the listener answers
	// for; nil means that it answers for all.
	Hosts func(*http.Request) error
	// Add registers what the process's parts show and take beside.
	Add []func(*http.ServeMux)
	// Page registers the page at /; nil leaves it to a list of what is here, which is
	// at /debug/ too.
	Page func(*http.ServeMux) error
}

// Admin is the listener for those who run the process. It has no password: it
// belongs on loopback or on a network that only they reach.
//
//	/            the operator's page, where there is one
//	/debug/      what is here
//	/metrics     for Prometheus
//	/healthz     200 while the process serves
//	/readyz      200 where all checks hold, 503 with the reasons where not
//	/debug/pprof profiles; mutex and block want ?seconds=10, as only then the
//	             runtime samples them
type Admin struct {
	config AdminConfig
	mux    *http.ServeMux
}

const (
	adminHeaderTimeout = 5 * time.Second
	adminReadTimeout   = 10 * time.Second
	// adminWriteTimeout is how long an answer may take. Profiles add the time that
	// they were asked to take.
	adminWriteTimeout = 15 * time.Second
	adminIdleTimeout  = 2 * time.Minute // Prometheus usually asks once a minute or more
	adminMaxHeader    = 16 << 10
	adminMaxBody      = 64 << 10
	// adminStopTimeout is how long running requests get when the process stops.
	// A CPU profile takes longer and is cut.
	adminStopTimeout = 500 * time.Millisecond
)

// NewAdmin returns an admin listener's handler.
func NewAdmin(c AdminConfig) (*Admin, error) {
	if c.Registry == nil || c.Logger == nil {
		return nil, errors.New("obs: admin needs a registry and a logger")
	}
	a := &Admin{config: c, mux: http.NewServeMux()}
	a.mux.HandleFunc("GET /debug/{$}", a.index)
	if c.Page == nil {
		c.Page = func(mux *http.ServeMux) error {
			mux.HandleFunc("GET /{$}", a.index)
			return nil
		}
	}
	if err := c.Page(a.mux); err != nil {
		return nil, err
	}
	a.mux.Handle("GET /metrics", promhttp.HandlerFor(c.Registry, promhttp.HandlerOpts{
		Registry:          c.Registry,
		EnableOpenMetrics: true,
	}))
	a.mux.HandleFunc("GET /healthz", healthz)
	a.mux.HandleFunc("GET /readyz", a.readyz)
	a.mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	a.mux.Handle("GET /debug/pprof/mutex", newMutexProfile())
	a.mux.Handle("GET /debug/pprof/block", newBlockProfile())
	a.mux.HandleFunc("GET /debug/pprof/cmdline", a.cmdline)
	a.mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	a.mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	a.mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	a.mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	for _, add := range c.Add {
		add(a.mux)
	}
	return a, nil
}

// ServeHTTP answers one request, or refuses it: with 421 if it is for another host,
// with 403 if a page of another site has a browser send it.
func (a *Admin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if a.config.Hosts != nil {
		if err := a.config.Hosts(r); err != nil {
			text(w, http.StatusMisdirectedRequest, err.Error()+"\n")
			return
		}
	}
	profile := strings.HasPrefix(r.URL.Path, profiles) && r.URL.Path != profiles
	if foreign(r, profile) {
		text(w, http.StatusForbidden, "this is not for pages of other sites: open it yourself, or ask with curl or go tool pprof\n")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, adminMaxBody)
	if profile && r.ContentLength == 0 { // all is read, and the deadline for that would end the profile
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // a test's recorder has none
	}
	a.mux.ServeHTTP(w, r)
}

// profiles is where the profiles are, which cost the process something.
const profiles = "/debug/pprof/"

// foreign reports whether a page of another site, or of another port of this host,
// has a browser send a request. Links may lead here, except to profiles. Browsers say
// where a request comes from to loopback and over TLS only; a profile that they ask
// for elsewhere may be anybody's.
func foreign(r *http.Request, profile bool) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return false
	case "":
		return profile && strings.Contains(r.UserAgent(), "Mozilla/")
	}
	return profile || r.Header.Get("Sec-Fetch-Mode") != "navigate"
}

// Serve answers on l until ctx ends, closes l, and returns nil; or the error
// that ended it earlier.
func (a *Admin) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler:           a,
		ReadHeaderTimeout: adminHeaderTimeout,
		ReadTimeout:       adminReadTimeout,
		WriteTimeout:      adminWriteTimeout,
		IdleTimeout:       adminIdleTimeout,
		MaxHeaderBytes:    adminMaxHeader,
		ErrorLog:          slog.NewLogLogger(a.config.Logger.Handler(), slog.LevelWarn),
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve admin on %s: %w", l.Addr(), err)
		}
		return nil
	})
	g.Go(func() error {
		<-gctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), adminStopTimeout)
		defer cancel()
		if err := srv.Shutdown(stop); err != nil {
			return srv.Close()
		}
		return nil
	})
	return g.Wait()
}

func healthz(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok\n") }

func (a *Admin) readyz(w http.ResponseWriter, _ *http.Request) {
	var out bytes.Buffer
	status := http.StatusOK
	for _, c := range a.config.Checks {
		if err := c.Ready(); err != nil {
			status = http.StatusServiceUnavailable
			fmt.Fprintf(&out, "not ready: %s: %s\n", c.Name, safetext.Redact(err.Error()))
			continue
		}
		fmt.Fprintf(&out, "ok: %s\n", c.Name)
	}
	if len(a.config.Checks) == 0 {
		out.WriteString("ok\n")
	}
	text(w, status, out.String())
}

// cmdline answers as pprof does, except for secrets.
func (a *Admin) cmdline(w http.ResponseWriter, _ *http.Request) {
	text(w, http.StatusOK, strings.Join(a.config.Command, "\x00"))
}

func (a *Admin) index(w http.ResponseWriter, r *http.Request) {
	page, err := template.New("index").Parse(indexPage)
	if err != nil {
		a.config.Logger.LogAttrs(r.Context(), slog.LevelError, "admin index page", slog.String("error", err.Error()))
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	var out bytes.Buffer
	if err := page.Execute(&out, a.config); err != nil {
		a.config.Logger.LogAttrs(r.Context(), slog.LevelError, "admin index page", slog.String("error", err.Error()))
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(out.Bytes()) // the reader has gone; nobody is left to tell
}

func text(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // the reader has gone; nobody is left to tell
}

const indexPage = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>lzstock {{.Title}}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:40rem;padding:0 1rem}</style></head><body>
<h1>lzstock {{.Title}}</h1>
<p>{{.Build}}</p>
<ul>
<li><a href="/metrics">/metrics</a>: for Prometheus</li>
<li><a href="/healthz">/healthz</a>: the process serves</li>
<li><a href="/readyz">/readyz</a>: what must hold for it to be ready</li>
<li><a href="/debug/pprof/">/debug/pprof</a>: profiles; of mutexes and of blocking in the next seconds:
<a href="/debug/pprof/mutex?seconds=10">mutex?seconds=10</a>, <a href="/debug/pprof/block?seconds=10">block?seconds=10</a></li>
</ul></body></html>
`
