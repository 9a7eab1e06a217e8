package gateway

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lzstock/lzstock/internal/edge"
	"github.com/lzstock/lzstock/internal/memnet"
	"github.com/lzstock/lzstock/internal/poll"
	"github.com/lzstock/lzstock/internal/session"
	"github.com/lzstock/lzstock/internal/wire"
)

const upgradeHeaders = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

var errFault = errors.New("injected")

// faults says which step of a handshake fails. It is the poller, and the credentials,
// that a gateway has.
type faults struct {
	poll.Poller
	*desk

	deadline, write, take bool
	takePanics            bool
	startPanics           bool
	checkPanics           bool
	meanwhile             func() // is called when the connection is taken over
	fired                 int
}

func (f *faults) hit() { f.fired++ }

func (f *faults) Take(conn net.Conn) (poll.Conn, error) {
	switch {
	case f.take:
		f.hit()
		return nil, errFault
	case f.takePanics:
		f.hit()
		panic(errFault)
	case f.meanwhile != nil:
		f.hit()
		f.meanwhile()
	}
	c, err := f.Poller.Take(conn)
	if f.startPanics {
		c = &panicsAtStart{c, f}
	}
	return c, err
}

// Check panics where it is to.
func (f *faults) Check(ctx context.Context, who session.Identity) (session.Identity, error) {
	if f.checkPanics {
		f.hit()
		panic(errFault)
	}
	return f.desk.Check(ctx, who)
}

type panicsAtStart struct {
	poll.Conn
	*faults
}

func (p *panicsAtStart) Start(sink poll.Sink) {
	p.Conn.Start(sink)
	p.hit()
	panic(errFault)
}

func (p *panicsAtStart) Run(ctx context.Context) error { return p.faults.Run(ctx) }

// faultyListener makes connections that fail.
type faultyListener struct {
	net.Listener
	*faults
}

func (l faultyListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &faultyConn{conn.(*memnet.Conn), l.faults}, nil //nolint:forcetypeassert // memnet's own
}

type faultyConn struct {
	*memnet.Conn
	faults *faults
}

func (c *faultyConn) SetDeadline(t time.Time) error {
	if c.faults.deadline {
		c.faults.hit()
		return errFault
	}
	return c.Conn.SetDeadline(t)
}

func (c *faultyConn) TryWrite(p []byte) (int, error) {
	if c.faults.write {
		c.faults.hit()
		return 0, errFault
	}
	return c.Conn.TryWrite(p)
}

func (c *faultyConn) Write(p []byte) (int, error) {
	if c.faults.write {
		c.faults.hit()
		return 0, errFault
	}
	return c.Conn.Write(p)
}

// gated runs a test with a gateway that has room for one socket, behind a gate at which
// one connection may wait.
func gated(t *testing.T, f func(t *testing.T, ho *house, faults *faults, gate *edge.Gate)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var gate *edge.Gate
		faults := &faults{Poller: poll.NewGoroutines(), desk: newDesk()}
		faults.key("alice", session.Grant{})
		cfg := Config{Auth: faults, AuthTimeout: time.Hour, Connections: 1, AddressSockets: 1, Poller: faults}
		ho := newHouseBehind(t, cfg, func(l net.Listener) net.Listener {
			var err error
			if gate, err = edge.NewGate(faultyListener{l, faults}, edge.GateConfig{AddressWaiting: 1}); err != nil {
				t.Fatal(err)
			}
			return gate
		})
		f(t, ho, faults, gate)
	})
}

// talk sends a request and reads until the gateway closes the connection.
func (ho *house) talk(request string) string {
	ho.t.Helper()
	conn, err := ho.l.Dial()
	if err != nil {
		ho.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Hour))
	_, _ = io.WriteString(conn, request) // it may be closed already
	got, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		ho.t.Errorf("the connection is not closed behind %.200q", got)
	}
	synctest.Wait()
	return string(got)
}

// holdsNothing fails where something is left of handshakes, and where the address gets
// no socket any more.
func (ho *house) holdsNothing(gate *edge.Gate) {
	ho.t.Helper()
	ho.clean()
	if n := gate.Waiting(); n != 0 {
		ho.t.Errorf("%d connections wait at the gate", n)
	}
	if n := ho.g.from.Len(); n != 0 {
		ho.t.Errorf("sockets of %d addresses are counted", n)
	}
	if n := ho.g.sessions.Stats().Attached; n != 0 {
		ho.t.Errorf("%d sessions are attached", n)
	}
	if _, n := ho.l.Open(); n != 0 {
		ho.t.Errorf("%d connections are open", n)
	}
	if n := ho.g.bridges.Stats().Open; n != 0 {
		ho.t.Errorf("%d bridges are there", n)
	}
}

// TestFailedHandshakesHoldNothing has each step of a handshake fail in turn.
func TestFailedHandshakesHoldNothing(t *testing.T) {
	for name, set := range map[string]func(ho *house, f *faults){
		"deadline":           func(_ *house, f *faults) { f.deadline = true },
		"write":              func(_ *house, f *faults) { f.write = true },
		"take":               func(_ *house, f *faults) { f.take = true },
		"take panics":        func(_ *house, f *faults) { f.takePanics = true },
		"start panics":       func(_ *house, f *faults) { f.startPanics = true },
		"check panics":       func(_ *house, f *faults) { f.checkPanics = true },
		"stopping meanwhile": func(ho *house, f *faults) { f.meanwhile = func() { ho.g.bridges.StopAll(wire.GoingAway, nil) } },
	} {
		for _, path := range []string{"/v1/stream?trades=AAPL", eventsPath + "?trades=AAPL", "/v1/stream?session_id=", eventsPath + "?session_id="} {
			t.Run(name+" "+path, func(t *testing.T) {
				gated(t, func(t *testing.T, ho *house, f *faults, gate *edge.Gate) {
					t.Helper()
					credentials, id := "APCA-API-KEY-ID: alice\r\nAPCA-API-SECRET-KEY: alice"+hush+"\r\n", ""
					if strings.HasSuffix(path, "=") {
						id = ho.session("alice", `{"trades":["AAPL"]}`)
						credentials = ""
					}
					synctest.Wait() // the gate lets one in at a time
					set(ho, f)
					for range 3 {
						ho.talk("GET " + path + id + " HTTP/1.1\r\nHost: gateway\r\n" + upgradeHeaders + credentials + "\r\n")
					}
					*f = faults{Poller: f.Poller, desk: f.desk, fired: f.fired}
					if f.fired < 3 {
						t.Errorf("the fault has shown %d times", f.fired)
					}
					ho.holdsNothing(gate)
					if id != "" {
						if s, status := ho.look("alice", id); status != http.StatusOK || s.Attached {
							t.Errorf("the session: %d %+v", status, s)
						}
					}
					if name == "stopping meanwhile" {
						return // nobody is let in any more
					}
					synctest.Wait()
					c := ho.dialAs("/v1/stream", withKey("alice"))
					c.expect("connected", "authenticated")
					_ = c.conn.Close()
					ho.holdsNothing(gate)
				})
			})
		}
	}
}

// TestHijackFails has a server whose connections cannot be taken over.
func TestHijackFails(t *testing.T) {
	gated(t, func(t *testing.T, ho *house, _ *faults, gate *edge.Gate) {
		t.Helper()
		synctest.Wait()
		for _, path := range []string{"/v1/stream", eventsPath + "?trades=A"} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
			r.Header = withKey("alice")
			for line := range strings.Lines(upgradeHeaders) {
				key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
				r.Header.Set(key, value)
			}
			w := httptest.NewRecorder()
			ho.g.ServeHTTP(w, r)
			if w.Code != http.StatusInternalServerError {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
			ho.holdsNothing(gate)
		}
	})
}

// TestBadHandshakesHoldNothing sends handshakes that are wrong in each way that a
// request can be, more of them than the address may have waiting.
func TestBadHandshakesHoldNothing(t *testing.T) {
	replace := func(old, by string) string { return strings.Replace(upgradeHeaders, old, by, 1) }
	for name, tc := range map[string]struct{ line, headers, status string }{
		"HTTP/1.0":                 {"GET /v1/stream HTTP/1.0", upgradeHeaders, "426"},
		"a list of versions":       {"", replace("13", "13, 8"), "426"},
		"another list of versions": {"", replace("13", "8, 13"), "426"},
		"two versions":             {"", upgradeHeaders + "Sec-WebSocket-Version: 13\r\n", "426"},
		"two other versions":       {"", upgradeHeaders + "Sec-WebSocket-Version: 8\r\n", "426"},
		"two upgrades":             {"", upgradeHeaders + "Upgrade: websocket\r\n", "426"},
		"two other upgrades":       {"", "Upgrade: h2c\r\n" + upgradeHeaders, "426"},
		"a list of upgrades":       {"", replace("websocket", "h2c, websocket"), "426"},
		"two keys":                 {"", upgradeHeaders + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "400"},
		"a key of other bytes":     {"", replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=?"), "400"},
		"a length":                 {"", upgradeHeaders + "Content-Length: 2\r\n", "400"},
		"chunks":                   {"", upgradeHeaders + "Transfer-Encoding: chunked\r\n", "400"},
		"events with a length":     {"GET /v1/events?trades=A HTTP/1.1", "Content-Length: 2\r\n", "400"},
		"events with chunks":       {"GET /v1/events?trades=A HTTP/1.1", "Transfer-Encoding: chunked\r\n", "400"},
		"no subprotocol of ours":   {"", upgradeHeaders + "Sec-WebSocket-Protocol: ,;\r\n", "400"},
		"POST":                     {"POST /v1/stream HTTP/1.1", upgradeHeaders, "405"},
	} {
		t.Run(name, func(t *testing.T) {
			gated(t, func(t *testing.T, ho *house, _ *faults, gate *edge.Gate) {
				t.Helper()
				line := tc.line
				if line == "" {
					line = "GET /v1/stream HTTP/1.1"
				}
				for range 3 {
					got := ho.talk(line + "\r\nHost: gateway\r\n" + tc.headers + "\r\n")
					if _, status, _ := strings.Cut(got, " "); !strings.HasPrefix(status, tc.status) || !strings.Contains(got, "urn:lzstock:problem:") {
						t.Errorf("answered %.200q, want %s and a problem", got, tc.status)
					}
					ho.holdsNothing(gate)
				}
			})
		})
	}
}

// TestUpgradeAnswer has an upgrade answered as RFC 6455 says in its own example.
func TestUpgradeAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ho := newHouse(t, Config{})
		conn, err := ho.l.Dial()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "GET /v1/stream HTTP/1.1\r\nHost: gateway\r\nConnection: keep-alive\r\n"+upgradeHeaders+
			"Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: lzstock.v1.msgpack, lzstock.v1.json\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		for key, want := range map[string]string{
			"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
			"Sec-WebSocket-Protocol": "lzstock.v1.msgpack", "Sec-WebSocket-Extensions": "",
		} {
			if got := resp.Header.Get(key); resp.StatusCode != http.StatusSwitchingProtocols || got != want {
				t.Errorf("%s: %s is %q, want %q", resp.Status, key, got, want)
			}
		}
	})
}
