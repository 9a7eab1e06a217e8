package gateway

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lzstock/lzstock/internal/poll"
	"github.com/lzstock/lzstock/internal/session"
)

// desk is an Authenticator whose keys and tokens the test sets, changes, delays
// and breaks.
type desk struct {
	mu      sync.Mutex
	keys    map[string]session.Identity // by id; the secret is the id with hush behind it
	tokens  map[string]session.Identity
	delay   time.Duration
	broken  error
	changed chan struct{}
}

// hush stands in every secret of these tests, and must not be seen anywhere.
const hush = "-S3CRET"

func newDesk() *desk {
	return &desk{keys: map[string]session.Identity{}, tokens: map[string]session.Identity{}, changed: make(chan struct{}, 1)}
}

// key adds or changes a key of a user of the same name.
func (d *desk) key(id string, g session.Grant) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keys[id] = session.Identity{User: session.User(id), Method: session.Key, Credential: id, Grant: g}
}

// token adds a token that is good for a time.
func (d *desk) token(name string, user session.User, life time.Duration, g session.Grant) (token string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.tokens[name+hush] = session.Identity{
		User: user, Method: session.Token, Credential: name, Issued: now, Expires: now.Add(life), Grant: g,
	}
	return name + hush
}

func (d *desk) drop(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.keys, id)
}

// tell has the gateway look again, and waits until it has.
func (d *desk) tell() {
	d.changed <- struct{}{}
	synctest.Wait()
}

func (d *desk) set(delay time.Duration, broken error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.delay, d.broken = delay, broken
}

func (d *desk) Open() bool { return false }

func (d *desk) Changed() <-chan struct{} { return d.changed }

// wait takes the time that the answer takes.
func (d *desk) wait(ctx context.Context) error {
	d.mu.Lock()
	delay, broken := d.delay, d.broken
	d.mu.Unlock()
	select {
	case <-time.After(delay):
		return broken
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", session.ErrUnavailable, context.Cause(ctx))
	}
}

func (d *desk) Key(ctx context.Context, id, secret string) (session.Identity, error) {
	if err := d.wait(ctx); err != nil {
		return session.Identity{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	who, ok := d.keys[id]
	if !ok || secret != id+hush {
		return session.Identity{}, fmt.Errorf("key: %w", session.ErrRefused)
	}
	return who, nil
}

func (d *desk) Token(ctx context.Context, token string) (session.Identity, error) {
	if err := d.wait(ctx); err != nil {
		return session.Identity{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	who, ok := d.tokens[token]
	switch {
	case !ok:
		return session.Identity{}, fmt.Errorf("token: %w", session.ErrRefused)
	case !time.Now().Before(who.Expires):
		return session.Identity{}, fmt.Errorf("token: %w", session.ErrExpired)
	}
	return who, nil
}

func (d *desk) Check(_ context.Context, who session.Identity) (session.Identity, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if who.Method == session.Token {
		if !time.Now().Before(who.Expires) {
			return session.Identity{}, session.ErrExpired
		}
		return who, nil
	}
	now, ok := d.keys[who.Credential]
	if !ok {
		return session.Identity{}, session.ErrRevoked
	}
	return now, nil
}

func withKey(id string) http.Header {
	return http.Header{"Apca-Api-Key-Id": {id}, "Apca-Api-Secret-Key": {id + hush}}
}

func withToken(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

func authKey(id string) string {
	return fmt.Sprintf(`{"action":"auth","key":%q,"secret":%q}`, id, id+hush)
}

func authToken(token string) string { return fmt.Sprintf(`{"action":"auth","token":%q}`, token) }

// quiet fails where a secret is in the log.
func (ho *house) quiet() {
	ho.t.Helper()
	synctest.Wait()
	if i := strings.Index(ho.logs.String(), hush); i >= 0 {
		ho.t.Errorf("a secret is in the log: %s", ho.logs.String()[max(0, i-200):i+10])
	}
}

// clean fails where something is left of sockets that are gone.
func (ho *house) clean() {
	ho.t.Helper()
	synctest.Wait()
	ho.g.mu.Lock()
	open := ho.g.open
	ho.g.mu.Unlock()
	if n := ho.demand.len(); n != 0 || ho.hub.Stats().Members != 0 || open != 0 || len(ho.g.users.all()) != 0 {
		ho.t.Errorf("left behind: %v, %+v, %d open, %d of users", ho.demand.want, ho.hub.Stats(), open, len(ho.g.users.all()))
	}
}

var dialects = []string{"/v1/stream", "/v2/iex", "/v1beta3/crypto/us"}

// each runs a test in a bubble for each dialect, over a house with a desk.
func each(t *testing.T, paths []string, cfg Config, f func(ho *house, d *desk, path string)) {
	t.Helper()
	for _, path := range paths {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk()
				d.key("alice", session.Grant{})
				d.key("bob", session.Grant{})
				cfg := cfg
				cfg.Auth = d
				cfg.Bridge.HeartbeatEvery = 10000 * time.Hour
				ho := newHouse(t, cfg)
				f(ho, d, path)
				ho.quiet()
			})
		})
	}
}

// one is each for the native dialect.
func one(t *testing.T, cfg Config, f func(ho *house, d *desk)) {
	t.Helper()
	each(t, dialects[:1], cfg, func(ho *house, d *desk, _ string) { f(ho, d) })
}

func TestAuthMessage(t *testing.T) {
	each(t, dialects, Config{}, func(ho *house, _ *desk, path string) {
		c := ho.dial(path)
		c.expect("connected")
		c.send(`{"action":"subscribe","trades":["AAPL"]}`)
		c.expect(`"code":401`)
		c.send(authKey("alice"))
		c.expect("authenticated")
		c.send(authKey("alice"))
		c.expect(`"code":403`)
		c.send(`{"action":"subscribe","trades":["AAPL"]}`)
		c.expect(`"trades":["AAPL"]`)
		ho.publish(tradeOf("AAPL", 1))
		c.expect(`"S":"AAPL"`)
		_ = c.conn.Close()
		ho.clean()
	})
}

func TestWrongAuthMessageEnds(t *testing.T) {
	each(t, dialects, Config{}, func(ho *house, _ *desk, path string) {
		for _, wrong := range []string{`{"action":"auth","key":"alice","secret":"wrong"}`, `{"action":"auth","key":"eve","secret":"eve-S3CRET"}`} {
			c := ho.dial(path)
			c.send(wrong)
			c.expect("connected", `"code":402,"msg":"auth failed"`, "close 4001")
		}
		ho.clean()
	})
}

func TestAuthTimeout(t *testing.T) {
	each(t, dialects, Config{}, func(ho *house, d *desk, path string) {
		begin := time.Now()
		ho.dial(path).expect("connected", `"code":404,"msg":"auth timeout"`, "close 4002")
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("after %s", took)
		}
		d.set(20*time.Second, nil) // nobody's answer is waited for longer
		c := ho.dial(path)
		c.send(authKey("alice"))
		c.expect("connected", `"code":404`, "close 4002")
		time.Sleep(20 * time.Second)
		ho.clean()
	})
}

// TestAuthInHeaders has the client say who it is in its request: it is told that
// it is in, in each dialect, and need not ask.
func TestAuthInHeaders(t *testing.T) {
	each(t, dialects, Config{}, func(ho *house, d *desk, path string) {
		token := d.token("t", "carol", time.Hour, session.Grant{})
		for _, c := range []*client{
			ho.dialAs(path, withKey("alice")), ho.dialAs(path, withToken(token)),
			ho.dialAs(path, nil, bearerProtocol+token, protocolJSON),
		} {
			c.expect("connected", "authenticated")
			c.send(authKey("alice"))
			c.expect(`"code":403`)
			c.send(`{"action":"subscribe","trades":["AAPL"]}`)
			c.expect(`"trades":["AAPL"]`)
			time.Sleep(11 * time.Second) // no timeout
			ho.publish(tradeOf("AAPL", 1))
			c.expect(`"S":"AAPL"`)
			_ = c.conn.Close()
		}
		ho.clean()
	})
}

// TestSlowAuthenticator has one client wait for its answer: another's prices come
// all the same, and what the first has sent meanwhile is answered afterwards, in
// order.
func TestSlowAuthenticator(t *testing.T) {
	one(t, Config{CommandBurst: 100}, func(ho *house, d *desk) {
		other := ho.dialAs("/v1/stream?trades=AAPL", withKey("bob"))
		other.expect("connected", "authenticated", "subscription")
		d.set(5*time.Second, nil)
		c := ho.dial("/v1/stream")
		c.expect("connected")
		begin := time.Now()
		c.send(authKey("alice"))
		for i := range 10 {
			c.send(fmt.Sprintf(`{"action":"subscribe","id":%d,"trades":["S%d"]}`, i, i))
		}
		synctest.Wait()
		for range 3 {
			ho.publish(tradeOf("AAPL", 1))
			other.expect(`"S":"AAPL"`)
		}
		if !time.Now().Equal(begin) {
			t.Errorf("others were delayed by %s", time.Since(begin))
		}
		c.expect("authenticated")
		for i := range 10 {
			c.expect(fmt.Sprintf(`"T":"subscription","id":%d,`, i))
		}
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("answered after %s", took)
		}
	})
}

func TestTooMuchSentWhileAuthenticating(t *testing.T) {
	one(t, Config{}, func(ho *house, d *desk) {
		d.set(5*time.Second, nil)
		c := ho.dial("/v1/stream")
		c.send(authKey("alice"))
		for range queue + 1 {
			c.send(`{"action":"ping"}`)
		}
		c.expect("connected", `"code":429`, "close 4101")
		time.Sleep(6 * time.Second)
		ho.clean()
	})
}

// TestClientGoneWhileAuthenticating leaves nothing behind, and takes no living
// socket's place.
func TestClientGoneWhileAuthenticating(t *testing.T) {
	one(t, Config{UserSockets: 1}, func(ho *house, d *desk) {
		old := ho.dialAs("/v1/stream?trades=IBM", withKey("alice"))
		old.expect("connected", "authenticated", "subscription")
		d.set(5*time.Second, nil)
		c := ho.dial("/v1/stream?trades=AAPL,MSFT")
		c.expect("connected")
		c.send(authKey("alice"))
		c.send(`{"action":"subscribe","trades":["NEW"]}`)
		synctest.Wait()
		_ = c.conn.Close()
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if n := ho.demand.len(); n != 1 {
			t.Errorf("demand: %v", ho.demand.want)
		}
		old.send(`{"action":"ping","id":1}`)
		old.expect("pong")
		_ = old.conn.Close()
		ho.clean()
	})
}

// TestStopWhileAuthenticating does not wait for an answer that does not come.
func TestStopWhileAuthenticating(t *testing.T) {
	one(t, Config{AuthTimeout: time.Hour}, func(ho *house, d *desk) {
		d.set(24*time.Hour, nil)
		c := ho.dial("/v1/stream")
		c.expect("connected")
		c.send(authKey("alice"))
		synctest.Wait()
		begin := time.Now()
		ho.stop()
		c.expect("close 1001")
		if err := <-ho.done; err != nil || time.Since(begin) > 4*time.Second {
			t.Errorf("stopped after %s: %v", time.Since(begin), err)
		}
		ho.clean()
	})
}

func TestURLSubscriptionWaitsForAuth(t *testing.T) {
	one(t, Config{}, func(ho *house, _ *desk) {
		c := ho.dial("/v1/stream?trades=AAPL,MSFT")
		c.expect("connected")
		ho.publish(tradeOf("AAPL", 1))
		c.send(`{"action":"list"}`)
		c.expect(`"code":401`)
		if n := ho.demand.len(); n != 0 {
			t.Errorf("demand of nobody: %v", ho.demand.want)
		}
		c.send(authKey("alice"))
		c.expect("authenticated", `"trades":["AAPL","MSFT"]`, `"snap":true`)
	})
}

func TestAuthUnavailableMayBeRepeated(t *testing.T) {
	one(t, Config{}, func(ho *house, d *desk) {
		d.set(0, session.ErrUnavailable)
		c := ho.dial("/v1/stream")
		c.expect("connected")
		c.send(authKey("alice"))
		c.expect(`"code":503`)
		d.set(0, nil)
		c.send(authKey("alice"))
		c.expect("authenticated")
	})
}

func TestTooManyAuthenticate(t *testing.T) {
	one(t, Config{Authenticating: 1}, func(ho *house, d *desk) {
		d.set(time.Second, nil)
		first, second := ho.dial("/v1/stream"), ho.dial("/v1/stream")
		first.send(authKey("alice"))
		synctest.Wait()
		second.send(authKey("bob"))
		second.expect("connected", `"code":429`)
		first.expect("connected", "authenticated")
		synctest.Wait() // its place is free a moment later
		second.send(authKey("bob"))
		second.expect("authenticated")
	})
}

func TestTokenExpires(t *testing.T) {
	each(t, append([]string{eventsPath + "?trades=A"}, dialects...), Config{}, func(ho *house, d *desk, path string) {
		begin := time.Now()
		c := ho.dialAs(path, withToken(d.token("t", "carol", 10*time.Minute, session.Grant{})))
		c.expect("connected", "authenticated")
		if c.events != nil {
			c.expect("subscription")
		}
		if strings.HasPrefix(path, "/v1/") {
			c.expect(`"T":"expiring"`)
			if took := time.Since(begin); took != 9*time.Minute {
				t.Errorf("warned after %s", took)
			}
		}
		c.expect(`"code":401`, "close 4203")
		if took := time.Since(begin); took != 10*time.Minute {
			t.Errorf("ended after %s", took)
		}
		ho.clean()
	})
}

func TestTokenIsRenewed(t *testing.T) {
	one(t, Config{}, func(ho *house, d *desk) {
		begin := time.Now()
		old := d.token("old", "carol", time.Second, session.Grant{})
		c := ho.dialAs("/v1/stream", withToken(d.token("t", "carol", 10*time.Minute, session.Grant{})))
		c.expect("connected", "authenticated")
		time.Sleep(2 * time.Second)
		c.send(authToken(d.token("eve", "eve", time.Hour, session.Grant{})))
		c.expect(`"code":402`)
		c.send(authToken(old))
		c.expect(`"code":402`)
		c.send(authToken("nonsense"))
		c.expect(`"code":402`)
		c.expect("expiring") // the old expiry holds
		if took := time.Since(begin); took != 9*time.Minute {
			t.Errorf("warned after %s", took)
		}
		c.send(authToken(d.token("next", "carol", 20*time.Minute, techOnly())))
		c.expect("authenticated")
		c.send(`{"action":"subscribe","trades":["AAPL","IBM"]}`)
		c.expect(`"rejected":[{"ch":"trades","S":"IBM","code":409`)
		c.expect("expiring")
		if took := time.Since(begin); took != 28*time.Minute {
			t.Errorf("warned again after %s", took)
		}
		c.expect(`"code":401`, "close 4203")
		ho.clean()
	})
}

// TestKeyIsTakenBackDuringTheUpgrade has a key taken back, and a token revoked, after
// they were looked at and before the socket begins.
func TestKeyIsTakenBackDuringTheUpgrade(t *testing.T) {
	for name, take := range map[string]func(ho *house, d *desk){
		"key removed": func(_ *house, d *desk) { d.drop("alice"); d.tell() },
		"revoked": func(ho *house, _ *desk) {
			if _, err := ho.g.sessions.Revoke(ho.t.Context(), "alice"); err != nil {
				ho.t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk()
				d.key("alice", session.Grant{})
				headers := withKey("alice")
				if name == "revoked" {
					headers = withToken(d.token("t", "alice", time.Hour, session.Grant{}))
				}
				poller := &faults{Poller: poll.NewGoroutines()}
				ho := newHouse(t, Config{Auth: d, Poller: poller})
				poller.meanwhile = func() { take(ho, d) }
				c := ho.dialAs("/v1/stream?trades=AAPL", headers)
				c.expect("connected", `"code":401`, "close 4003")
				ho.clean()
			})
		})
	}
}

func TestRevokedWhileAuthenticating(t *testing.T) {
	one(t, Config{}, func(ho *house, d *desk) {
		token := d.token("t", "carol", time.Hour, session.Grant{})
		d.set(5*time.Second, nil)
		c := ho.dial("/v1/stream")
		c.expect("connected")
		c.send(authToken(token))
		synctest.Wait()
		if _, err := ho.g.sessions.Revoke(t.Context(), "carol"); err != nil {
			t.Fatal(err)
		}
		c.expect(`"code":402`, "close 4001")
		ho.clean()
	})
}
