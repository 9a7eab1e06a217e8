package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lzstock/lzstock/internal/bus"
)

// TestMonitorDiesAndReturns kills the monitor under a client: it is told stale,
// then live, gets no junk, and misses nothing.
func TestMonitorDiesAndReturns(t *testing.T) {
	nats := natsServer(t)
	grpc, listen := freeAddr(t), freeAddr(t)
	monitor := start(t, "monitor", "--grpc", grpc, "--nats", nats)
	start(t, "gateway", "--listen", listen, "--monitor", grpc)
	start(t, "feed", "sim", "--nats", nats, "--rate", "500")
	c := open(t, listen, "/v1/stream?trades=*&quotes=AAPL,MSFT&delivery=every").listen(0).waitSubscribed()
	eventually(t, "trades", func() bool { return len(c.of("t")) > 50 })
	for range 2 {
		before := len(c.of("feed"))
		monitor.kill()
		eventually(t, "stale", func() bool { return strings.Contains(fmt.Sprint(c.of("feed")[before:]), "stale") })
		monitor = start(t, "monitor", "--grpc", grpc, "--nats", nats)
		eventually(t, "live", func() bool { f := c.of("feed"); return f[len(f)-1].text("state") == "live" })
		n := len(c.of("t"))
		eventually(t, "more trades", func() bool { return len(c.of("t")) > n+50 })
	}
	last := map[string]int64{}
	for _, m := range c.messages() {
		switch m.text("T") {
		case "t", "q":
			topic := m.text("T") + m.text("S")
			if q := m.number("q"); q <= last[topic] || (m["snap"] == nil && m.number("pq") != last[topic]) {
				t.Fatalf("%s: after q %d comes %v", topic, last[topic], m)
			}
			last[topic] = m.number("q")
		case "gap", "error":
			t.Fatalf("lost: %v", m)
		}
	}
}

// TestVanishedClientsLeaveNothing has 1,000 clients cut their connections at
// once: nothing of them is left.
func TestVanishedClientsLeaveNothing(t *testing.T) {
	p, addr := up(t, "sim?rate=1000")
	open(t, addr, "/v1/stream?trades=AAPL").listen(0).waitSubscribed() // stays
	files, goroutines := p.files(), p.metric("go_goroutines")
	topics := p.metric("lzstock_upstream_topics")
	var clients []*raw
	for i := range 1000 {
		clients = append(clients, open(t, addr, fmt.Sprintf("/v1/stream?trades=MSFT,NVDA&bars=*&dailyBars=X%d", i)))
	}
	eventually(t, "1,001 sockets", func() bool { return p.metric("lzstock_gateway_sockets") == 1001 })
	for _, c := range clients {
		_ = c.conn.Close()
	}
	eventually(t, "the end of 1,000 sockets", func() bool { return p.metric("lzstock_gateway_sockets") == 1 })
	eventually(t, "the old count of descriptors", func() bool { return p.files() <= files+3 })
	eventually(t, "the old count of goroutines", func() bool { return p.metric("go_goroutines") <= goroutines+5 })
	eventually(t, "the old count of topics", func() bool { return p.metric("lzstock_upstream_topics") <= topics })
}

// TestStopSignal has clients of all dialects end with 1001, and the process with
// status 0, which stop checks.
func TestStopSignal(t *testing.T) {
	p, addr := up(t, "sim?rate=1000")
	c := open(t, addr, "/v1/stream?trades=*").listen(0).waitSubscribed()
	s := open(t, addr, "/v2/iex").listen(0)
	eventually(t, "data", func() bool { return len(c.of("t")) > 10 && s.count() > 0 })
	begin := time.Now()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	<-p.done
	t.Logf("ended %s after the signal", time.Since(begin))
	for _, r := range []*raw{c, s} {
		<-r.done
		if r.close != 1001 {
			t.Errorf("closed with %d, want 1001", r.close)
		}
	}
}

// natsServer runs a NATS server with JetStream on a port, as an operator's.
func natsServer(t *testing.T) string {
	t.Helper()
	addr := freeAddr(t)
	s, err := bus.StartEmbedded(bus.EmbeddedConfig{Dir: t.TempDir(), Listen: addr}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return "nats://" + addr
}
