package gateway

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/lzstock/lzstock/internal/session"
)

// FuzzUpgrade gives foreign bytes to the edge as HTTP. Whatever they are, each
// answer is one: 101, a problem document, or a session's; and nothing of a socket
// is left behind.
func FuzzUpgrade(f *testing.F) {
	const upgrade = " HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for _, path := range append([]string{
		"/v1/stream?trades=AAPL&delivery=latest&interval_ms=500", "/v1/stream?session_id=x", "/v2/x", "/v1/stream?a;b", "//", "/v1/stream?trades=*&token=x",
	}, dialects...) {
		f.Add([]byte("GET " + path + upgrade + "\r\n"))
		f.Add([]byte("GET " + path + upgrade + "APCA-API-KEY-ID: alice\r\nAPCA-API-SECRET-KEY: alice" + hush + "\r\nOrigin: http://gateway\r\n\r\n"))
	}
	f.Add([]byte("GET /v1/stream" + upgrade + "Sec-WebSocket-Protocol: bearer.x, lzstock.v1.msgpack\r\nAuthorization: Bearer x\r\n\r\n\x81\x80\x00\x00\x00\x00"))
	f.Add([]byte("GET /v1/events?trades=AAPL HTTP/1.1\r\nHost: gateway\r\nAPCA-API-KEY-ID: alice\r\nAPCA-API-SECRET-KEY: alice" + hush + "\r\nLast-Event-ID: 1700000000000-7\r\n\r\nGET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte("GET /v1/events?session_id=x HTTP/1.0\r\nLast-Event-ID: end\r\n\r\n"))
	f.Add([]byte("OPTIONS /v1/sessions HTTP/1.1\r\nHost: gateway\r\n\r\nDELETE /v1/sessions/x HTTP/1.1\r\nHost: x\r\nAPCA-API-KEY-ID: alice\r\n\r\n"))
	f.Add([]byte("POST /v1/sessions HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk()
			d.key("alice", session.Grant{})
			ho := newHouse(t, Config{Auth: d})
			conn, err := ho.l.Dial()
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan []byte, 1)
			go func() {
				got, _ := io.ReadAll(conn)
				done <- got
			}()
			_, _ = conn.Write(data)
			synctest.Wait()
			_ = conn.CloseWrite()
			time.Sleep(2 * time.Minute)
			_ = conn.Close()
			answered(t, <-done)
			synctest.Wait()
			if i := strings.Index(ho.logs.String(), "panic"); i >= 0 {
				t.Errorf("%s", ho.logs.String()[i:])
			}
			ho.clean()
		})
	})
}

// answered fails where bytes are not answers as they must be.
func answered(t *testing.T, got []byte) {
	t.Helper()
	for in := bufio.NewReader(bytes.NewReader(got)); ; {
		if _, err := in.Peek(1); err != nil {
			return
		}
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return // to HEAD there is no body, and no way to know here
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			return
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		var p problem
		if resp.Header.Get("Content-Type") == "application/problem+json" && len(body) > 0 &&
			(json.Unmarshal(body, &p) != nil || p.Status != resp.StatusCode || resp.StatusCode < 400) {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
	}
}

// FuzzFirstMessages gives foreign messages to a socket that nobody has
// authenticated on: none of them gets anything of the prices.
func FuzzFirstMessages(f *testing.F) {
	f.Add(uint8(0), `{"action":"subscribe","trades":["AAPL"]}`, `{"action":"auth","key":"alice","secret":"wrong"}`)
	f.Add(uint8(1), `{"action":"auth","token":"x"}`, `{"action":"list"}`)
	f.Add(uint8(2), `{"action":"unsubscribe","trades":["*"]}`, `[]`)
	f.Add(uint8(0), `{"action":"auth"}`, `{"action":"auth","key":"","secret":""}`)
	f.Fuzz(func(t *testing.T, dialect uint8, one, two string) {
		if strings.Contains(one+two, hush) || len(one)+len(two) > 16<<10 {
			t.Skip()
		}
		synctest.Test(t, func(t *testing.T) {
			d := newDesk()
			d.key("alice", session.Grant{})
			ho := newHouse(t, Config{Auth: d})
			ho.publish(tradeOf("AAPL", 1))
			c := ho.dial(dialects[int(dialect)%len(dialects)])
			for _, text := range []string{one, two} {
				_ = ws.WriteFrame(c.conn, ws.MaskFrame(ws.NewTextFrame([]byte(text)))) // it may have ended
			}
			synctest.Wait()
			ho.publish(tradeOf("AAPL", 2))
			for {
				got := c.next()
				if strings.Contains(got, "close") || strings.HasPrefix(got, "error") {
					if strings.Contains(got, "1011") {
						t.Errorf("%s: %s", got, ho.logs)
					}
					break
				}
				if !strings.Contains(got, `"T":"success","msg":"connected"`) && !strings.HasPrefix(got, `[{"T":"error"`) && !strings.HasPrefix(got, `[{"T":"pong"`) {
					t.Errorf("got %s", got)
				}
			}
			_ = c.conn.Close()
			time.Sleep(2 * time.Second) // who broke the rules is not read any more
			ho.clean()
		})
	})
}

// FuzzSessionBody gives foreign bytes as a session's request: a session, or a
// refusal that says nothing of us. What was made is as it was asked for.
func FuzzSessionBody(f *testing.F) {
	for _, body := range []string{
		`{"trades":["AAPL"],"quotes":["*"],"delivery":"latest","interval_ms":500}`, `{}`, `null`, `[]`, `{"trades":"A"}`, `{"trades":["A,B"," "]}`,
		`{"hb_ms":1000,"snapshot":false}`, `{"interval_ms":18446744073709551615}`, `{"trades":[null]} `, "{}\x00", `{"Trades":["A"],"trades":["B"]}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		synctest.Test(t, func(t *testing.T) {
			ho := newHouse(t, Config{})
			synctest.Wait()
			w := httptest.NewRecorder()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, sessionsPath, bytes.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			ho.g.ServeHTTP(w, r)
			var v sessionView
			switch w.Code {
			case http.StatusCreated:
				if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil || len(v.ID) != 22 {
					t.Fatalf("%v: %s", err, w.Body)
				}
				c := ho.dial(stream(v.ID))
				c.expect("connected")
				if len(v.Trades)+len(v.Quotes)+len(v.Bars)+len(v.UpdatedBars)+len(v.DailyBars) > 0 {
					c.expect(`"T":"subscription"`)
				}
			case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
				if text := w.Body.String(); strings.Contains(text, "sessionBody") || strings.Contains(text, "json:") {
					t.Errorf("%s", text)
				}
			default:
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	})
}
