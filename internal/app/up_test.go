package app

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/lzstock/lzstock/internal/bus"
	"github.com/lzstock/lzstock/internal/feed"
	"github.com/lzstock/lzstock/internal/feed/sim"
	"github.com/lzstock/lzstock/internal/leak"
)

// patience bounds what would hang in a failing test; nothing waits for it.
const patience = 20 * time.Second

// output is what a process writes for people.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	some chan struct{} // closed with the first write
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.text.Len() == 0 {
		close(o.some)
	}
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// started is a process in this test.
type started struct {
	t    *testing.T
	out  *output
	stop context.CancelFunc
	err  chan error
}

// begin runs a process until it has said where it is.
func begin(t *testing.T, run func(context.Context, Process) error) *started {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &started{t: t, out: &output{some: make(chan struct{})}, stop: cancel, err: make(chan error, 1)}
	var wg sync.WaitGroup
	wg.Go(func() {
		s.err <- run(ctx, Process{Logger: slog.New(slog.DiscardHandler), Out: s.out})
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	select {
	case <-s.out.some:
	case err := <-s.err:
		t.Fatalf("ended at once: %v", err)
	case <-time.After(patience):
		t.Fatal("said nothing")
	}
	return s
}

// find gives the first group of the pattern in what the process said.
func (s *started) find(pattern string) string {
	s.t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(s.out.String())
	if m == nil {
		s.t.Fatalf("no %q in what was said:\n%s", pattern, s.out)
	}
	return m[1]
}

// end stops the process and returns its error.
func (s *started) end() error {
	s.stop()
	return <-s.err
}

// socket is a connection whose first bytes may have been read already.
type socket struct {
	net.Conn
	io.Reader
}

func (s *socket) Read(p []byte) (int, error) { return s.Reader.Read(p) }

// watch opens a socket and reads until each thing wanted was in a frame.
func watch(t *testing.T, url string, wants ...string) *socket {
	t.Helper()
	raw, early, _, err := ws.Dial(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	conn := &socket{Conn: raw, Reader: raw}
	if early != nil { // frames that came with the answer to the upgrade
		conn.Reader = early
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for len(wants) > 0 {
		frame, err := wsutil.ReadServerText(conn)
		if err != nil {
			t.Fatalf("waiting for %s: %v", wants, err)
		}
		wants = slices.DeleteFunc(wants, func(want string) bool { return strings.Contains(string(frame), want) })
	}
	return conn
}

func TestUpBringsSimulatedPricesToASocketAndEndsPolitely(t *testing.T) {
	leak.Check(t)
	s := begin(t, func(ctx context.Context, p Process) error {
		return Up(ctx, p, UpConfig{
			Edge: EdgeConfig{Listen: "127.0.0.1:0"}, Admin: AdminConfig{Listen: "127.0.0.1:0"}, GRPC: "127.0.0.1:0",
			Source: &feed.Source{Sim: &sim.Options{Rate: 2000}},
		})
	})
	if !strings.Contains(s.out.String(), "SIMULATED DATA") {
		t.Errorf("simulated data is not marked as such:\n%s", s.out)
	}
	conn := watch(t, s.find(`(ws://\S+/v1/stream)`)+"?quotes=AAPL", `"T":"q"`, `"state":"live"`)
	resp, err := http.Get(s.find(`curl (http://\S+/readyz)`))
	if err != nil {
		t.Fatal(err)
	}
	ready, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if want := "ok: drain\nok: bus\nok: monitor\nok: upstream\n"; string(ready) != want {
		t.Errorf("readyz: %q, want %q", ready, want)
	}
	http.DefaultClient.CloseIdleConnections()
	s.stop()
	for err == nil {
		_, err = wsutil.ReadServerText(conn)
	}
	if closed, ok := errors.AsType[wsutil.ClosedError](err); !ok || closed.Code != ws.StatusGoingAway {
		t.Errorf("the socket ended with %v, want a close frame with 1001", err)
	}
	if err := s.end(); err != nil {
		t.Errorf("the end: %v", err)
	}
}

func TestPartsRunApart(t *testing.T) {
	leak.Check(t)
	dir := t.TempDir()
	server, err := bus.StartEmbedded(bus.EmbeddedConfig{Dir: dir, Listen: "127.0.0.1:0"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	external := BusConfig{NATS: bus.Config{URL: server.URL()}}

	tape := filepath.Join(dir, "in.csv")
	rows := "1571664600000000000,AAPL,trade,189.1,100,,,,\n1571664600000000001,AAPL,quote,,,189.05,1,189.15,2\n"
	if err := os.WriteFile(tape, []byte(rows), 0o600); err != nil {
		t.Fatal(err)
	}
	monitor := begin(t, func(ctx context.Context, p Process) error {
		return Monitor(ctx, p, MonitorConfig{GRPC: "127.0.0.1:0", Admin: AdminConfig{Listen: Off}, Bus: external})
	})
	gw := begin(t, func(ctx context.Context, p Process) error {
		return Gateway(ctx, p, GatewayConfig{Edge: EdgeConfig{Listen: "127.0.0.1:0"}, Admin: AdminConfig{Listen: Off}, Monitors: []string{monitor.find(`gRPC on (\S+)`)}})
	})
	play := Feed(t.Context(), Process{Logger: slog.New(slog.DiscardHandler), Out: io.Discard}, FeedConfig{
		Source: feed.Source{Tape: &feed.Tape{File: tape, Speed: feed.MaxSpeed}}, Admin: AdminConfig{Listen: Off}, Bus: external,
	})
	if play != nil {
		t.Fatalf("feed: %v", play)
	}
	conn := watch(t, gw.find(`(ws://\S+/v1/stream)`)+"?trades=AAPL", `"p":189.1,"s":100`)
	if err := conn.Close(); err != nil {
		t.Error(err)
	}

	// How long a recording takes to read what is there is not ours to say: one
	// that was too short is made again.
	for n := 1; ; n++ {
		copied := filepath.Join(dir, "out"+strconv.Itoa(n)+".csv")
		if err := Record(t.Context(), Process{Logger: slog.New(slog.DiscardHandler), Out: io.Discard}, RecordConfig{
			File: copied, Bus: external, History: true, For: time.Duration(n) * 200 * time.Millisecond,
		}); err != nil {
			t.Fatalf("record: %v", err)
		}
		got, err := os.ReadFile(copied)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(string(got), rows) {
			break
		}
		if n == 10 {
			t.Fatalf("recorded %q, want the rows of the tape", got)
		}
	}
	for name, s := range map[string]*started{"gateway": gw, "monitor": monitor} {
		if err := s.end(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatCannotWorkFailsBeforeAnythingRuns(t *testing.T) {
	leak.Check(t)
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().String()
	quiet := Process{Logger: slog.New(slog.DiscardHandler), Out: io.Discard}
	for _, c := range []struct {
		name string
		c    UpConfig
		want string
	}{
		{"port taken", UpConfig{Edge: EdgeConfig{Listen: taken}, Admin: AdminConfig{Listen: Off}, GRPC: "127.0.0.1:0"}, "--listen " + taken + ": the port is taken"},
		{"admin port taken", UpConfig{Edge: EdgeConfig{Listen: "127.0.0.1:0"}, Admin: AdminConfig{Listen: taken}, GRPC: "127.0.0.1:0"}, "--admin " + taken + ": the port is taken"},
		{"no address", UpConfig{Edge: EdgeConfig{Listen: "here"}, Admin: AdminConfig{Listen: Off}, GRPC: "127.0.0.1:0"}, "want HOST:PORT"},
		{
			"no tape",
			UpConfig{Edge: EdgeConfig{Listen: "127.0.0.1:0"}, Admin: AdminConfig{Listen: Off}, GRPC: "127.0.0.1:0", Source: &feed.Source{Tape: &feed.Tape{File: "nowhere.csv"}}},
			"nowhere.csv",
		},
	} {
		if err := Up(t.Context(), quiet, c.c); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: err = %v, want %q in it", c.name, err, c.want)
		}
	}
	if err := Up(t.Context(), Process{}, UpConfig{}); err == nil {
		t.Error("a process without a logger ran")
	}
}

func TestAutoTakesAFreePort(t *testing.T) {
	var lc net.ListenConfig
	usual, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer usual.Close()
	l, err := listen(t.Context(), "admin", Auto, usual.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.Addr().String() == usual.Addr().String() || !isLoopback(l.Addr()) {
		t.Errorf("got %s beside %s", l.Addr(), usual.Addr())
	}
}

func TestReachable(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1:1": "127.0.0.1:1", "0.0.0.0:2": "127.0.0.1:2", "[::]:3": "localhost:3", "192.0.2.1:4": "192.0.2.1:4",
	} {
		a, err := net.ResolveTCPAddr("tcp", in)
		if err != nil {
			t.Fatal(err)
		}
		if got := reachable(a); got != want {
			t.Errorf("reachable(%s) = %s, want %s", in, got, want)
		}
	}
}
