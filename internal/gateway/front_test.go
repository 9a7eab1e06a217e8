package gateway

import (
	"bufio"
	"net/http"
	"testing"
	"testing/fstest"
	"testing/synctest"

	"github.com/lzstock/lzstock/internal/edge"
)

// TestEveryAnswerCountsForItsAddress sends requests of each kind: the third within a
// second is refused, whatever would have answered it.
func TestEveryAnswerCountsForItsAddress(t *testing.T) {
	for _, line := range []string{
		"GET /nothing", "GET //nothing", "GET /v1/../nothing", "OPTIONS *", "OPTIONS /nothing",
		"PUT /v1/sessions", "PATCH /v1/sessions/x", "OPTIONS /v1/sessions", "GET /v1/sessions/x", "DELETE /v1/sessions/x",
		"PUT /v2/stocks/bars", "GET /v2/stocks/bars", "GET /v1/symbols", "POST /docs", "GET /docs", "GET /docs/openapi.yaml",
		"POST /", "GET /", "HEAD /", "GET /v1/stream", "GET /v2/iex", "GET /v2/nyse", "POST /v1/events", "OPTIONS /v1/events",
	} {
		t.Run(line, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ho := newHouse(t, Config{Opens: 1, Prices: &shelf{}, Dashboard: fstest.MapFS{"index.html": {Data: []byte("page")}}})
				for i := range 3 {
					conn, err := ho.l.Dial()
					if err != nil {
						t.Fatal(err)
					}
					if _, err := conn.Write([]byte(line + " HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")); err != nil {
						t.Fatal(err)
					}
					resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
					if err != nil {
						t.Fatal(err)
					}
					_ = resp.Body.Close()
					_ = conn.Close()
					if got := resp.StatusCode == http.StatusTooManyRequests; got != (i == 2) {
						t.Errorf("request %d: %s", i+1, resp.Status)
					}
				}
			})
		})
	}
}

// TestForeignPagesChangeNothing has pages send what browsers send without asking first,
// and more, to a gateway that asks nobody who they are.
func TestForeignPagesChangeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ho := newHouse(t, Config{Origins: edge.Origins{Allow: []string{"https://app.example.com"}}})
		id := ho.session("alice", `{"trades":["AAPL"]}`)
		for _, origin := range []string{"https://evil.example", "null", "http://gateway.evil.example", "https://app.example.com.evil.example"} {
			for _, tc := range []struct{ method, path, kind string }{
				{"POST", sessionsPath, "text/plain"},
				{"POST", sessionsPath, "application/x-www-form-urlencoded"},
				{"POST", sessionsPath, "application/json"},
				{"DELETE", sessionsPath + "/" + id, ""},
				{"PUT", sessionsPath + "/" + id, "application/json"},
				{"PATCH", sessionsPath + "/" + id, "application/json"},
			} {
				resp, text := ho.ask(tc.method, tc.path, http.Header{"Origin": {origin}, "Content-Type": {tc.kind}}, `{"trades":["AAPL"]}`)
				if resp.StatusCode != http.StatusForbidden || resp.Header.Get("Access-Control-Allow-Origin") != "" {
					t.Errorf("%s: %s %s %s: %d %s", origin, tc.method, tc.path, tc.kind, resp.StatusCode, text)
				}
			}
		}
		if s := ho.g.sessions.Stats(); s.Created != 1 || s.Deletes != 0 {
			t.Errorf("foreign pages changed sessions: %+v", s)
		}
		for _, origin := range []string{"https://app.example.com", "http://gateway"} {
			resp, text := ho.ask("POST", sessionsPath, http.Header{"Origin": {origin}, "Content-Type": {"Application/JSON; charset=utf-8"}}, `{}`)
			if resp.StatusCode != http.StatusCreated {
				t.Errorf("%s: %d %s", origin, resp.StatusCode, text)
			}
		}
	})
}
