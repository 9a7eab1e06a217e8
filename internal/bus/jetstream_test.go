package bus_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/lzstock/lzstock/internal/bus"
	"github.com/lzstock/lzstock/market"
)

// embedded starts a server that only this process can reach.
func embedded(tb testing.TB) *bus.Embedded {
	tb.Helper()
	e, err := bus.StartEmbedded(bus.EmbeddedConfig{}, nil)
	must(tb, err)
	tb.Cleanup(func() { must(tb, e.Close()) })
	return e
}

// connected gives a bus over the server, and JetStream itself.
func connected(tb testing.TB, e *bus.Embedded, stream bus.StreamConfig) (*bus.JetStream, jetstream.JetStream) {
	tb.Helper()
	b, err := bus.Dial(tb.Context(), bus.Config{Server: e, Stream: stream})
	must(tb, err)
	tb.Cleanup(func() { must(tb, b.Close()) })
	nc, err := nats.Connect("", nats.InProcessServer(e))
	must(tb, err)
	tb.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	must(tb, err)
	return b, js
}

func TestMessagesThatAreNoBatches(t *testing.T) {
	b, js := connected(t, embedded(t), bus.StreamConfig{Storage: bus.StorageMemory})
	publish(t, b, "tape", trades(0, 1))
	for _, junk := range [][]byte{nil, []byte("not protobuf"), {0x0a, 0x00}} {
		_, err := js.Publish(t.Context(), "md.junk", junk)
		must(t, err)
	}
	publish(t, b, "tape", trades(1, 1))
	got := read(t, b, 0, 5)
	for i, m := range got {
		if want := i == 0 || i == 4; (len(m.Events) == 1) != want || m.Batch != uint64(i+1) {
			t.Errorf("message %d: %+v", i, m)
		}
	}
}

func TestStreamSettings(t *testing.T) {
	e := embedded(t)
	_, js := connected(t, e, bus.StreamConfig{Storage: bus.StorageMemory})
	config := func() jetstream.StreamConfig {
		s, err := js.Stream(t.Context(), "MD")
		must(t, err)
		return s.CachedInfo().Config
	}
	if c := config(); c.Storage != jetstream.MemoryStorage || c.MaxAge != bus.DefaultMaxAge || c.MaxBytes != bus.DefaultMaxBytesMemory ||
		c.Duplicates != bus.DedupWindow || c.Discard != jetstream.DiscardOld || c.Replicas != 1 {
		t.Errorf("a new stream has %+v", c)
	}
	connected(t, e, bus.StreamConfig{MaxAge: time.Minute, MaxBytes: 1 << 20})
	if c := config(); c.MaxAge != time.Minute || c.MaxBytes != 1<<20 || c.Duplicates != time.Minute {
		t.Errorf("after an update the stream has %+v", c)
	}
	connected(t, e, bus.StreamConfig{})
	if c := config(); c.MaxAge != time.Minute || c.MaxBytes != 1<<20 {
		t.Errorf("a default changed the stream to %+v", c)
	}
	_, err := bus.Dial(t.Context(), bus.Config{Server: e, Stream: bus.StreamConfig{Storage: bus.StorageFile}})
	if err == nil || !strings.Contains(err.Error(), "storage is Memory and cannot be changed") {
		t.Errorf("another storage: %v", err)
	}
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"orders.>"}})
	must(t, err)
	_, err = bus.Dial(t.Context(), bus.Config{Server: e, Stream: bus.StreamConfig{Name: "OTHER"}})
	if err == nil || !strings.Contains(err.Error(), "not a stream of LZStock") {
		t.Errorf("a stream of somebody else: %v", err)
	}
}

func TestConfigErrors(t *testing.T) {
	e := embedded(t)
	for _, c := range []struct {
		name string
		cfg  bus.Config
		says string
	}{
		{"nothing", bus.Config{}, "exactly one of"},
		{"both", bus.Config{Server: e, URL: "nats://127.0.0.1:1"}, "exactly one of"},
		{"two ways in", bus.Config{Server: e, Token: "a", User: "b"}, "more than one way to authenticate"},
		{"password alone", bus.Config{Server: e, Password: "a"}, "a password needs its user"},
		{"certificate alone", bus.Config{Server: e, CertFile: "a"}, "needs its key"},
		{"no seed", bus.Config{Server: e, NKeySeedFile: filepath.Join(t.TempDir(), "none")}, "nkey seed"},
		{"stream name", bus.Config{Server: e, Stream: bus.StreamConfig{Name: "a.b"}}, "stream name"},
		{"age", bus.Config{Server: e, Stream: bus.StreamConfig{MaxAge: 1}}, "age limit"},
		{"bytes", bus.Config{Server: e, Stream: bus.StreamConfig{MaxBytes: -1}}, "byte limit"},
		{"replicas", bus.Config{Server: e, Stream: bus.StreamConfig{Replicas: 6}}, "replicas"},
		{"nobody there", bus.Config{URL: "nats://127.0.0.1:1"}, "connect to nats://127.0.0.1:1"},
	} {
		if b, err := bus.Dial(t.Context(), c.cfg); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, %v: want an error that says %q", c.name, b, err, c.says)
		}
	}
}

func TestTwoBusesShareARegistry(t *testing.T) {
	e := embedded(t)
	registry := prometheus.NewPedanticRegistry()
	for range 2 {
		b, err := bus.Dial(t.Context(), bus.Config{Server: e, Registry: registry})
		must(t, err)
		publish(t, b, "tape", trades(0, 3))
		must(t, b.Close())
	}
	families, err := registry.Gather()
	must(t, err)
	for _, f := range families {
		if f.GetName() == "lzstock_bus_published_events_total" {
			if v := f.GetMetric()[0].GetCounter().GetValue(); v != 6 {
				t.Errorf("%s is %v, want 6", f.GetName(), v)
			}
			return
		}
	}
	t.Error("lzstock_bus_published_events_total is missing")
}

func TestEmbeddedEnds(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	e := startEmbedded(t, bus.EmbeddedConfig{})
	if e.URL() != "" {
		t.Errorf("URL %q of a server that does not listen", e.URL())
	}
	must(t, e.Close())
	must(t, e.Close())
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestEmbeddedErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { must(t, taken.Close()) }()
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for name, c := range map[string]struct {
		cfg  bus.EmbeddedConfig
		says string
	}{
		"taken port": {bus.EmbeddedConfig{Listen: taken.Addr().String()}, "address already in use"},
		"no port":    {bus.EmbeddedConfig{Listen: "127.0.0.1"}, "want HOST:PORT"},
		"bad port":   {bus.EmbeddedConfig{Listen: "127.0.0.1:nats"}, "must be a number"},
		"a file":     {bus.EmbeddedConfig{Dir: file}, "data directory"},
	} {
		if _, err := bus.StartEmbedded(c.cfg, nil); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want an error that says %q", name, err, c.says)
		}
	}
}

// TestFrozenServer cuts a connection without closing it: only the probes can
// tell.
func TestFrozenServer(t *testing.T) {
	e := startEmbedded(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0"})
	defer func() { must(t, e.Close()) }()
	proxy := startProxy(t, strings.TrimPrefix(e.URL(), "nats://"))
	b := dial(t, bus.Config{URL: "nats://" + proxy.Addr().String(), Stream: bus.StreamConfig{Storage: bus.StorageMemory}})
	defer func() { must(t, b.Close()) }()
	publish(t, b, "tape", trades(0, 1))
	frozen := make(chan struct{})
	done := make(chan struct{})
	var read error
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		for _, err := range b.Read(t.Context(), 0) {
			if err != nil {
				read = err
				return
			}
			close(frozen)
		}
	})
	<-frozen
	proxy.gate.Lock()
	h := waitHealth(t, b, false)
	<-done
	proxy.gate.Unlock()
	if !errors.Is(h.Err, bus.ErrLost) || !errors.Is(read, bus.ErrLost) {
		t.Errorf("health %+v and read %v, want ErrLost", h, read)
	}
	if !errors.Is(h.Err, context.DeadlineExceeded) {
		t.Errorf("health %+v: the probe should have found it, before the client's own pings", h)
	}
	waitHealth(t, b, true)
	if s := publish(t, b, "tape", trades(1, 1)); s.First != market.MakeSeq(2, 0) {
		t.Errorf("stored at %d after the return, want batch 2", s.First)
	}
	wg.Wait()
}

// proxy passes bytes on while its gate is open.
type proxy struct {
	net.Listener
	gate sync.RWMutex
}

func startProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &proxy{Listener: l}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", to)
			if err != nil {
				_ = a.Close()
				continue
			}
			stop := context.AfterFunc(ctx, func() { _, _ = a.Close(), b.Close() })
			for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
				wg.Go(func() {
					defer stop()
					defer func() { _, _ = a.Close(), b.Close() }()
					_, _ = io.Copy(gated{way[0], &p.gate}, way[1])
				})
			}
		}
	})
	return p
}

type gated struct {
	io.Writer
	gate *sync.RWMutex
}

func (g gated) Write(p []byte) (int, error) {
	g.gate.RLock()
	defer g.gate.RUnlock()
	return g.Writer.Write(p)
}
