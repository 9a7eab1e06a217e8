package proc

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Patience is how long a test waits for what must come; it is no measure.
const Patience = 60 * time.Second

// Build builds the package pkg into dir, with the build's flags, and gives the
// binary's path. It prints what the compiler said.
func Build(dir, pkg string, flags ...string) (string, error) {
	binary := filepath.Join(dir, filepath.Base(pkg))
	args := append(append([]string{"build"}, flags...), "-o", binary, pkg)
	if out, err := exec.CommandContext(context.Background(), "go", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return binary, nil
}

// Spec says what to run.
type Spec struct {
	Name   string   // in messages; the first argument by default
	Prefix []string // a command that runs the rest, such as "ip netns exec NAME"
	Binary string
	Args   []string
	Env    []string // beside the test's own
	Stdin  io.Reader
	Admin  string // HOST:PORT of its admin listener, passed as --admin; none where empty
}

// Process is a process that a test started.
type Process struct {
	Name  string
	Cmd   *exec.Cmd
	Out   *Output       // what it printed
	Admin string        // its admin listener's URL
	Done  chan struct{} // closed when it has ended
	Err   error         // of Wait, once Done is closed

	t       testing.TB
	wait    sync.WaitGroup
	excused bool // its end by itself is no fault
}

// Output collects what a process prints. Its methods may be called from any
// goroutine.
type Output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

// String gives all that was printed so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Spawn starts a process. When the test ends, it is stopped, and must exit 0
// without a data race where the test did not kill it.
func Spawn(tb testing.TB, s Spec) *Process {
	tb.Helper()
	if s.Name == "" && len(s.Args) > 0 {
		s.Name = s.Args[0]
	}
	args := append(append(append([]string{}, s.Prefix...), s.Binary), s.Args...)
	p := &Process{t: tb, Name: s.Name, Out: &Output{}, Done: make(chan struct{})}
	if s.Admin != "" {
		p.Admin = "http://" + s.Admin
		args = append(args, "--admin", s.Admin)
	}
	p.Cmd = exec.CommandContext(context.Background(), args[0], args[1:]...)
	p.Cmd.Stdin, p.Cmd.Stdout, p.Cmd.Stderr = s.Stdin, p.Out, p.Out
	p.Cmd.Env = append(append(os.Environ(), "GORACE=halt_on_error=0 exitcode=66"), s.Env...)
	p.Cmd.SysProcAttr = attributes()
	if err := p.Cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	p.wait.Go(func() {
		p.Err = p.Cmd.Wait()
		close(p.Done)
	})
	tb.Cleanup(p.Stop)
	return p
}

// WaitReady waits until /readyz answers 200.
func (p *Process) WaitReady() {
	p.t.Helper()
	if p.readyOrEnded() {
		p.t.Fatalf("%s ended: %v\n%s", p.Name, p.Err, p.Out)
	}
}

// WaitReadyOrEnd waits until /readyz answers 200, or the process has ended by itself,
// which it reports, and which is no fault then.
func (p *Process) WaitReadyOrEnd() (ended bool) {
	p.t.Helper()
	p.excused = p.readyOrEnded()
	return p.excused
}

func (p *Process) readyOrEnded() (ended bool) {
	p.t.Helper()
	Eventually(p.t, p.Name+" is ready", func() bool {
		select {
		case <-p.Done:
			ended = true
		default:
		}
		return ended || p.Ready()
	})
	return ended
}

// Ready reports whether /readyz answers 200.
func (p *Process) Ready() bool {
	status, _ := Get(p.Admin + "/readyz")
	return status == http.StatusOK
}

// Stop ends the process with SIGTERM: it must exit 0. Where it was killed, that
// is all there is to do.
func (p *Process) Stop() {
	p.t.Helper()
	_ = p.Cmd.Process.Signal(syscall.SIGTERM)
	_ = p.Cmd.Process.Signal(syscall.SIGCONT) // it may have been stopped
	select {
	case <-p.Done:
	case <-time.After(Patience):
		_ = p.Cmd.Process.Kill()
		<-p.Done
		p.t.Errorf("%s did not end on SIGTERM\n%s", p.Name, p.Out)
	}
	p.wait.Wait()
	if p.Err != nil && !p.Killed() && !p.excused {
		p.t.Errorf("%s: %v", p.Name, p.Err)
	}
	if strings.Contains(p.Out.String(), "DATA RACE") {
		p.t.Errorf("%s has a data race", p.Name)
	}
	if p.t.Failed() {
		p.t.Logf("%s printed:\n%s", p.Name, p.Out)
	}
}

// Kill ends the process at once.
func (p *Process) Kill() {
	_ = p.Cmd.Process.Kill()
	<-p.Done
}

// Killed reports whether the process was ended by SIGKILL.
func (p *Process) Killed() bool {
	select {
	case <-p.Done:
	default:
		return false
	}
	status, ok := p.Cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// State gives the kernel's letter for what the process does: R, S, D, Z, and T
// where it is stopped; 0 where that is not known.
func (p *Process) State() byte {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Cmd.Process.Pid))
	if i := bytes.LastIndexByte(text, ')'); err == nil && i >= 0 && len(text) > i+2 {
		return text[i+2]
	}
	return 0
}

// Metric gives a metric of the process: the sum of those of this name, with any
// labels; where name ends with a brace and labels, of those that begin so. It is 0
// where the process does not answer.
func (p *Process) Metric(name string) float64 {
	p.t.Helper()
	_, body := Get(p.Admin + "/metrics")
	sum := 0.0
	for line := range strings.SplitSeq(body, "\n") {
		rest, ok := strings.CutPrefix(line, name)
		if i := strings.LastIndexByte(rest, ' '); ok && i >= 0 && (strings.Contains(name, "{") || rest[0] == ' ' || rest[0] == '{') {
			v, err := strconv.ParseFloat(rest[i+1:], 64)
			if err != nil {
				p.t.Fatal(err)
			}
			sum += v
		}
	}
	return sum
}

// Files counts the process's open descriptors; -1 where that cannot be done.
func (p *Process) Files() int {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Cmd.Process.Pid))
	if err != nil {
		return -1
	}
	return len(entries)
}
