package fault

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/lzstock/lzstock/e2e/proc"
)

// TestDiskFull fills the disk under the bus, and makes room again: the bus says what is
// wrong, clients are told that the feed is stale, and all goes on by itself.
func TestDiskFull(t *testing.T) {
	seed := seeded(t)
	disk := smallDisk(t, "48m")
	s := build(t, seed, layout{monitors: 1, gateways: 1, data: disk, busArgs: []string{"--max-store", "1GiB"}, monitorArgs: []string{"--keep-bytes", "64MiB"}})
	s.play()
	f := newFleet(t, seed, s.addrs(), plan{clients: max(30, *clients/4), symbols: simSymbols(t), each: 3, wild: 20}).start(time.Second)
	time.Sleep(2 * time.Second)

	at := time.Now()
	ballast := filepath.Join(disk, "ballast")
	n := fill(t, ballast)
	t.Logf("fault: %d bytes fill the disk", n)
	f.await("word of a stale feed", func(c *client) bool { return len(c.words(at)) > 0 })
	stale, missing := f.told(at, "stale")
	t.Logf("clients are told stale after: %s, %d not yet", stale, missing)
	proc.Eventually(t, "an error that names the disk", func() bool { return strings.Contains(s.bus[0].proc.Out.String(), "is the disk full?") })
	if s.bus[0].proc.Ready() {
		t.Error("the bus is ready, and can store nothing")
	}
	time.Sleep(2 * time.Second)

	at = time.Now()
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	f.await("a live feed", func(c *client) bool { return len(c.feeds) > 0 && c.feeds[len(c.feeds)-1].state == "live" })
	live, _ := f.told(at, "live")
	t.Logf("with room again, the feed lives after: %s", live)
	f.calm()
	time.Sleep(2 * time.Second)
	promised(t, "the longest time without any event", spread{f.longest()}, time.Second)
	s.silence()
	f.balance(readTruth(t, s.nats))
	for _, list := range [][]*node{s.bus, s.monitors, s.gateways} {
		for _, n := range list {
			select {
			case <-n.proc.Done:
				t.Errorf("%s did not survive the full disk", n.spec.Name)
			default:
			}
		}
	}
}

// smallDisk makes a small file system in memory, or skips the test.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a disk that is full needs root to be made: sudo make faults tests this as well")
	}
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size="+size, "lzstock-fault", dir).CombinedOutput(); err != nil {
		t.Skipf("no small disk can be made here: mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.CommandContext(context.Background(), "umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

// fill writes until there is no room.
func fill(t *testing.T, file string) (n int64) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for size := 1 << 20; size > 0; size /= 2 {
		block := make([]byte, size)
		for {
			w, err := f.Write(block)
			n += int64(w)
			if err != nil {
				break
			}
		}
	}
	return n
}

// TestStoreLimit starts a monitor that wants to keep more than the bus may store: it
// says so, and which settings decide.
func TestStoreLimit(t *testing.T) {
	s := &system{t: t}
	s.startBus(layout{busArgs: []string{"--max-store", "64MiB"}})
	out, err := exec.CommandContext(t.Context(), binary, "monitor", "--grpc", proc.FreeAddr(t), "--admin", "off", "--nats", s.nats, "--keep-bytes", "1GiB").CombinedOutput()
	if err == nil {
		t.Fatalf("it ended without an error:\n%s", out)
	}
	t.Logf("it said: %s", out)
	for _, want := range []string{"stream MD", "less --keep-bytes", "more --max-store"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the error does not say %q", want)
		}
	}
}

// TestMemoryLimit gives a monitor and a gateway less memory than they hold: the
// collector works all the time, and clients notice nothing.
func TestMemoryLimit(t *testing.T) {
	const limit = 4 << 20
	seed := seeded(t)
	s := build(t, seed, layout{monitors: 1, gateways: 1, env: []string{fmt.Sprintf("GOMEMLIMIT=%d", limit)}})
	s.play()
	f := newFleet(t, seed, s.addrs(), plan{clients: *clients, symbols: simSymbols(t), each: 3, wild: 20}).start(time.Second)
	f.calm()
	time.Sleep(6 * time.Second)
	for _, n := range []*node{s.monitors[0], s.gateways[0]} {
		used := n.proc.Metric("go_memstats_sys_bytes") - n.proc.Metric("go_memstats_heap_released_bytes")
		if n.proc.Metric("go_gc_gomemlimit_bytes") != limit || used <= limit {
			t.Fatalf("%s holds %.0f bytes, and its limit is not reached", n.spec.Name, used)
		}
		t.Logf("fault: %s holds %.0f bytes, and may hold %d; it has collected %.0f times", n.spec.Name, used, limit, n.proc.Metric("go_gc_duration_seconds_count"))
	}
	promised(t, "the longest time without any event", spread{f.longest()}, time.Second)
	s.silence()
	f.balance(readTruth(t, s.nats))
	if n := f.sum(func(c *client) int { return c.closes[1006] }); n > 0 {
		t.Errorf("%d sockets broke", n)
	}
}

// serverTime asks a gateway for its time.
func serverTime(t *testing.T, addr string) time.Time {
	t.Helper()
	conn, _, _, err := ws.Dialer{Timeout: patience}.Dial(t.Context(), "ws://"+addr+"/v1/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := ws.WriteFrame(conn, ws.MaskFrame(ws.NewTextFrame([]byte(`{"action":"ping"}`)))); err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := ws.ReadFrame(conn)
		if err != nil {
			t.Fatal(err)
		}
		m := msg{raw: frame.Payload}
		if m.field("T") != "pong" {
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, m.field("t"))
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
}
