package e2e

import (
	"bufio"
	be "encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/lzstock/lzstock/internal/testcert"
)

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestMutualTLS has the monitor ask for certificates: a gateway that shows one gets
// prices, one that shows none gets nothing, and says so.
func TestMutualTLS(t *testing.T) {
	server, client := t.TempDir(), t.TempDir()
	serverCert, serverKey, _ := testcert.Write(t, server, 1)
	clientCert, clientKey, _ := testcert.Write(t, client, 2)
	nats, grpc := natsServer(t), freeAddr(t)
	start(t, "monitor", "--grpc", grpc, "--nats", nats, "--grpc-cert", serverCert, "--grpc-key", serverKey, "--grpc-client-ca", clientCert)
	start(t, "feed", "sim", "--nats", nats, "--rate", "500")
	listen := freeAddr(t)
	start(t, "gateway", "--listen", listen, "--monitor", grpc, "--monitor-ca", serverCert, "--monitor-cert", clientCert, "--monitor-key", clientKey)
	c := open(t, listen, "/v1/stream?trades=*").listen(0).waitSubscribed()
	eventually(t, "trades", func() bool { return len(c.of("t")) > 5 })

	for name, args := range map[string][]string{
		"no certificate":         {"--monitor-ca", serverCert},
		"somebody's certificate": {"--monitor-ca", serverCert, "--monitor-cert", serverCert, "--monitor-key", serverKey},
		"in the clear":           {},
	} {
		t.Run(name, func(t *testing.T) {
			admin, listen := freeAddr(t), freeAddr(t)
			p := spawn(t, nil, append([]string{"gateway", "--listen", listen, "--monitor", grpc, "--admin", admin}, args...)...)
			eventually(t, "why it is not ready", func() bool {
				status, body := get("http://" + admin + "/readyz")
				return status == http.StatusServiceUnavailable && strings.Contains(body, "not ready: upstream: no monitor has answered yet: ")
			})
			_, body := get("http://" + admin + "/readyz")
			t.Log(strings.TrimSpace(body))
			c := open(t, listen, "/v1/stream?trades=*").listen(0).waitSubscribed()
			if n := len(c.of("t")); n > 0 {
				t.Errorf("%d trades came", n)
			}
			p.stop()
		})
	}
}

// proxyHeader is what a proxy sends of a client, in version 2 of the PROXY protocol.
func proxyHeader(client netip.AddrPort) []byte {
	addr, to := client.Addr().As4(), netip.MustParseAddr("127.0.0.1").As4()
	h := append([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"), addr[:]...)
	h = append(h, to[:]...)
	h = be.BigEndian.AppendUint16(h, client.Port())
	return be.BigEndian.AppendUint16(h, 443)
}

// dialFrom connects from an address of loopback.
func dialFrom(t *testing.T, from, addr string) net.Conn {
	t.Helper()
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// upgraded asks for a WebSocket on a connection.
func upgraded(t *testing.T, conn net.Conn, header http.Header) {
	t.Helper()
	u, err := url.Parse("ws://gateway/v1/stream?trades=*")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := (ws.Dialer{Header: ws.HandshakeHeaderHTTP(header)}).Upgrade(conn, u); err != nil {
		t.Fatalf("upgrade: %v", err)
	}
}

// TestClientsBehindProxies writes down the addresses of clients, not of proxies,
// and closes who comes past them.
func TestClientsBehindProxies(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.yaml")
	k := addKey(t, file, "alice")
	audited := func(p *process, addr string) {
		t.Helper()
		eventually(t, "the client's address in the log", func() bool {
			for line := range strings.SplitSeq(p.out.String(), "\n") {
				if strings.Contains(line, `"socket admitted"`) && strings.Contains(line, `"address":"`+addr+`"`) {
					return true
				}
			}
			return false
		})
	}
	t.Run("PROXY protocol", func(t *testing.T) {
		p, addr := keyed(t, file, "--proxy-protocol", "--trusted-proxies", "127.0.0.7")
		conn := dialFrom(t, "127.0.0.7", addr)
		if _, err := conn.Write(proxyHeader(netip.MustParseAddrPort("192.0.2.4:5000"))); err != nil {
			t.Fatal(err)
		}
		upgraded(t, conn, k.headers())
		audited(p, "192.0.2.4")

		// Two proxies: the outer one says in a header what the inner one cannot know.
		conn = dialFrom(t, "127.0.0.7", addr)
		if _, err := conn.Write(proxyHeader(netip.MustParseAddrPort("127.0.0.7:5000"))); err != nil {
			t.Fatal(err)
		}
		h := k.headers()
		h.Set("X-Forwarded-For", "203.0.113.66, 192.0.2.5")
		upgraded(t, conn, h)
		audited(p, "192.0.2.5")

		conn = dialFrom(t, "127.0.0.1", addr)
		_, _ = conn.Write(proxyHeader(netip.MustParseAddrPort("192.0.2.6:5000"))) // it may be closed already
		if line, err := bufio.NewReader(conn).ReadString('\n'); !ended(err) {
			t.Errorf("a client that is no proxy got %q, %v", line, err)
		}
	})
	t.Run("X-Forwarded-For", func(t *testing.T) {
		p, addr := keyed(t, file, "--trusted-proxies", "127.0.0.7")
		h := k.headers()
		h.Set("X-Forwarded-For", "203.0.113.66, 192.0.2.7")
		upgraded(t, dialFrom(t, "127.0.0.7", addr), h)
		audited(p, "192.0.2.7")
		upgraded(t, dialFrom(t, "127.0.0.9", addr), h) // no proxy: it is not believed
		audited(p, "127.0.0.9")
	})
}

// ended reports whether the peer has closed the connection.
func ended(err error) bool {
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return !errors.Is(err, os.ErrDeadlineExceeded)
	}
	return errors.Is(err, io.EOF)
}

// TestOpenToTheWorld refuses to serve others than this machine without asking for
// credentials, before it listens.
func TestOpenToTheWorld(t *testing.T) {
	for _, cmd := range []string{"gateway", "up"} {
		port := strings.TrimPrefix(freeAddr(t), "127.0.0.1")
		p := spawn(t, nil, cmd, "--listen", "0.0.0.0"+port, "--admin", "off")
		<-p.done
		if code := p.cmd.ProcessState.ExitCode(); code == 0 {
			t.Errorf("%s ended with status 0", cmd)
		}
		p.Err = nil // as it should be
		for _, want := range []string{"0.0.0.0" + port, "no credentials", "--auth keys", "--insecure-open"} {
			if !strings.Contains(p.out.String(), want) {
				t.Errorf("%s does not say %q:\n%s", cmd, want, p.out)
			}
		}
	}
	// With --insecure-open it comes further: to what else is wrong, so that nothing
	// listens here.
	p := spawn(t, nil, "gateway", "--listen", "0.0.0.0"+strings.TrimPrefix(freeAddr(t), "127.0.0.1"), "--admin", "off",
		"--insecure-open", "--tls-cert", "nowhere.pem", "--tls-key", "nowhere.pem")
	<-p.done
	p.Err = nil
	if out := p.out.String(); strings.Contains(out, "no credentials: want") || !strings.Contains(out, "nowhere.pem") {
		t.Errorf("with --insecure-open it says:\n%s", out)
	}
}
