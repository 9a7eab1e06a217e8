package gateway

import (
	"bufio"
	"net/http"
	"testing"
	"testing/fstest"
	"testing/synctest"
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
