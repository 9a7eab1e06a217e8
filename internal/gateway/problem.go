package gateway

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/lzstock/lzstock/internal/edge"
)

// problem is an answer that refuses a request: RFC 9457.
type problem struct {
	Type       string        `json:"type"`
	Title      string        `json:"title"`
	Status     int           `json:"status"`
	Detail     string        `json:"detail,omitempty"`
	cause      string        // metric label
	retryAfter time.Duration // 0: none
	allow      string        // of a 405
	challenge  bool          // of a 401: says how to authenticate
	part       bool          // the connection ends with the answer
}

// refuse answers with a problem document, before any upgrade.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, p problem) {
	p.Type = "urn:lzstock:problem:" + p.cause
	p.Title = http.StatusText(p.Status)
	g.metrics.refused.WithLabelValues(p.cause).Inc()
	g.audit.turnedAway(r, g.cfg.Addresses.Of(r), p)
	g.headers(w, r)
	h := w.Header()
	if p.Status == http.StatusNoContent { // not a word: it has browsers stay away
		w.WriteHeader(p.Status)
		return
	}
	h.Set("Content-Type", "application/problem+json")
	if p.challenge {
		h.Set("WWW-Authenticate", `Bearer realm="lzstock"`)
	}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(p.retryAfter.Seconds())))
	}
	if p.allow != "" {
		h.Set("Allow", p.allow)
	}
	if p.part {
		h.Set("Connection", "close")
	}
	if p.Status == http.StatusUpgradeRequired {
		h.Set("Upgrade", "websocket")
		h.Set("Connection", "Upgrade")
		h.Set("Sec-WebSocket-Version", "13")
	}
	write(w, p.Status, p)
}

// write sends a JSON document. It is never read as HTML, so nothing is escaped.
func write(w http.ResponseWriter, status int, v any) {
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // the client that left does not need it
}

func (g *Gateway) unknown(w http.ResponseWriter, r *http.Request) {
	g.refuse(w, r, problem{
		Status: http.StatusNotFound, cause: "unknown-path",
		Detail: "no " + r.URL.Path + " here: WebSockets are at /v1/stream, /v2/{feed} and /v1beta3/crypto/{loc}, server-sent events at /v1/events" + g.pageHint(),
	})
}

// headers sets what every answer over HTTP has.
func (g *Gateway) headers(w http.ResponseWriter, r *http.Request) {
	edge.SecurityHeaders(w.Header(), g.cfg.Addresses.Secure(r))
}

// preflight answers a browser that asks what a page of another origin may do here.
func (g *Gateway) preflight(allow string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !g.cfg.Origins.CORS(w, r) {
			g.wrongMethod(allow)(w, r)
		}
	}
}

// wrongMethod answers what a path does not take.
func (g *Gateway) wrongMethod(allow string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		g.refuse(w, r, problem{
			Status: http.StatusMethodNotAllowed, cause: "bad-method", allow: allow,
			Detail: r.Method + " is not for this path: want " + allow,
		})
	}
}
