package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"

	"github.com/lzstock/lzstock/e2e/proc"
)

// link is a network between processes that can be made bad.
type link struct {
	t     *testing.T
	addr  string
	proxy *toxiproxy.Proxy
	hole  *atomic.Int64 // bytes that the black hole dropped; nil while there is none
}

// newLink makes a link to an address, which is good.
func newLink(t *testing.T, to string) *link {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	k := &link{t: t, proxy: toxiproxy.NewProxy(server, to, proc.FreeAddr(t), to)}
	if err := k.proxy.Start(); err != nil {
		t.Fatal(err)
	}
	k.addr = k.proxy.Listen
	t.Cleanup(k.proxy.Stop)
	return k
}

// add puts a toxic of a type into both directions, or one.
func (k *link) add(typ string, attributes map[string]any, streams ...string) {
	k.t.Helper()
	if len(streams) == 0 {
		streams = []string{"upstream", "downstream"}
	}
	for _, stream := range streams {
		text, err := json.Marshal(map[string]any{"type": typ, "stream": stream, "attributes": attributes})
		if err != nil {
			k.t.Fatal(err)
		}
		if _, err := k.proxy.Toxics.AddToxicJson(strings.NewReader(string(text))); err != nil {
			k.t.Fatalf("make the link %s: %v", typ, err)
		}
	}
}

// delay delays each direction by a time, give or take jitter.
func (k *link) delay(by, jitter time.Duration) {
	k.t.Helper()
	k.add("latency", map[string]any{"latency": by.Milliseconds(), "jitter": jitter.Milliseconds()})
}

// blackhole drops all that is sent, and has neither side know.
func (k *link) blackhole() {
	k.t.Helper()
	id := holes.add(&atomic.Int64{})
	k.hole = holes.get(id)
	k.add("blackhole", map[string]any{"hole": id})
}

// heal makes the link good, and gives the bytes that were dropped. Connections that
// lost some are closed: to TCP they are beyond repair.
func (k *link) heal() int64 {
	k.proxy.Toxics.ResetToxics(context.Background())
	if k.hole == nil {
		return 0
	}
	n := k.hole.Load()
	k.hole = nil
	return n
}

// breakAll ends all connections, and refuses new ones until mend.
func (k *link) breakAll() { k.proxy.Stop() }

// mend takes connections again.
func (k *link) mend() {
	if err := k.proxy.Start(); err != nil {
		k.t.Errorf("mend the link: %v", err)
	}
}

// blackhole is a toxic, as toxiproxy's timeout, that counts what it drops, and keeps
// the end of one side from the other.
type blackhole struct {
	Hole int64 `json:"hole"`
}

func (b *blackhole) Pipe(stub *toxics.ToxicStub) {
	dropped, in := holes.get(b.Hole), stub.Input
	for {
		select {
		case <-stub.Interrupt:
			return
		case c := <-in:
			if c == nil {
				in = nil // the end is dropped, too
				dropped.Add(1)
				continue
			}
			dropped.Add(int64(len(c.Data)))
		}
	}
}

func (b *blackhole) Cleanup(stub *toxics.ToxicStub) { stub.Close() }

// holes are the counts of all black holes: toxiproxy makes its toxics from JSON.
var holes holeCounts

type holeCounts struct {
	mu   sync.Mutex
	once sync.Once
	all  []*atomic.Int64
}

func (h *holeCounts) add(n *atomic.Int64) int64 {
	h.once.Do(func() { toxics.Register("blackhole", &blackhole{}) })
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, n)
	return int64(len(h.all) - 1)
}

func (h *holeCounts) get(id int64) *atomic.Int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.all[id]
}

// TestLink shows what a link does to what passes.
func TestLink(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer func() { _ = l.Close() }()
	tasks.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			tasks.Go(func() { _, _ = io.Copy(conn, conn); _ = conn.Close() })
		}
	})
	k := newLink(t, l.Addr().String())
	echo := func(wait time.Duration) (time.Duration, error) {
		conn, err := net.Dial("tcp", k.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		began := time.Now()
		_ = conn.SetDeadline(began.Add(wait))
		if _, err = conn.Write([]byte("12345678")); err == nil {
			_, err = io.ReadFull(conn, make([]byte, 8))
		}
		return time.Since(began), err
	}
	if _, err := echo(patience); err != nil {
		t.Fatal(err)
	}
	k.delay(60*time.Millisecond, 10*time.Millisecond)
	if took, err := echo(patience); err != nil || took < 100*time.Millisecond {
		t.Errorf("a way there and back through delays took %s, %v", took, err)
	}
	k.heal()
	k.blackhole()
	if _, err := echo(100 * time.Millisecond); err == nil {
		t.Error("the black hole let something through")
	}
	if n := k.heal(); n < 8 {
		t.Errorf("the black hole dropped %d bytes: want at least the 8 that were sent", n)
	}
	if _, err := echo(patience); err != nil {
		t.Errorf("after healing: %v", fmt.Errorf("echo: %w", err))
	}
}
