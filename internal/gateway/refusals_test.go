package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/lzstock/lzstock/internal/edge"
	"github.com/lzstock/lzstock/internal/session"
)

// refusal is a request that is refused before it becomes a socket, or in the
// session API.
type refusal struct {
	name   string
	cfg    func(*Config)
	before func(*house, *desk, *refusal) // may complete the request
	method string                        // GET where empty
	path   string                        // /v1/stream where empty
	header http.Header                   // beside, and in place of, those of an upgrade; none to leave out
	body   string
	direct error // of the sessions, in place of a request

	status    int
	cause     string
	retry     string
	allow     string
	challenge bool
	events    bool // the event stream's address in place of the WebSocket's
	plain     bool // as HTTP/1.0
}

// shelved has prices to be asked for over REST, or an error in their place.
func shelved(err error) func(*Config) {
	return func(c *Config) { c.Prices = &shelf{err: err} }
}

const sessionsPath = "/v1/sessions"

// refusals are all of them.
func refusals() []refusal {
	lost := session.NewMemory(session.MemoryConfig{})
	opens := func(c *Config) { c.Opens = 1 }
	noKeys := func(_ *house, d *desk, _ *refusal) { d.drop("alice") }
	list := []refusal{
		{name: "no such path", path: "/stream", status: 404, cause: "unknown-path"},
		{name: "no such feed", path: "/v2/nyse", status: 404, cause: "unknown-feed"},
		{name: "a symbol without prices", path: "/v2/stocks/NONE/trades/latest", header: withKey("alice"), cfg: shelved(nil), status: 404, cause: "no-prices"},
		{name: "the latest for who is late", path: "/v2/stocks/AAPL/snapshot", header: withKey("late"), cfg: func(c *Config) {
			shelved(nil)(c)
			c.Delayed = map[time.Duration]Late{15 * time.Minute: {}}
		}, status: 403, cause: "delayed-only"},
		{name: "a symbol that is not covered", path: "/v2/stocks/AAPL/snapshot", header: withKey("other"), cfg: shelved(nil), status: 403, cause: "not-covered"},
		{name: "too many requests of a user", path: "/v1/symbols", header: withKey("alice"), cfg: func(c *Config) {
			shelved(nil)(c)
			c.Requests = 1
		}, before: func(ho *house, _ *desk, _ *refusal) {
			ho.get("alice", "/v1/symbols", 200)
			ho.get("alice", "/v1/symbols", 200)
		}, status: 429, cause: "user-rate", retry: "1"},
		{name: "no monitor", path: "/v2/stocks/bars?symbols=A&timeframe=1Min", header: withKey("alice"), cfg: shelved(errors.New("injected")), status: 503, cause: "no-monitor", retry: "2"},
		{name: "not GET", method: "POST", status: 405, cause: "bad-method", allow: "GET"},
		{name: "a browser's address bar", header: http.Header{"Upgrade": nil, "Connection": nil}, status: 426, cause: "not-an-upgrade"},
		{name: "no upgrade", path: "/v2/iex", header: http.Header{"Upgrade": nil}, status: 426, cause: "not-an-upgrade"},
		{name: "another upgrade", header: http.Header{"Upgrade": {"h2c"}}, status: 426, cause: "not-an-upgrade"},
		{name: "no connection", path: "/v1beta3/crypto/us", header: http.Header{"Connection": nil}, status: 426, cause: "not-an-upgrade"},
		{name: "two upgrades", header: http.Header{"Upgrade": {"websocket", "websocket"}}, status: 426, cause: "not-an-upgrade"},
		{name: "a choice of upgrades", header: http.Header{"Upgrade": {"h2c, websocket"}}, status: 426, cause: "not-an-upgrade"},
		{name: "two versions", header: http.Header{"Sec-Websocket-Version": {"13", "13"}}, status: 426, cause: "bad-version"},
		{name: "a choice of versions", header: http.Header{"Sec-Websocket-Version": {"13, 8"}}, status: 426, cause: "bad-version"},
		{name: "two keys", header: http.Header{"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=="}}, status: 400, cause: "bad-key"},
		{name: "an upgrade with a body", body: `{}`, status: 400, cause: "bad-body"},
		{name: "HTTP/1.0", plain: true, status: 426, cause: "bad-http-version"},
		{name: "no version", header: http.Header{"Sec-Websocket-Version": nil}, status: 426, cause: "bad-version"},
		{name: "an old version", header: http.Header{"Sec-Websocket-Version": {"8"}}, status: 426, cause: "bad-version"},
		{name: "no key", header: http.Header{"Sec-Websocket-Key": nil}, status: 400, cause: "bad-key"},
		{name: "a short key", header: http.Header{"Sec-Websocket-Key": {"AAAA"}}, status: 400, cause: "bad-key"},
		{name: "a foreign page", header: http.Header{"Origin": {"https://evil.example"}}, status: 403, cause: "bad-origin"},
		{name: "a foreign name", cfg: func(c *Config) { c.Hosts = &edge.Hosts{Loopback: true} }, status: 421, cause: "bad-host"},
		{name: "a foreign name, for a session", method: "POST", path: sessionsPath, cfg: func(c *Config) { c.Hosts = &edge.Hosts{Loopback: true} }, status: 421, cause: "bad-host"},
		{name: "a foreign name, for prices", path: "/v2/stocks/AAPL/snapshot", cfg: func(c *Config) {
			shelved(nil)(c)
			c.Hosts = &edge.Hosts{Loopback: true}
		}, status: 421, cause: "bad-host"},
		{name: "two origins", header: http.Header{"Origin": {"http://gateway", "https://evil.example"}}, status: 403, cause: "bad-origin"},
		{name: "another scheme", header: http.Header{"Authorization": {"Basic " + hush}}, status: 400, cause: "bad-credentials"},
		{name: "no token", header: http.Header{"Authorization": {"Bearer "}}, status: 400, cause: "bad-credentials"},
		{name: "no token in the subprotocol", header: http.Header{"Sec-Websocket-Protocol": {bearerProtocol + ", " + protocolJSON}}, status: 400, cause: "bad-credentials"},
		{name: "a key without its secret", header: http.Header{"Apca-Api-Key-Id": {"alice"}}, status: 400, cause: "bad-credentials"},
		{name: "a secret without its key", header: http.Header{"Apca-Api-Secret-Key": {hush}}, status: 400, cause: "bad-credentials"},
		{name: "several credentials", header: http.Header{
			"Authorization": {"Bearer " + hush}, "Apca-Api-Key-Id": {"alice"}, "Apca-Api-Secret-Key": {"alice" + hush},
		}, status: 400, cause: "bad-credentials"},
		{name: "two tokens", header: http.Header{"Authorization": {"Bearer a" + hush, "Bearer b" + hush}}, status: 400, cause: "bad-credentials"},
		{name: "a token by header and subprotocol", header: http.Header{
			"Authorization": {"Bearer a" + hush}, "Sec-Websocket-Protocol": {bearerProtocol + hush + ", " + protocolJSON},
		}, status: 400, cause: "bad-credentials"},
		{name: "unknown subprotocol", header: http.Header{"Sec-Websocket-Protocol": {"mqtt"}}, status: 400, cause: "bad-subprotocol"},
		{name: "a token as the only subprotocol", header: http.Header{"Sec-Websocket-Protocol": {bearerProtocol + hush}}, status: 400, cause: "bad-subprotocol"},
		{name: "unknown parameter", path: "/v1/stream?trade=AAPL", status: 400, cause: "bad-query"},
		{name: "bad delivery", path: "/v1/stream?trades=A&delivery=x", status: 400, cause: "bad-query"},
		{name: "bad interval", path: "/v1/stream?trades=A&delivery=latest&interval_ms=x", status: 400, cause: "bad-query"},
		{name: "a query that is none", path: "/v1/stream?trades=AAPL;quotes=AAPL", status: 400, cause: "bad-query"},
		{name: "session_id beside others", path: "/v1/stream?session_id=x" + hush + "&trades=A", status: 400, cause: "bad-query"},
		{name: "session_id and since beside others", path: "/v1/stream?session_id=x" + hush + "&since=1-2&trades=A", status: 400, cause: "bad-query"},
		{name: "a since that is none", path: "/v1/stream?trades=A&since=7", status: 400, cause: "bad-query"},
		{name: "since without topics", path: "/v1/stream?since=1-2", status: 400, cause: "bad-query"},
		{name: "too many symbols", path: "/v1/stream?trades=A,B,C,D", cfg: func(c *Config) { c.Symbols = 3 }, status: 400, cause: "bad-query"},
		{name: "more symbols than are granted", path: "/v1/stream?trades=A,B", header: withKey("small"), status: 400, cause: "bad-query"},
		{name: "unknown session", path: "/v1/stream?session_id=x" + hush, status: 404, cause: "no-session"},
		{name: "no session's id", path: "/v1/stream?session_id=", status: 404, cause: "no-session"},
		{name: "expired session", status: 404, cause: "no-session", before: func(ho *house, _ *desk, r *refusal) {
			r.path = "/v1/stream?session_id=" + ho.session("alice", `{}`)
			time.Sleep(61 * time.Second)
		}},
		{name: "foreign session", header: withKey("bob"), status: 404, cause: "no-session", before: func(ho *house, _ *desk, r *refusal) {
			r.path = "/v1/stream?session_id=" + ho.session("alice", `{}`)
		}},
		{name: "a session with a wrong key", header: withKey("eve"), status: 401, cause: "auth-failed", challenge: true, before: func(ho *house, _ *desk, r *refusal) {
			r.path = "/v1/stream?session_id=" + ho.session("alice", `{}`)
		}},
		{name: "a session whose key is gone", status: 401, cause: "auth-revoked", challenge: true, before: func(ho *house, d *desk, r *refusal) {
			r.path = "/v1/stream?session_id=" + ho.session("alice", `{}`)
			d.drop("alice")
		}},
		{name: "wrong key", header: withKey("eve"), status: 401, cause: "auth-failed", challenge: true},
		{name: "wrong key, Alpaca's dialect", path: "/v2/iex", header: withKey("eve"), status: 401, cause: "auth-failed", challenge: true},
		{name: "a key that is gone", header: withKey("alice"), before: noKeys, status: 401, cause: "auth-failed", challenge: true},
		{name: "wrong token", header: withToken("x" + hush), status: 401, cause: "auth-failed", challenge: true},
		{name: "expired token", status: 401, cause: "auth-expired", challenge: true, before: func(_ *house, d *desk, r *refusal) {
			r.header = withToken(d.token("t", "carol", time.Second, session.Grant{}))
			time.Sleep(time.Second)
		}},
		{name: "revoked token", status: 401, cause: "auth-revoked", challenge: true, before: func(ho *house, d *desk, r *refusal) {
			r.header = withToken(d.token("t", "carol", time.Hour, session.Grant{}))
			ho.revoke("carol")
		}},
		{name: "authentication is not available", header: withKey("alice"), status: 503, cause: "auth-unavailable", retry: "5", before: func(_ *house, d *desk, _ *refusal) {
			d.set(0, session.ErrUnavailable)
		}},
		{name: "late prices that are not there", header: withKey("late"), status: 403, cause: "no-delayed-prices"},
		{name: "full", cfg: func(c *Config) { c.Connections = 1 }, status: 503, cause: "over-capacity", retry: "5", before: func(ho *house, _ *desk, _ *refusal) {
			ho.dial("/v1/stream")
		}},
		{name: "too many requests of an address", cfg: opens, status: 429, cause: "address-rate", retry: "1", before: func(ho *house, _ *desk, _ *refusal) {
			ho.dial("/v1/stream")
			ho.dial("/v1/stream")
		}},
		{name: "too many requests of an address for sessions", cfg: opens, path: sessionsPath, method: "POST", status: 429, cause: "address-rate", retry: "1", before: func(ho *house, _ *desk, _ *refusal) {
			ho.dial("/v1/stream")
			ho.dial("/v1/stream")
		}},
		{name: "too many sockets of an address", cfg: func(c *Config) { c.AddressSockets = 1 }, status: 429, cause: "address-sockets", retry: "5", before: func(ho *house, _ *desk, _ *refusal) {
			ho.dial("/v1/stream")
		}},
		{name: "stopping", status: 503, cause: "stopping", retry: "5", before: func(ho *house, _ *desk, _ *refusal) { ho.g.close() }},
		{name: "draining", status: 503, cause: "draining", retry: "5", before: func(ho *house, _ *desk, _ *refusal) { ho.g.turn(doorShut) }},
		{name: "a session while draining", method: "POST", path: sessionsPath, header: withKey("alice"), body: `{}`, status: 503, cause: "draining", retry: "5", before: func(ho *house, _ *desk, _ *refusal) {
			ho.g.turn(doorShut)
		}},

		{name: "no credentials", method: "POST", path: sessionsPath, status: 401, cause: "not-authenticated", challenge: true},
		{name: "a session, wrong key", method: "POST", path: sessionsPath, header: withKey("eve"), status: 401, cause: "auth-failed", challenge: true},
		{name: "credentials in a session's URL", method: "POST", path: sessionsPath + "?token=" + hush, status: 400, cause: "credentials-in-url"},
		{name: "a session for a foreign page", method: "POST", path: sessionsPath, header: http.Header{"Origin": {"https://evil.example"}}, body: `{}`, status: 403, cause: "bad-origin"},
		{name: "a session as text", method: "POST", path: sessionsPath, header: typed("text/plain"), body: `{}`, status: 415, cause: "bad-content-type"},
		{name: "a session of no type", method: "POST", path: sessionsPath, header: typed(""), body: `{}`, status: 415, cause: "bad-content-type"},
		{name: "no body", method: "POST", path: sessionsPath, header: withKey("alice"), status: 400, cause: "bad-body"},
		{name: "half a body", method: "POST", path: sessionsPath, header: withKey("alice"), body: `{"trades":["A"`, status: 400, cause: "bad-body"},
		{name: "a list as body", method: "POST", path: sessionsPath, header: withKey("alice"), body: `["A"]`, status: 400, cause: "bad-body"},
		{name: "a text as list", method: "POST", path: sessionsPath, header: withKey("alice"), body: `{"trades":"A"}`, status: 400, cause: "bad-body"},
		{name: "a negative number", method: "POST", path: sessionsPath, header: withKey("alice"), body: `{"interval_ms":-1}`, status: 400, cause: "bad-body"},
		{name: "unknown field", method: "POST", path: sessionsPath, header: withKey("alice"), body: `{"symbols":["A"]}`, status: 400, cause: "bad-body"},
		{name: "something behind the body", method: "POST", path: sessionsPath, header: withKey("alice"), body: `{} {}`, status: 400, cause: "bad-body"},
		{name: "bad delivery in a body", method: "POST", path: sessionsPath, header: withKey("alice"), body: `{"delivery":"x"}`, status: 400, cause: "bad-body"},
		{name: "too many symbols in a body", method: "POST", path: sessionsPath, header: withKey("small"), body: `{"trades":["A","B"]}`, status: 400, cause: "too-many-symbols"},
		{
			name: "a large body", method: "POST", path: sessionsPath, header: withKey("alice"), cfg: func(c *Config) { c.SessionBytes = 100 },
			body: `{"trades":["` + strings.Repeat("A", 200) + `"]}`, status: 413, cause: "too-large",
		},
		{
			name: "much behind the body", method: "POST", path: sessionsPath, header: withKey("alice"), cfg: func(c *Config) { c.SessionBytes = 100 },
			body: `{}` + strings.Repeat(" ", 200), status: 413, cause: "too-large",
		},
		{
			name: "too many sessions of a user", method: "POST", path: sessionsPath, header: withKey("alice"), body: `{}`,
			cfg:    func(c *Config) { c.Sessions.PerUser = 1 },
			before: func(ho *house, _ *desk, _ *refusal) { ho.session("alice", `{}`) },
			status: 429, cause: "session-quota", retry: "60",
		},
		{
			name: "sessions of a user that are too large together", method: "POST", path: sessionsPath, header: withKey("alice"), body: `{}`,
			cfg:    func(c *Config) { c.Sessions.UserBytes = 1000 },
			before: func(ho *house, _ *desk, _ *refusal) { ho.session("alice", `{}`) },
			status: 429, cause: "session-bytes", retry: "60",
		},
		{
			name: "sessions that are too large together", method: "POST", path: sessionsPath, header: withKey("alice"), body: `{}`,
			cfg:    func(c *Config) { c.Sessions.TotalBytes = 1000 },
			before: func(ho *house, _ *desk, _ *refusal) { ho.session("bob", `{}`) },
			status: 503, cause: "sessions-full", retry: "60",
		},
		{
			name: "too many sessions", method: "POST", path: sessionsPath, header: withKey("alice"), body: `{}`,
			cfg:    func(c *Config) { c.Sessions.Total = 1 },
			before: func(ho *house, _ *desk, _ *refusal) { ho.session("bob", `{}`) },
			status: 503, cause: "sessions-full", retry: "60",
		},
		{
			name: "the store is lost", method: "POST", path: sessionsPath, header: withKey("alice"), body: `{}`,
			cfg:    func(c *Config) { c.Sessions.KV = lost },
			before: func(*house, *desk, *refusal) { lost.SetDown(true) },
			status: 503, cause: "sessions-unavailable", retry: "5",
		},
		{name: "a session of nobody", path: sessionsPath + "/x" + hush, header: withKey("alice"), status: 404, cause: "no-session"},
		{name: "a foreign session is looked at", header: withKey("bob"), status: 404, cause: "no-session", before: func(ho *house, _ *desk, r *refusal) {
			r.path = sessionsPath + "/" + ho.session("alice", `{}`)
		}},
		{name: "a foreign session is deleted", method: "DELETE", header: withKey("bob"), status: 404, cause: "no-session", before: func(ho *house, _ *desk, r *refusal) {
			r.path = sessionsPath + "/" + ho.session("alice", `{}`)
		}},
		{name: "sessions take no PUT", method: "PUT", path: sessionsPath, status: 405, cause: "bad-method", allow: "POST"},
		{name: "a session takes no POST", method: "POST", path: sessionsPath + "/x", status: 405, cause: "bad-method", allow: "GET, DELETE"},
		{name: "sessions have no options", method: "OPTIONS", path: sessionsPath, header: withKey("alice"), status: 405, cause: "bad-method", allow: "POST"},
		{name: "a session has no options", method: "OPTIONS", path: sessionsPath + "/x", header: withKey("alice"), status: 405, cause: "bad-method", allow: "GET, DELETE"},
		{name: "a newer socket was faster", direct: session.ErrSuperseded, status: 409, cause: "superseded"},
		{name: "a session too large for the store", direct: session.ErrTooLarge, status: 413, cause: "too-large"},
		{name: "revoked meanwhile", direct: session.ErrRevoked, status: 401, cause: "auth-revoked", challenge: true},
	}
	for _, r := range list { // what is no WebSocket's alone is the event stream's too
		if r.direct == nil && (r.path == "" || strings.HasPrefix(r.path, "/v1/stream")) && r.header.Get("Sec-Websocket-Protocol") == "" &&
			!slices.Contains([]string{"not-an-upgrade", "bad-version", "bad-key", "bad-http-version"}, r.cause) {
			r.name, r.events = "events, "+r.name, true
			list = append(list, r)
		}
	}
	list = append(list,
		refusal{name: "events without credentials", path: eventsPath + "?trades=A", status: 401, cause: "not-authenticated", challenge: true},
		refusal{name: "events of nothing", path: eventsPath, header: withKey("alice"), status: 400, cause: "nothing-asked"},
		refusal{name: "HEAD of events", method: "HEAD", path: eventsPath + "?trades=A", status: 405, cause: "bad-method", allow: "GET"},
		refusal{name: "options of events", method: "OPTIONS", path: eventsPath + "?trades=A", status: 405, cause: "bad-method", allow: "GET"},
		refusal{name: "a last event that is none", path: eventsPath + "?trades=A", header: lastSeen("7"), status: 400, cause: "bad-last-event-id"},
		refusal{name: "after a last event that was the end", path: eventsPath + "?trades=A", header: lastSeen("end"), status: 204, cause: "no-return"},
	)
	for _, name := range secretParams() {
		for _, path := range append([]string{eventsPath}, dialects...) {
			list = append(list, refusal{
				name: name + " in the URL of " + path, path: path + "?" + name + "=" + hush, status: 400, cause: "credentials-in-url",
			})
		}
	}
	return list
}

// typed gives alice's key and the type of a body.
func typed(contentType string) http.Header {
	h := withKey("alice")
	h.Set("Content-Type", contentType)
	return h
}

// ask sends a request of HTTP.
func (ho *house) ask(method, path string, h http.Header, body string) (*http.Response, string) {
	ho.t.Helper()
	hc := &http.Client{Transport: &http.Transport{DialContext: ho.l.DialContext, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ho.t.Context(), method, "http://gateway"+path, strings.NewReader(body))
	if err != nil {
		ho.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	maps.Copy(req.Header, h)
	resp, err := hc.Do(req)
	if err != nil {
		ho.t.Fatalf("%s %s: %v", method, path, err)
	}
	text, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	return resp, string(text)
}

// askPlain sends a GET of HTTP/1.0.
func (ho *house) askPlain(path string, h http.Header) (*http.Response, string) {
	ho.t.Helper()
	conn, err := ho.l.Dial()
	if err != nil {
		ho.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.0\r\nHost: gateway\r\n", path)
	_ = h.Write(conn)
	_, _ = io.WriteString(conn, "\r\n") // what is missing shows in the answer
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		ho.t.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	return resp, string(text)
}

// session makes a session and gives its id.
func (ho *house) session(user, body string) (id string) {
	ho.t.Helper()
	synctest.Wait() // the sessions are there
	resp, text := ho.ask("POST", sessionsPath, withKey(user), body)
	var v sessionView
	if err := json.Unmarshal([]byte(text), &v); err != nil || resp.StatusCode != http.StatusCreated {
		ho.t.Fatalf("no session: %d %s", resp.StatusCode, text)
	}
	return v.ID
}

func (ho *house) revoke(user session.User) {
	ho.t.Helper()
	synctest.Wait()
	if _, err := ho.g.sessions.Revoke(ho.t.Context(), user); err != nil {
		ho.t.Fatal(err)
	}
}

func TestRefusals(t *testing.T) {
	for _, tc := range refusals() {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk()
				d.key("alice", session.Grant{})
				d.key("bob", session.Grant{})
				d.key("late", session.Grant{Delay: 15 * time.Minute})
				d.key("other", session.Grant{Symbols: []session.Pattern{"B*"}})
				d.key("small", session.Grant{Limits: session.Limits{Symbols: 1}})
				cfg := Config{Auth: d, AuthTimeout: time.Hour}
				if tc.cfg != nil {
					tc.cfg(&cfg)
				}
				ho := newHouse(t, cfg)
				if tc.before != nil {
					tc.before(ho, d, &tc)
				}
				resp, text := tc.send(ho)
				tc.check(t, resp, text)
				if n := testutil.ToFloat64(ho.g.metrics.refused.WithLabelValues(tc.cause)); n != 1 {
					t.Errorf("counted %v times as %s", n, tc.cause)
				}
				ho.quiet()
				if _, id, ok := strings.Cut(tc.path, "session_id="); ok && id != "" && strings.Contains(ho.logs.String(), id) {
					t.Error("the session's id is in the log")
				}
				if _, id, ok := strings.Cut(tc.path, sessionsPath+"/"); ok && id != "x" && strings.Contains(ho.logs.String(), id) {
					t.Error("the session's id is in the log")
				}
			})
		})
	}
}

func (tc *refusal) send(ho *house) (*http.Response, string) {
	if tc.direct != nil {
		w := httptest.NewRecorder()
		ho.g.refuse(w, httptest.NewRequest(http.MethodGet, "/v1/stream", nil), *ho.g.sessionProblem(ho.t.Context(), tc.direct))
		return w.Result(), w.Body.String()
	}
	method, path, h := tc.method, tc.path, http.Header{}
	if method == "" {
		method = http.MethodGet
	}
	if path == "" {
		path = "/v1/stream"
	}
	if tc.events {
		path = strings.Replace(path, "/v1/stream", eventsPath, 1)
		if !strings.Contains(path, "?") {
			path += "?trades=A"
		}
	}
	if !strings.HasPrefix(path, sessionsPath) {
		h = http.Header{
			"Connection": {"keep-alive, Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
			"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
		}
	}
	maps.Copy(h, tc.header)
	if tc.plain {
		return ho.askPlain(path, h)
	}
	return ho.ask(method, path, h, tc.body)
}

func (tc *refusal) check(t *testing.T, resp *http.Response, text string) {
	t.Helper()
	var p problem
	if tc.status == http.StatusNoContent || tc.method == http.MethodHead { // there is no document
		if resp.StatusCode != tc.status || text != "" || resp.Header.Get("Allow") != tc.allow {
			t.Errorf("%d %q", resp.StatusCode, text)
		}
		return
	}
	if err := json.Unmarshal([]byte(text), &p); err != nil || resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%v in %s", err, text)
	}
	if resp.StatusCode != tc.status || p.Status != tc.status || p.Type != "urn:lzstock:problem:"+tc.cause || p.Detail == "" || p.Title == "" {
		t.Errorf("%d %s, want %d %s", resp.StatusCode, text, tc.status, tc.cause)
	}
	challenge := ""
	if tc.challenge {
		challenge = `Bearer realm="lzstock"`
	}
	for name, want := range map[string]string{
		"Retry-After": tc.retry, "Allow": tc.allow, "WWW-Authenticate": challenge,
		"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for _, bad := range []string{hush, "json:", "gateway.", "injected", "goroutine", "0x"} {
		if strings.Contains(text, bad) {
			t.Errorf("%q is in %s", bad, text)
		}
	}
}

// TestEveryCauseIsTested walks the code for the causes that it can give.
func TestEveryCauseIsTested(t *testing.T) {
	tested := map[string]bool{}
	for _, r := range refusals() {
		tested[r.cause] = true
	}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	note := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			found[strings.Trim(lit.Value, `"`)] = true
		}
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && key.Name == "cause" {
					note(n.Value)
				}
			case *ast.AssignStmt:
				for i, left := range n.Lhs {
					if s, ok := left.(*ast.SelectorExpr); ok && s.Sel.Name == "cause" && len(n.Rhs) == len(n.Lhs) {
						note(n.Rhs[i])
					}
				}
			}
			return true
		})
	}
	if len(found) < 20 {
		t.Errorf("only %v are found", slices.Sorted(maps.Keys(found)))
	}
	for cause := range found {
		if !tested[cause] {
			t.Errorf("%s is not tested", cause)
		}
	}
}

func TestPreflight(t *testing.T) {
	for _, tc := range []struct {
		origin string
		status int
		allow  string
	}{
		{"https://app.example.com", 204, "https://app.example.com"},
		{"http://gateway", 204, "http://gateway"},
		{"https://evil.example", 403, ""},
		{"null", 403, ""},
	} {
		one(t, Config{Origins: edge.Origins{Allow: []string{"https://app.example.com"}}}, func(ho *house, _ *desk) {
			for _, path := range []string{sessionsPath, sessionsPath + "/x"} {
				resp, text := ho.ask("OPTIONS", path, http.Header{"Origin": {tc.origin}, "Access-Control-Request-Method": {"POST"}}, "")
				if got := resp.Header.Get("Access-Control-Allow-Origin"); resp.StatusCode != tc.status || got != tc.allow {
					t.Errorf("%s %s: %d %q %s", tc.origin, path, resp.StatusCode, got, text)
				}
			}
			resp, _ := ho.ask("OPTIONS", eventsPath, http.Header{"Origin": {tc.origin}, "Access-Control-Request-Method": {"GET"}, "Access-Control-Request-Headers": {"last-event-id"}}, "")
			if got := resp.Header.Get("Access-Control-Allow-Origin"); resp.StatusCode != tc.status || got != tc.allow || (tc.status == 204 && !strings.Contains(resp.Header.Get("Access-Control-Allow-Headers"), "Last-Event-ID")) {
				t.Errorf("%s: events: %d %v", tc.origin, resp.StatusCode, resp.Header)
			}
			resp, _ = ho.ask("POST", sessionsPath, http.Header{"Origin": {tc.origin}}, "{}")
			if got := resp.Header.Get("Access-Control-Allow-Origin"); got != tc.allow || (tc.allow != "" && resp.Header.Get("Vary") != "Origin") {
				t.Errorf("%s: an answer that %q may read", tc.origin, got)
			}
		})
	}
}

// TestRefusedRequestsHoldNothing has sockets that were counted in, and then
// refused, counted out.
func TestRefusedRequestsHoldNothing(t *testing.T) {
	one(t, Config{Connections: 1, AddressSockets: 1}, func(ho *house, d *desk) {
		for range 3 {
			(&refusal{header: withKey("eve")}).send(ho)
		}
		d.key("late", session.Grant{Delay: time.Hour})
		(&refusal{header: withKey("late")}).send(ho)
		(&refusal{path: "/v1/stream?session_id=x"}).send(ho)
		if n := ho.g.from.Len(); n != 0 {
			t.Errorf("%d addresses are counted", n)
		}
		ho.dial("/v1/stream").expect("connected")
		if got := ho.g.cfg.Addresses.Of(httptest.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, "/", nil)); got == (netip.Addr{}) {
			t.Error("no address")
		}
	})
}
