package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what must come; it is no measure.
const patience = 60 * time.Second

// binary is the lzstock that the tests run.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "lzstock-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "lzstock")
	args := append([]string{"build"}, raceFlags...)
	build := exec.Command("go", append(args, "-o", binary, "../cmd/lzstock")...)
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build lzstock: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// process is a running lzstock.
type process struct {
	t     *testing.T
	name  string
	cmd   *exec.Cmd
	out   *output
	admin string
	done  chan struct{}
	err   error // of Wait, once done is closed
}

// output collects what a process prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// start runs lzstock with an admin listener and waits until it is ready. When
// the test ends, it is stopped and must exit 0 without a data race.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	admin := freeAddr(t)
	p := spawn(t, nil, append(args, "--admin", admin)...)
	p.admin = "http://" + admin
	p.waitReady()
	return p
}

func spawn(t *testing.T, stdin io.Reader, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: args[0], cmd: exec.Command(binary, args...), out: &output{}, done: make(chan struct{})}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = stdin, p.out, p.out
	p.cmd.Env = append(os.Environ(), "GORACE=halt_on_error=0 exitcode=66",
		"LZSTOCK_DRAIN_GRACE=0s", "LZSTOCK_DRAIN_WINDOW=0s") // tests that are about drains say otherwise
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(p.stop)
	return p
}

// waitReady waits until /readyz answers 200.
func (p *process) waitReady() {
	p.t.Helper()
	eventually(p.t, p.name+" is ready", func() bool {
		select {
		case <-p.done:
			p.t.Fatalf("%s ended: %v\n%s", p.name, p.err, p.out)
		default:
		}
		status, _ := get(p.admin + "/readyz")
		return status == http.StatusOK
	})
}

// stop ends the process with SIGTERM: it must exit 0.
func (p *process) stop() {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.done
		p.t.Errorf("%s did not end on SIGTERM\n%s", p.name, p.out)
	}
	killed := false
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok {
		killed = status.Signaled() && status.Signal() == syscall.SIGKILL // by the test
	}
	if p.err != nil && !killed {
		p.t.Errorf("%s: %v", p.name, p.err)
	}
	if strings.Contains(p.out.String(), "DATA RACE") {
		p.t.Errorf("%s has a data race", p.name)
	}
	if p.t.Failed() {
		p.t.Logf("%s printed:\n%s", p.name, p.out)
	}
}

// kill ends the process at once.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// metric gives a metric of the process; the sum of those that begin with name.
func (p *process) metric(name string) float64 {
	p.t.Helper()
	_, body := get(p.admin + "/metrics")
	sum := 0.0
	for line := range strings.SplitSeq(body, "\n") {
		if rest, ok := strings.CutPrefix(line, name); ok {
			if i := strings.LastIndexByte(rest, ' '); i >= 0 && (rest[0] == ' ' || rest[0] == '{') {
				v, err := strconv.ParseFloat(rest[i+1:], 64)
				if err != nil {
					p.t.Fatal(err)
				}
				sum += v
			}
		}
	}
	return sum
}

// files counts the process's open descriptors.
func (p *process) files() int {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		p.t.Skipf("descriptors cannot be counted here: %v", err)
	}
	return len(entries)
}

func get(url string) (int, string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err.Error()
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// eventually waits until ok, and fails the test when it does not come.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited %s: %s did not come", patience, what)
		}
	}
}

// nextPort is the last port that freeAddr gave. Ports below the system's own range
// for outgoing connections stay free between the look and the use.
var nextPort atomic.Int64

// freeAddr gives an address on loopback that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	const first, count = 12_000, 20_000
	nextPort.CompareAndSwap(0, int64(os.Getpid()))
	for range count {
		addr := fmt.Sprintf("127.0.0.1:%d", first+nextPort.Add(1)%count)
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return addr
	}
	t.Fatal("no port is free")
	return ""
}

// tape gives a recorded tape, or skips the test.
func tape(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join("..", "..", "shared", "data", name)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		t.Skipf("no recorded market data here (%s): the simulator's tests serve", path)
	}
	return path
}
