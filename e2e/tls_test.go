package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"

	"github.com/lzstock/lzstock/client"
	"github.com/lzstock/lzstock/internal/testcert"
	"github.com/lzstock/lzstock/market"
)

// TestSecureSockets has clients connect by wss: prices come whole and in order,
// beside a client that has stopped reading, and a renewed certificate is shown
// without a restart.
func TestSecureSockets(t *testing.T) {
	dir := t.TempDir()
	cert, key, roots := testcert.Write(t, dir, 1)
	addr := freeAddr(t)
	p := start(t, "up", "--listen", addr, "--grpc", freeAddr(t), "--source", "sim?rate=2000",
		"--tls-cert", cert, "--tls-key", key)
	stalled := secure(t, addr, roots)
	if _, err := stalled.Write([]byte("GET /v1/stream?trades=*&quotes=* HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Config{URL: "wss://" + addr, Delivery: client.Every, NoSnapshots: true, TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Run(t.Context()) }()
	if err := c.Subscribe(t.Context(), market.Topic{Channel: market.Quotes, Symbol: market.AllSymbols}); err != nil {
		t.Fatal(err)
	}
	last := map[market.Symbol]market.Seq{}
	n := 0
	for e, err := range c.Events() {
		if err != nil {
			t.Fatal(err)
		}
		if prev := last[e.Symbol]; prev != 0 && e.Prev != prev {
			t.Fatalf("after q %d of %s comes one with pq %d", prev, e.Symbol, e.Prev)
		}
		last[e.Symbol] = e.Seq
		if n++; n == 20_000 && p.metric("lzstock_gateway_busy_total") > 0 {
			break
		}
		if n == 200_000 {
			t.Fatal("the client that does not read was never busy")
		}
	}
	_ = c.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}

	testcert.Write(t, dir, 2)
	eventually(t, "the new certificate", func() bool {
		conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64() == 2
	})
	if _, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("the old certificate's friends connect: %v", err)
	}
}

func secure(t *testing.T, addr string, roots *x509.CertPool) *tls.Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
