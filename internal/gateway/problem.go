package gateway

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
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
}

// refuse answers with a problem document, before any upgrade.
func (g *Gateway) refuse(w http.ResponseWriter, p problem) {
	p.Type = "urn:lzstock:problem:" + p.cause
	p.Title = http.StatusText(p.Status)
	g.metrics.refused.WithLabelValues(p.cause).Inc()
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(p.retryAfter.Seconds())))
	}
	if p.allow != "" {
		h.Set("Allow", p.allow)
	}
	if p.Status == http.StatusUpgradeRequired {
		h.Set("Upgrade", "websocket")
		h.Set("Connection", "Upgrade")
		h.Set("Sec-WebSocket-Version", "13")
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client that left does not need it
}

func (g *Gateway) unknown(w http.ResponseWriter, r *http.Request) {
	g.refuse(w, problem{
		Status: http.StatusNotFound, cause: "unknown-path",
		Detail: "no " + r.URL.Path + " here: WebSockets are at /v1/stream, /v2/{feed} and /v1beta3/crypto/{loc}",
	})
}
