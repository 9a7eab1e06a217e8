package edge

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lzstock/lzstock/internal/memnet"
	"github.com/lzstock/lzstock/internal/testcert"
)

// header makes a header with what stands behind its first bytes.
func header(command, family byte, body ...byte) string {
	out := append([]byte(signature), command, family)
	out = binary.BigEndian.AppendUint16(out, uint16(len(body)))
	return string(append(out, body...))
}

// of makes the header that says who a client is, with bytes that a proxy adds.
func of(client string, more ...byte) string {
	from := netip.MustParseAddrPort(client)
	family, body := byte(0x11), from.Addr().AsSlice()
	if from.Addr().Is6() {
		family = 0x21
	}
	body = append(body, make([]byte, len(body))...) // the destination
	body = binary.BigEndian.AppendUint16(body, from.Port())
	body = binary.BigEndian.AppendUint16(body, 443)
	return header(0x21, family, append(body, more...)...)
}

func TestReadProxyHeader(t *testing.T) {
	good := of("192.0.2.4:1234")
	for _, c := range []struct {
		name string
		sent string
		want string // "" is no address
		err  string // part of it
	}{
		{"IPv4", good, "192.0.2.4:1234", ""},
		{"IPv6", of("[2001:db8::4]:1234"), "[2001:db8::4]:1234", ""},
		{"mapped", of("[::ffff:192.0.2.4]:1234"), "192.0.2.4:1234", ""},
		{"more than addresses", of("192.0.2.4:1234", 3, 0, 4, 1, 2, 3, 4), "192.0.2.4:1234", ""},
		{"as much as may be", of("192.0.2.4:1234", make([]byte, maxProxyHeader-12)...), "192.0.2.4:1234", ""},
		{"local", header(0x20, 0), "", ""},
		{"local with addresses", header(0x20, 0x11, make([]byte, 12)...), "", ""},
		{"local of a strange family", header(0x20, 0x99, 1, 2, 3), "", ""},
		{"unknown", header(0x21, 0), "", ""},
		{"unknown with more", header(0x21, 0, 1, 2, 3), "", ""},

		{"nothing", "", "", errNothing.Error()},
		{"version 1", "PROXY TCP4 192.0.2.4 192.0.2.5 1234 443\r\n", "", "version 1"},
		{"version 1 that is short", "PROXY UNKNOWN\r\n", "", "version 1"},
		{"no header", "GET / HTTP/1.1\r\nHost: lz.example\r\n\r\n", "", `got "GET / HTTP/1.1\r\n": want a header of the PROXY protocol`},
		{"half of the first bytes", good[:10], "", "ends after 10 bytes"},
		{"half of the addresses", good[:20], "", "ends after 20 of 28 bytes"},
		{"no addresses", good[:16], "", "ends after 16 of 28 bytes"},
		{"version 3", header(0x31, 0x11, make([]byte, 12)...), "", "of version 3: want 2"},
		{"command 2", header(0x22, 0x11, make([]byte, 12)...), "", "command 2"},
		{"UDP", header(0x21, 0x12, make([]byte, 12)...), "", "0x12"},
		{"a Unix socket", header(0x21, 0x31, make([]byte, 216)...), "", "0x31"},
		{"short for IPv4", header(0x21, 0x11, make([]byte, 11)...), "", "has 11 bytes for its addresses: want 12"},
		{"short for IPv6", header(0x21, 0x21, make([]byte, 35)...), "", "has 35 bytes for its addresses: want 36"},
		{"too long", of("192.0.2.4:1234", make([]byte, maxProxyHeader-11)...), "", "at most 4096"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := strings.NewReader(c.sent)
			got, err := readProxyHeader(r)
			want, _ := netip.ParseAddrPort(c.want)
			switch {
			case c.err == "" && (err != nil || got != want || r.Len() > 0):
				t.Errorf("%s, %v, %d bytes left; want %s", got, err, r.Len(), want)
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Errorf("%v, want %s", err, c.err)
			}
		})
	}
}

func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte(of("192.0.2.4:1234", 3, 0, 4, 1, 2, 3, 4) + "GET"))
	f.Add([]byte(of("[2001:db8::4]:1234")))
	f.Add([]byte(header(0x20, 0) + "\x16\x03\x01"))
	f.Add([]byte("PROXY TCP4 192.0.2.4 192.0.2.5 1234 443\r\n"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		r := bytes.NewReader(sent)
		got, err := readProxyHeader(r)
		read := len(sent) - r.Len()
		if read > fixedBytes+maxProxyHeader {
			t.Errorf("read %d bytes", read)
		}
		if err != nil {
			if got.IsValid() {
				t.Errorf("%s in spite of %v", got, err)
			}
			return
		}
		if want := fixedBytes + int(binary.BigEndian.Uint16(sent[14:])); read != want {
			t.Errorf("read %d bytes of a header of %d", read, want)
		}
		if addr := got.Addr(); addr.Is4In6() || addr.Zone() != "" {
			t.Errorf("%s is not plain", addr)
		}
	})
}

// gate listens on loopback behind proxies.
func gate(t *testing.T, from string) *ProxyListener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return ProxyProtocol(l, prefixes(t, from))
}

func dial(t *testing.T, addr net.Addr) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr.String())
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	return conn
}

// accept accepts a connection that sends something.
func accept(t *testing.T, l *ProxyListener, sent string) net.Conn {
	t.Helper()
	peer := dial(t, l.Addr())
	conn, err := l.Accept()
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_, err = io.WriteString(peer, sent)
	must(t, err)
	return conn
}

// told gathers what a listener has refused.
type told struct {
	mu   sync.Mutex
	errs []string
}

func (l *told) to(listener *ProxyListener) {
	listener.Refused = func(peer net.Addr, err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.errs = append(l.errs, fmt.Sprintf("%s: %v", peer, err))
	}
}

func (l *told) want(t *testing.T, parts ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.errs) != len(parts) {
		t.Fatalf("refused %q, want %d", l.errs, len(parts))
	}
	for i, part := range parts {
		if !strings.Contains(l.errs[i], part) {
			t.Errorf("refused %s, want %s", l.errs[i], part)
		}
	}
}

func TestHTTPBehindAProxy(t *testing.T) {
	certificate, pool := testcert.Make(t, 1)
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %t", secure), func(t *testing.T) {
			l := gate(t, "127.0.0.0/8")
			listener := net.Listener(l)
			if secure {
				listener = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
			}
			srv := &http.Server{
				ReadHeaderTimeout: 5 * time.Second,
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _ = fmt.Fprintf(w, "%s %s", r.RemoteAddr, Addresses{}.Of(r))
				}),
			}
			var wg sync.WaitGroup
			wg.Go(func() { _ = srv.Serve(listener) })
			defer wg.Wait()
			defer srv.Close()

			conn := dial(t, l.Addr())
			_, err := io.WriteString(conn, of("192.0.2.4:1234", 4, 0, 1, 0))
			must(t, err)
			if secure {
				conn = tls.Client(conn, &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12})
			}
			answers := bufio.NewReader(conn)
			for range 2 { // a kept connection keeps its client
				_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: lz.example\r\n\r\n")
				must(t, err)
				answer, err := http.ReadResponse(answers, nil)
				must(t, err)
				body, err := io.ReadAll(answer.Body)
				must(t, err)
				if got := string(body); got != "192.0.2.4:1234 192.0.2.4" {
					t.Errorf("is %s", got)
				}
			}
			must(t, conn.Close())
		})
	}
}

// A request that comes where a header should is answered with nothing.
func TestRequestWithoutHeaderIsClosed(t *testing.T) {
	l := gate(t, "127.0.0.0/8")
	var refused told
	refused.to(l)
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.NotFoundHandler()}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(l) })
	defer wg.Wait()
	defer srv.Close()
	conn := dial(t, l.Addr())
	_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: lz.example\r\n\r\n")
	must(t, err)
	if answer, err := io.ReadAll(conn); len(answer) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("answered %q, %v", answer, err)
	}
	refused.want(t, "want a header of the PROXY protocol")
}

func TestPeersThatAreNoProxiesAreClosed(t *testing.T) {
	l := gate(t, "10.0.0.0/8")
	var refused told
	refused.to(l)
	var wg sync.WaitGroup
	wg.Go(func() {
		if conn, err := l.Accept(); err == nil {
			t.Errorf("accepted %s", conn.RemoteAddr())
		}
	})
	conn := dial(t, l.Addr())
	_, _ = io.WriteString(conn, of("10.0.0.9:1234")) // it may be closed already
	if answer, err := io.ReadAll(conn); len(answer) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("answered %q, %v", answer, err)
	}
	must(t, l.Close())
	wg.Wait()
	refused.want(t, "none of the proxies")
}

func TestAcceptDoesNotWaitForHeaders(t *testing.T) {
	l := gate(t, "127.0.0.1")
	dial(t, l.Addr())
	silent, err := l.Accept()
	must(t, err)
	defer silent.Close()
	if got := accept(t, l, of("192.0.2.4:1234")).RemoteAddr().String(); got != "192.0.2.4:1234" {
		t.Errorf("behind a silent one is %s", got)
	}
}

func TestNotOneByteMoreIsRead(t *testing.T) {
	for name, first := range map[string]func(net.Conn){
		"RemoteAddr": func(c net.Conn) { c.RemoteAddr() },
		"Read":       func(c net.Conn) { _, _ = c.Read(nil) },
		"nothing":    func(net.Conn) {},
	} {
		t.Run(name, func(t *testing.T) {
			conn := accept(t, gate(t, "127.0.0.1"), of("192.0.2.4:1234", 1, 2, 3)+"hello")
			first(conn)
			below := conn.(interface{ NetConn() net.Conn }).NetConn()
			if _, ok := below.(*net.TCPConn); !ok {
				t.Fatalf("below is %T", below)
			}
			got := make([]byte, 5)
			if _, err := io.ReadFull(below, got); err != nil || string(got) != "hello" {
				t.Errorf("behind the header is %q, %v", got, err)
			}
		})
	}
}

func TestHeaderInPieces(t *testing.T) {
	l := gate(t, "127.0.0.1")
	peer := dial(t, l.Addr())
	conn, err := l.Accept()
	must(t, err)
	defer conn.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, b := range []byte(of("[2001:db8::4]:1234", 9) + "x") {
			_, _ = peer.Write([]byte{b})
		}
	})
	for range 4 {
		wg.Go(func() {
			if got := conn.RemoteAddr().String(); got != "[2001:db8::4]:1234" {
				t.Errorf("is %s", got)
			}
		})
	}
	got := make([]byte, 1)
	if _, err := conn.Read(got); err != nil || got[0] != 'x' {
		t.Errorf("read %q, %v", got, err)
	}
	wg.Wait()
}

func TestProxyThatSpeaksForItself(t *testing.T) {
	conn := accept(t, gate(t, "127.0.0.1"), header(0x20, 0, 1, 2, 3)+"x")
	if got := conn.RemoteAddr().String(); !strings.HasPrefix(got, "127.0.0.1:") {
		t.Errorf("is %s", got)
	}
	got := make([]byte, 1)
	if _, err := conn.Read(got); err != nil || got[0] != 'x' {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestCloseWriteReachesThePeer(t *testing.T) {
	l := gate(t, "127.0.0.1")
	peer := dial(t, l.Addr())
	conn, err := l.Accept()
	must(t, err)
	defer conn.Close()
	must(t, conn.(interface{ CloseWrite() error }).CloseWrite())
	if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("peer read %v", err)
	}
}

// inMemory gives both ends of a connection, for a bubble.
func inMemory(t *testing.T) (peer, conn net.Conn, refused *told) {
	t.Helper()
	below := memnet.Listen()
	l := ProxyProtocol(below, prefixes(t, "127.0.0.1"))
	refused = &told{}
	refused.to(l)
	peer, err := below.Dial()
	must(t, err)
	conn, err = l.Accept()
	must(t, err)
	t.Cleanup(func() {
		_, _, _ = peer.Close(), conn.Close(), below.Close()
	})
	return peer, conn, refused
}

func TestHeaderHasItsTime(t *testing.T) {
	for _, c := range []struct {
		name  string
		until time.Duration // the caller's deadline; 0 is none
		sent  string
		want  time.Duration
	}{
		{"silent", 0, "", 5 * time.Second},
		{"half", 0, of("192.0.2.4:1234")[:20], 5 * time.Second},
		{"a deadline that is sooner", time.Second, "", time.Second},
		{"a deadline that is later", time.Minute, "", 5 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				peer, conn, refused := inMemory(t)
				_, err := io.WriteString(peer, c.sent)
				must(t, err)
				begun := time.Now()
				if c.until > 0 {
					must(t, conn.SetDeadline(begun.Add(c.until)))
				}
				if got := conn.RemoteAddr().String(); !strings.HasPrefix(got, "127.0.0.1:") {
					t.Errorf("is %s", got)
				}
				if took := time.Since(begun); took != c.want {
					t.Errorf("took %s, want %s", took, c.want)
				}
				_, err = conn.Read(make([]byte, 1))
				if op, ok := errors.AsType[*net.OpError](err); !ok || op.Op != "read" || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("read %v", err)
				}
				if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
					t.Errorf("the peer reads %v, want the end", err)
				}
				refused.want(t, "in time")
			})
		})
	}
}

// A deadline that the caller sets while the header is awaited holds, and cannot
// extend the header's.
func TestDeadlineSetMeanwhile(t *testing.T) {
	for until, want := range map[time.Duration]time.Duration{2 * time.Second: 2 * time.Second, time.Hour: 5 * time.Second, 0: 5 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			_, conn, _ := inMemory(t)
			begun := time.Now()
			var wg sync.WaitGroup
			wg.Go(func() { conn.RemoteAddr() })
			synctest.Wait()
			deadline := time.Time{}
			if until > 0 {
				deadline = begun.Add(until)
			}
			must(t, conn.SetReadDeadline(deadline))
			wg.Wait()
			if took := time.Since(begun); took != want {
				t.Errorf("with a deadline after %s it took %s, want %s", until, took, want)
			}
		})
	}
}

// Behind the header the caller's deadline is what it was.
func TestDeadlineBehindTheHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, conn, refused := inMemory(t)
		begun := time.Now()
		must(t, conn.SetReadDeadline(begun.Add(time.Minute)))
		_, err := io.WriteString(peer, of("192.0.2.4:1234"))
		must(t, err)
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != time.Minute {
			t.Errorf("%v after %s, want the deadline after a minute", err, time.Since(begun))
		}
		must(t, conn.SetReadDeadline(time.Time{}))
		time.AfterFunc(time.Hour, func() { _, _ = io.WriteString(peer, "x") })
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			t.Errorf("without a deadline: %v", err)
		}
		refused.want(t)
	})
}

func TestProxyThatLooksWhetherWeLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, conn, refused := inMemory(t)
		must(t, peer.Close())
		if _, err := conn.Read(make([]byte, 1)); err != io.EOF { //nolint:errorlint // net/http compares it so
			t.Errorf("read %v", err)
		}
		refused.want(t)
	})
}

func TestCloseFreesTheHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, conn, refused := inMemory(t)
		_, err := io.WriteString(peer, of("192.0.2.4:1234")[:20])
		must(t, err)
		begun := time.Now()
		time.AfterFunc(time.Second, func() { _ = conn.Close() })
		if _, err := conn.Read(make([]byte, 1)); err == nil || time.Since(begun) != time.Second {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
		refused.want(t)
	})
}
