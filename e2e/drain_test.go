package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// source runs all but the gateway under test, and gives where the monitor is.
func source(t *testing.T) (grpc string) {
	t.Helper()
	grpc = freeAddr(t)
	start(t, "up", "--listen", freeAddr(t), "--grpc", grpc, "--source", "sim?rate=1000")
	return grpc
}

// notice gives the notice, its position of the one notice that came, and how much had come
// before it.
func (r *raw) notice() (m message, since int64, before int) {
	for i, m := range r.messages() {
		if m.text("T") == "reconnect" {
			var epoch int64
			_, _ = fmt.Sscanf(m.text("since"), "%d-%d", &epoch, &since)
			return m, since, i
		}
	}
	return nil, 0, 0
}

// TestDrainOnSignal: /readyz fails and who comes is refused at once, clients are
// told, get their data until the deadline, and then 4200; exit code 0.
func TestDrainOnSignal(t *testing.T) {
	grpc, listen := source(t), freeAddr(t)
	p := start(t, "gateway", "--listen", listen, "--monitor", grpc, "--drain-grace", "500ms", "--drain-window", "3s")
	c := open(t, listen, "/v1/stream?trades=*&delivery=every").listen(0).waitSubscribed()
	s := open(t, listen, "/v2/iex").listen(0)
	eventually(t, "data", func() bool { return len(c.of("t")) > 10 && s.count() > 0 })
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	eventually(t, "the drain", func() bool {
		status, body := get(p.admin + "/readyz")
		return status == 503 && strings.Contains(body, "draining")
	})
	if status := refused(t, listen, "/v1/stream", nil); status != 503 {
		t.Errorf("who comes gets %d", status)
	}
	<-c.done
	<-s.done
	<-p.done
	if c.close != 4200 || s.close != 1001 {
		t.Errorf("closed with %d and %d, want 4200 and 1001", c.close, s.close)
	}
	m, since, before := c.notice()
	if m.text("reason") != "drain" || m.number("deadline_ms") != 1000 || m.number("delay_ms") > 500 {
		t.Fatalf("notice: %v", m)
	}
	all := c.messages()
	if len(all)-before < 20 {
		t.Errorf("%d messages came behind the notice", len(all)-before)
	}
	for i, m := range all {
		if m.text("T") == "t" && m["snap"] == nil && (m.number("q") <= since) != (i < before) {
			t.Errorf("since %d stands at message %d; message %d is %v", since, before, i, m)
		}
	}
	for _, s := range c.of("reconnect")[1:] {
		t.Errorf("a second notice: %v", s)
	}
}

// TestSecondSignalEndsADrain at once, with exit code 1.
func TestSecondSignalEndsADrain(t *testing.T) {
	grpc, listen, admin := source(t), freeAddr(t), freeAddr(t)
	cmd := exec.Command(binary, "gateway", "--listen", listen, "--monitor", grpc, "--admin", admin, "--drain-window", "1h")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.Discard, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the gateway", func() bool { status, _ := get("http://" + admin + "/readyz"); return status == 200 })
	open(t, listen, "/v1/stream?trades=*").listen(0).waitSubscribed()
	_ = cmd.Process.Signal(syscall.SIGTERM)
	eventually(t, "the drain", func() bool { _, body := get("http://" + admin + "/drain"); return strings.Contains(body, "draining") })
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(out.String(), "terminated again: not waiting any longer") {
		t.Errorf("exit code %d:\n%s", code, out.String())
	}
}

// TestDrainCommand leaves the process there, or ends it.
func TestDrainCommand(t *testing.T) {
	grpc := source(t)
	for _, stop := range []bool{false, true} {
		listen := freeAddr(t)
		p := start(t, "gateway", "--listen", listen, "--monitor", grpc, "--drain-window", "1500ms")
		c := open(t, listen, "/v1/stream?trades=*").listen(0).waitSubscribed()
		args := []string{"drain", "--admin", strings.TrimPrefix(p.admin, "http://")}
		want := "drained\n"
		if stop {
			args, want = append(args, "--stop"), "the process has ended\n"
		}
		out, err := exec.Command(binary, args...).CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "draining: 1 clients left, at most ") || !strings.HasSuffix(string(out), want) {
			t.Errorf("%v: %s", err, out)
		}
		<-c.done
		if c.close != 4200 {
			t.Errorf("closed with %d", c.close)
		}
		if stop {
			<-p.done
			continue
		}
		if status, body := get(p.admin + "/readyz"); status != 503 || !strings.Contains(body, "not ready: drain: drained") {
			t.Errorf("%d %s", status, body)
		}
		if n := p.metric("lzstock_gateway_draining"); n != 1 {
			t.Errorf("lzstock_gateway_draining is %v", n)
		}
	}
	out, err := exec.Command(binary, "drain", "--admin", freeAddr(t)).CombinedOutput()
	if err == nil || !strings.HasPrefix(string(out), "lzstock: ask the process: ") {
		t.Errorf("nobody there: %v, %s", err, out)
	}
}

// TestHandover has gateways take over the port from one another while clients
// connect 200 times a second: none of them fails.
func TestHandover(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems do not say where connections go")
	}
	grpc, listen := source(t), freeAddr(t)
	begin := func() *process {
		return start(t, "gateway", "--reuse-port", "--listen", listen, "--monitor", grpc, "--drain-grace", "200ms", "--drain-window", "1500ms")
	}
	p := begin()
	loading, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var connects, failures atomic.Int64
	load.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for loading.Err() == nil {
			<-tick.C
			load.Go(func() {
				connects.Add(1)
				if err := greeted(listen); err != nil {
					failures.Add(1)
					t.Errorf("connect: %v", err)
				}
			})
		}
	})
	stays := open(t, listen, "/v1/stream?trades=AAPL").listen(0).waitSubscribed()
	for range 3 {
		next := begin()
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		<-p.done
		p = next
	}
	stop()
	load.Wait()
	<-stays.done
	if stays.close != 4200 {
		t.Errorf("who was there was closed with %d", stays.close)
	}
	t.Logf("%d connects, %d failures", connects.Load(), failures.Load())
	if connects.Load() < 100 {
		t.Error("that is no load")
	}
}

// greeted connects and waits for the greeting.
func greeted(addr string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, br, _, err := ws.Dialer{}.Dial(ctx, "ws://"+addr+"/v1/stream?trades=AAPL")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	var in io.Reader = conn
	if br != nil {
		in = br
	}
	f, err := ws.ReadFrame(in)
	if err == nil && !bytes.Contains(f.Payload, []byte(`"connected"`)) {
		err = fmt.Errorf("greeted with %s", f.Payload)
	}
	return err
}
