package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// requests are the attacks over HTTP.
func requests() []attack {
	return []attack{
		{name: "sessions", text: "8 addresses make up to 8,000 sessions of 340 symbols on all channels at a gateway that asks nobody", symbols: few, play: sessions},
		{name: "cross-site", text: "pages of a foreign origin make and delete sessions at a gateway that asks nobody", symbols: few, play: crossSite},
		{name: "rebinding", text: "requests for the host evil.example come to listeners on loopback", symbols: few, play: rebinding},
		{name: "not-found", text: "an address asks for what there is not, 400 times a second", symbols: few, play: notFound},
	}
}

// manySessions is far more than a user needs.
const manySessions = 8000

func sessions(ctx context.Context, t *target, c *tally) error {
	made := make([][]string, 8)
	var n atomic.Int64
	each(len(made), func(i int) {
		h := newClient(t.Open, t.nobody(i))
		defer h.close()
		for ctx.Err() == nil && n.Load() < manySessions {
			body := about("", invented(t, i*100_000, batch)...)
			delete(body, "action")
			if id := newSession(ctx, h, c, body); id != "" {
				made[i] = append(made[i], id)
				n.Add(1)
			} else {
				_ = pause(ctx, 50*time.Millisecond)
			}
		}
	})
	if n.Load() >= manySessions {
		c.fault("%d sessions were made: want 429 for more than a budget", n.Load())
	}
	each(len(made), func(i int) {
		h := newClient(t.Open, t.nobody(i))
		defer h.close()
		for _, id := range made[i] {
			dropSession(ctx, h, c, id)
		}
	})
	return nil
}

func crossSite(ctx context.Context, t *target, c *tally) error {
	ctx, cancel := counted(ctx)
	defer cancel()
	h := newClient(t.Open, t.nobody(0))
	defer h.close()
	body := []byte(`{"trades":["AAPL"]}`)
	// try makes a session, if it can, and returns the status.
	try := func(header ...string) int {
		status, answer, err := h.do(ctx, http.MethodPost, "/v1/sessions", body, header...)
		called(ctx, c, "session", status, answer, err)
		var made struct {
			ID string `json:"session_id"`
		}
		if status == http.StatusCreated && json.Unmarshal(answer, &made) == nil {
			status, _, _ := h.do(ctx, http.MethodDelete, "/v1/sessions/"+made.ID, nil, "Origin", "http://evil.example")
			if status != http.StatusForbidden {
				c.fault("DELETE of a session by a foreign origin: %d: want 403", status)
			}
			dropSession(ctx, h, c, made.ID)
		}
		return status
	}
	for _, origin := range []string{"http://evil.example", "https://evil.example", "http://evil.example:8080", "null"} {
		for _, kind := range []string{"text/plain", "application/json", "application/x-www-form-urlencoded", "multipart/form-data"} {
			status := try("Origin", origin, "Content-Type", kind)
			if unread := status == http.StatusUnsupportedMediaType && kind != "application/json"; status != http.StatusForbidden && !unread {
				c.fault("POST of %s by the origin %s: %d: want 403, or 415 for other types than JSON", kind, origin, status)
			}
		}
	}
	if status := try("Origin", "http://"+t.Open, "Content-Type", "application/json"); status != http.StatusCreated {
		c.fault("POST of the gateway's own origin: %d: want 201", status)
	}
	return nil
}

// rebinding asks for a host that the listener is not. A page of evil.example whose name
// points to loopback by now sends such requests, with the page as their own origin.
func rebinding(ctx context.Context, t *target, c *tally) error {
	ctx, cancel := counted(ctx)
	defer cancel()
	const page = "http://evil.example"
	type request struct{ addr, method, path string }
	var all []request
	for _, admin := range []string{t.GatewayAdmin, t.MonitorAdmin} {
		for _, path := range []string{"/", "/metrics", "/healthz", "/readyz", "/sessions", "/drain", "/debug/", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/heap", "/nothing"} {
			all = append(all, request{admin, http.MethodGet, path})
		}
		// These would do no harm if they got through.
		all = append(all, request{admin, http.MethodPost, "/revoke?user=nobody-of-this-name"}, request{admin, http.MethodPost, "/drain?stop=perhaps"})
	}
	for _, path := range []string{"/", "/v1/symbols", "/v2/stocks/AAPL/quotes/latest", "/v1/events?quotes=AAPL", "/v1/stream?quotes=AAPL", "/docs"} {
		all = append(all, request{t.Open, http.MethodGet, path})
	}
	all = append(all, request{t.Open, http.MethodPost, "/v1/sessions"})
	ask := func(r request, host, origin string, header ...string) int {
		h := newClient(r.addr, t.nobody(0))
		defer h.close()
		resp, err := h.send(ctx, r.method, r.path, []byte(`{"trades":["AAPL"]}`), append(header, "Host", host, "Origin", origin)...)
		if err != nil {
			c.count("cut off")
			return 0
		}
		c.count("%d", resp.StatusCode)
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	upgrade := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="}
	for _, r := range all {
		for _, header := range [][]string{nil, {"X-Lzstock", "1"}, upgrade} {
			for _, host := range []string{"evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example"} {
				status := ask(r, host, page, header...)
				if status != http.StatusMisdirectedRequest && status != http.StatusForbidden {
					c.fault("%s %s for a foreign host: %d: want 421 or 403", r.method, r.path, status)
				}
			}
		}
	}
	for _, addr := range []string{t.GatewayAdmin, t.MonitorAdmin, t.Open} {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			return err
		}
		for _, host := range []string{"localhost:" + port, "127.0.0.1:" + port, "[::1]:" + port, "localhost"} {
			if status := ask(request{addr, http.MethodGet, "/"}, host, "http://"+host); status != http.StatusOK {
				c.fault("GET / for %s: %d: want 200", host, status)
			}
		}
	}
	return nil
}

// addressRate is how many requests an address may send a second.
const addressRate = 20

func notFound(ctx context.Context, t *target, c *tally) error {
	type request struct{ method, path string }
	all := []request{
		{http.MethodGet, "/nothing"},
		{http.MethodPost, "/v1/stream"},
		{http.MethodDelete, "/v1/symbols"},
		{http.MethodPut, "/v1/sessions"},
		{http.MethodGet, "/v2/nothing"},
		{http.MethodPost, "/"},
		{http.MethodGet, "/v1/stream"},
		{http.MethodOptions, "/v1/symbols"},
		{http.MethodGet, "/docs"},
	}
	var passed, limited atomic.Int64
	began := time.Now()
	each(4, func(i int) {
		h := newClient(t.Gateway, t.user(0))
		defer h.close()
		for n := i; pause(ctx, 10*time.Millisecond) == nil; n++ {
			r := all[n%len(all)]
			status, body, err := h.do(ctx, r.method, r.path, nil)
			called(ctx, c, r.method+" "+r.path, status, body, err)
			switch {
			case status == http.StatusTooManyRequests:
				limited.Add(1)
			case status > 0:
				passed.Add(1)
			}
		}
	})
	if most := 2 * addressRate * (time.Since(began).Seconds() + 2); float64(passed.Load()) > most {
		c.count("%d of %d requests passed", passed.Load(), passed.Load()+limited.Load())
		c.fault("too many requests of an address passed: want at most %d a second", addressRate)
	}
	return nil
}
