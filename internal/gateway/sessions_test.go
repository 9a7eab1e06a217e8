package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lzstock/lzstock/internal/edge"
	"github.com/lzstock/lzstock/internal/session"
)

// look gives a session as its user sees it.
func (ho *house) look(user, id string) (v sessionView, status int) {
	ho.t.Helper()
	resp, text := ho.ask("GET", sessionsPath+"/"+id, withKey(user), "")
	if resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			ho.t.Fatal(err)
		}
	}
	return v, resp.StatusCode
}

func stream(id string) string { return "/v1/stream?session_id=" + id }

func TestSessionIsCreatedAndAttached(t *testing.T) {
	one(t, Config{}, func(ho *house, _ *desk) {
		synctest.Wait()
		ho.publish(tradeOf("AAPL", 1))
		resp, text := ho.ask("POST", sessionsPath, withKey("alice"),
			`{"trades":["AAPL","no good"],"quotes":["AAPL"],"delivery":"latest","interval_ms":500}`)
		var v sessionView
		if err := json.Unmarshal([]byte(text), &v); err != nil || resp.StatusCode != http.StatusCreated {
			t.Fatalf("%d %s", resp.StatusCode, text)
		}
		if v.StreamURL != "ws://gateway"+stream(v.ID) || v.EventsURL != "http://gateway"+eventsPath+"?session_id="+v.ID || resp.Header.Get("Location") != sessionsPath+"/"+v.ID ||
			len(v.ID) != 22 || v.State != "waiting" || v.Limits.Symbols != 1024 || !v.Expires.Equal(time.Now().Add(time.Minute)) ||
			len(v.Rejected) != 1 || v.Rejected[0].Code != 412 {
			t.Errorf("%s", text)
		}
		c := ho.dial(stream(v.ID)) // the id is enough
		c.expect("connected", "authenticated",
			`"trades":["AAPL"],"quotes":["AAPL"],"bars":[],"updatedBars":[],"dailyBars":[],"statuses":[],"delivery":"latest","interval_ms":500`, `"snap":true`)
		if got, _ := ho.look("alice", v.ID); got.State != "attached" || !got.Attached || got.ID != "" || len(got.Trades) != 1 {
			t.Errorf("%+v", got)
		}
		if _, status := ho.look("bob", v.ID); status != http.StatusNotFound {
			t.Errorf("another user: %d", status)
		}
		_ = c.conn.Close()
		ho.clean()
		ho.unnamed(v.ID)
	})
}

// unnamed fails where a session's id is in the log.
func (ho *house) unnamed(id string) {
	ho.t.Helper()
	synctest.Wait()
	if log := ho.logs.String(); strings.Contains(log, id) || !strings.Contains(log, session.ID(id).Name()) {
		ho.t.Errorf("want the session's name, and never its id, in the log: %s", log)
	}
}

// TestSessionRemembers has a session keep what the client changed, for the socket
// that comes next.
func TestSessionRemembers(t *testing.T) {
	one(t, Config{}, func(ho *house, _ *desk) {
		id := ho.session("alice", `{"trades":["AAPL"],"hb_ms":2000,"snapshot":false}`)
		ho.publish(tradeOf("AAPL", 1), tradeOf("NEW", 1))
		c := ho.dial(stream(id))
		c.expect("connected", "authenticated", `"trades":["AAPL"]`, `"T":"hb"`)
		c.send(`{"action":"subscribe","trades":["MSFT","NEW"],"delivery":"every","snapshot":false}`)
		c.send(`{"action":"unsubscribe","trades":["MSFT"]}`)
		c.expect(`"trades":["AAPL","MSFT","NEW"]`, `"trades":["AAPL","NEW"]`)
		_ = c.conn.Close()
		synctest.Wait()
		if got, _ := ho.look("alice", id); got.State != "waiting" || len(got.Trades) != 2 || got.Delivery != "every" {
			t.Errorf("%+v", got)
		}
		time.Sleep(119 * time.Second)
		begin := time.Now()
		c = ho.dial(stream(id))
		c.expect("connected", "authenticated", `"trades":["AAPL","NEW"],"quotes":[],"bars":[],"updatedBars":[],"dailyBars":[],"statuses":[],"delivery":"every"`, `"T":"hb"`)
		if took := time.Since(begin); took != 2*time.Second {
			t.Errorf("a heartbeat after %s, as in no request", took)
		}
	})
}

func TestSessionIsSuperseded(t *testing.T) {
	one(t, Config{}, func(ho *house, _ *desk) {
		id := ho.session("alice", `{"trades":["AAPL"]}`)
		old := ho.dial(stream(id))
		old.expect("connected", "authenticated", "subscription")
		next := ho.dialAs(stream(id), withKey("alice"))
		next.expect("connected", "authenticated", "subscription")
		old.expect("close 4005")
		synctest.Wait()
		ho.publish(tradeOf("AAPL", 1))
		next.expect(`"S":"AAPL"`)
		if got, _ := ho.look("alice", id); !got.Attached {
			t.Error("the older socket took the session with it")
		}
		// Whoever proves to be somebody else disturbs nobody.
		if resp, _ := (&refusal{path: stream(id), header: withKey("bob")}).send(ho); resp.StatusCode != http.StatusNotFound {
			t.Errorf("another user: %d", resp.StatusCode)
		}
		next.send(`{"action":"ping"}`)
		next.expect("pong")
		_ = next.conn.Close()
		ho.clean()
	})
}

// TestManySocketsWantOneSession at once: one remains, which works.
func TestManySocketsWantOneSession(t *testing.T) {
	one(t, Config{}, func(ho *house, _ *desk) {
		id := ho.session("alice", `{"trades":["AAPL"]}`)
		var wg sync.WaitGroup
		var mu sync.Mutex
		ends := map[string]int{}
		live := make(chan *client, 30)
		for range 30 {
			wg.Go(func() {
				conn, err := ho.l.Dial()
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = conn.Write([]byte("GET " + stream(id) + " HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
					"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
				c := raw(t, conn)
				defer func() { _ = conn.Close() }()
				for {
					got := c.next()
					if strings.Contains(got, `"S":"AAPL"`) {
						live <- c
						got = c.next()
					}
					if strings.HasPrefix(got, "close") || strings.HasPrefix(got, "error") {
						mu.Lock()
						ends[got]++
						mu.Unlock()
						return
					}
				}
			})
		}
		synctest.Wait()
		ho.publish(tradeOf("AAPL", 1))
		synctest.Wait()
		if len(live) != 1 {
			t.Errorf("%d sockets have the session", len(live))
		}
		if got, _ := ho.look("alice", id); !got.Attached {
			t.Error("it is not attached")
		}
		if resp, _ := ho.ask("DELETE", sessionsPath+"/"+id, withKey("alice"), ""); resp.StatusCode != http.StatusNoContent {
			t.Errorf("deleted: %d", resp.StatusCode)
		}
		wg.Wait()
		if ends["close 4003"] != 1 || ends["close 4005"]+ends["close 4003"] > 30 {
			t.Errorf("ends: %v", ends)
		}
		ho.clean()
	})
}

// TestOpenSessionsCountByAddress has addresses make large sessions of a gateway that asks
// nobody who they are.
func TestOpenSessionsCountByAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ho := newHouse(t, Config{Addresses: edge.Addresses{Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}, Symbols: 1 << 20})
		synctest.Wait()
		var list []string
		for i := range 6000 {
			list = append(list, fmt.Sprintf("S%06d", i))
		}
		body := `{"trades":["` + strings.Join(list, `","`) + `"]}`
		const want = 17
		for _, address := range []string{"192.0.2.1", "192.0.2.2", "2001:db8::1"} {
			made := 0
			for range 20 {
				resp, text := ho.ask("POST", sessionsPath, http.Header{"X-Forwarded-For": {address}}, body)
				switch {
				case resp.StatusCode == http.StatusCreated:
					made++
				case resp.StatusCode != http.StatusTooManyRequests || !strings.Contains(text, "problem:session-bytes"):
					t.Fatalf("%d %s", resp.StatusCode, text)
				}
			}
			if made != want {
				t.Errorf("%s made %d sessions, want %d", address, made, want)
			}
		}
		if resp, text := ho.ask("POST", sessionsPath, http.Header{"X-Forwarded-For": {"2001:db8::2"}}, body); resp.StatusCode != http.StatusTooManyRequests {
			t.Errorf("another address of the same network: %d %s", resp.StatusCode, text)
		}
		if n, most := ho.g.sessions.Stats().Bytes, 3*session.DefaultUserBytes; n > most {
			t.Errorf("sessions take %d bytes, want at most %d", n, most)
		}
	})
}

func TestSessionExpires(t *testing.T) {
	one(t, Config{}, func(ho *house, _ *desk) {
		gone := func(id string) bool {
			_, status := ho.look("alice", id)
			resp, _ := (&refusal{path: stream(id)}).send(ho)
			return status == http.StatusNotFound && resp.StatusCode == http.StatusNotFound
		}
		id := ho.session("alice", `{}`)
		time.Sleep(59 * time.Second)
		if _, status := ho.look("alice", id); status != http.StatusOK {
			t.Errorf("after 59 s: %d", status)
		}
		time.Sleep(time.Second)
		if !gone(id) {
			t.Error("it lives longer than 60 s unattached")
		}
		id = ho.session("alice", `{}`)
		c := ho.dial(stream(id))
		c.expect("connected", "authenticated")
		for range 20 { // it lives as long as its socket
			time.Sleep(30 * time.Second)
			c.send(`{"action":"ping"}`)
			c.expect("pong")
		}
		_ = c.conn.Close()
		synctest.Wait()
		time.Sleep(2*time.Minute - time.Second)
		if got, status := ho.look("alice", id); status != http.StatusOK || got.Attached {
			t.Errorf("before 2 min are over: %d %+v", status, got)
		}
		time.Sleep(time.Second)
		if !gone(id) {
			t.Error("it lives longer than 2 min after its socket")
		}
	})
}

func TestSessionIsDeleted(t *testing.T) {
	one(t, Config{}, func(ho *house, _ *desk) {
		id := ho.session("alice", `{"trades":["AAPL"]}`)
		c := ho.dial(stream(id))
		c.expect("connected", "authenticated", "subscription")
		if resp, _ := ho.ask("DELETE", sessionsPath+"/"+id, withKey("bob"), ""); resp.StatusCode != http.StatusNotFound {
			t.Errorf("by another user: %d", resp.StatusCode)
		}
		c.send(`{"action":"ping"}`)
		c.expect("pong")
		if resp, _ := ho.ask("DELETE", sessionsPath+"/"+id, withKey("alice"), ""); resp.StatusCode != http.StatusNoContent {
			t.Errorf("by its user: %d", resp.StatusCode)
		}
		c.expect("close 4003")
		if _, status := ho.look("alice", id); status != http.StatusNotFound {
			t.Errorf("afterwards: %d", status)
		}
		ho.clean()
		ho.unnamed(id)
	})
}

// TestRevocation ends all sockets of a user, and of nobody else, at once.
func TestRevocation(t *testing.T) {
	one(t, Config{}, func(ho *house, d *desk) {
		id := ho.session("alice", `{"trades":["AAPL"]}`)
		token := d.token("t", "alice", time.Hour, session.Grant{})
		theirs := []*client{ho.dial(stream(id)), ho.dialAs("/v1/stream", withKey("alice")), ho.dialAs("/v2/iex", withToken(token)), ho.dialAs(eventsPath+"?trades=*", withToken(token))}
		other := ho.dialAs("/v1/stream", withKey("bob"))
		for _, c := range append(theirs, other) {
			c.expect("connected", "authenticated")
		}
		theirs[0].expect("subscription")
		theirs[3].expect("subscription")
		mux := http.NewServeMux()
		ho.g.Admin(mux)
		if status, text := operate(t, mux, "POST", "/revoke?user=alice", false); status != http.StatusForbidden {
			t.Errorf("without the header: %d %s", status, text)
		}
		if status, text := operate(t, mux, "POST", "/revoke", true); status != http.StatusBadRequest {
			t.Errorf("without a user: %d %s", status, text)
		}
		if _, text := operate(t, mux, "GET", "/sessions?user=alice", false); !strings.Contains(text, `"user":"alice"`) || strings.Contains(text, id) {
			t.Errorf("listed: %s", text)
		}
		begin := time.Now()
		if status, text := operate(t, mux, "POST", "/revoke?user=alice", true); status != http.StatusOK || !strings.Contains(text, `"sessions":1`) {
			t.Errorf("revoked: %d %s", status, text)
		}
		for _, c := range theirs {
			c.expect(`"code":401`, "close 4003")
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("after %s", took)
		}
		other.send(`{"action":"ping"}`)
		other.expect("pong")
		time.Sleep(time.Second)
		if resp, _ := (&refusal{header: withToken(token)}).send(ho); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("the old token: %d", resp.StatusCode)
		}
		ho.dialAs("/v1/stream", withToken(d.token("new", "alice", time.Hour, session.Grant{}))).expect("connected", "authenticated")
		ho.unnamed(id)
	})
}

func operate(t *testing.T, mux *http.ServeMux, method, path string, header bool) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if header {
		req.Header.Set(AdminHeader, "1")
	}
	w := recorder{header: http.Header{}, status: http.StatusOK}
	mux.ServeHTTP(&w, req)
	return w.status, w.body.String()
}

// recorder is an answer that is kept.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

// TestSessionsWhereNobodyIsAsked works without any credentials.
func TestSessionsWhereNobodyIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ho := newHouse(t, Config{})
		synctest.Wait()
		for range session.DefaultPerUser + 1 { // everybody is one user, without a quota
			if resp, text := ho.ask("POST", sessionsPath, nil, `{"trades":["AAPL"]}`); resp.StatusCode != http.StatusCreated {
				t.Fatalf("%d %s", resp.StatusCode, text)
			}
		}
		_, text := ho.ask("POST", sessionsPath, nil, `{"trades":["AAPL"]}`)
		var v sessionView
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		c := ho.dial(stream(v.ID))
		c.expect("connected", `"trades":["AAPL"]`)
		if resp, _ := ho.ask("GET", sessionsPath+"/"+v.ID, nil, ""); resp.StatusCode != http.StatusOK {
			t.Errorf("looked at: %d", resp.StatusCode)
		}
		next := ho.dial(stream(v.ID))
		next.expect("connected", `"trades":["AAPL"]`)
		c.expect("close 4005")
		if resp, _ := ho.ask("DELETE", sessionsPath+"/"+v.ID, nil, ""); resp.StatusCode != http.StatusNoContent {
			t.Errorf("deleted: %d", resp.StatusCode)
		}
		next.expect("close 4003")
		ho.clean()
		ho.unnamed(v.ID)
	})
}

// TestStoreIsLostUnderASocket has the socket live on.
func TestStoreIsLostUnderASocket(t *testing.T) {
	kv := session.NewMemory(session.MemoryConfig{})
	one(t, Config{Sessions: session.Config{KV: kv}}, func(ho *house, _ *desk) {
		id := ho.session("alice", `{"trades":["AAPL"]}`)
		c := ho.dial(stream(id))
		c.expect("connected", "authenticated", "subscription")
		kv.SetDown(true)
		for i := range 3 {
			c.send(fmt.Sprintf(`{"action":"subscribe","trades":["S%d"]}`, i))
			c.expect("subscription")
		}
		ho.publish(tradeOf("S2", 1))
		c.expect(`"S":"S2"`)
		kv.SetDown(false)
		for range 5 {
			time.Sleep(20 * time.Second)
			c.send(`{"action":"ping"}`)
			c.expect("pong")
		}
		_ = c.conn.Close()
		ho.clean()
		if got, status := ho.look("alice", id); status != http.StatusOK || len(got.Trades) != 4 {
			t.Errorf("%d %+v", status, got)
		}
	})
}

// TestSessionForgetsWhatIsLost has a session not bring back what its user was
// told is lost.
func TestSessionForgetsWhatIsLost(t *testing.T) {
	one(t, Config{}, func(ho *house, d *desk) {
		id := ho.session("alice", `{"trades":["AAPL","MSFT"]}`)
		c := ho.dial(stream(id))
		c.expect("connected", "authenticated", `"trades":["AAPL","MSFT"]`)
		d.key("alice", session.Grant{Symbols: []session.Pattern{"MSFT"}})
		d.tell()
		c.expect(`"trades":["MSFT"]`)
		if got, _ := ho.look("alice", id); len(got.Trades) != 1 {
			t.Errorf("it remembers %v", got.Trades)
		}
		d.key("alice", session.Grant{})
		d.tell()
		ho.dial(stream(id)).expect("connected", "authenticated", `"trades":["MSFT"]`)
	})
}
