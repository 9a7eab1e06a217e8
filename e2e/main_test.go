package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/lzstock/lzstock/e2e/proc"
)

// patience is how long a test waits for what must come; it is no measure.
const patience = proc.Patience

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
	if binary, err = proc.Build(dir, "../cmd/lzstock", raceFlags...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// process is a running lzstock.
type process struct {
	*proc.Process
	t     *testing.T
	cmd   *exec.Cmd
	out   *proc.Output
	admin string
	done  chan struct{}
}

// start runs lzstock with an admin listener and waits until it is ready. When
// the test ends, it is stopped and must exit 0 without a data race.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := wrap(t, proc.Spawn(t, proc.Spec{Binary: binary, Args: args, Admin: freeAddr(t), Env: swift()}))
	p.waitReady()
	return p
}

func spawn(t *testing.T, stdin io.Reader, args ...string) *process {
	t.Helper()
	return wrap(t, proc.Spawn(t, proc.Spec{Binary: binary, Args: args, Stdin: stdin, Env: swift()}))
}

// swift is for processes that end at once: tests that are about drains say otherwise.
func swift() []string { return []string{"LZSTOCK_DRAIN_GRACE=0s", "LZSTOCK_DRAIN_WINDOW=0s"} }

func wrap(t *testing.T, p *proc.Process) *process {
	t.Helper()
	return &process{Process: p, t: t, cmd: p.Cmd, out: p.Out, admin: p.Admin, done: p.Done}
}

// waitReady waits until /readyz answers 200.
func (p *process) waitReady() {
	p.t.Helper()
	p.Admin = p.admin // of one that was started without
	p.WaitReady()
}

// kill ends the process at once.
func (p *process) kill() { p.Kill() }

// metric gives a metric of the process; the sum of those that begin with name.
func (p *process) metric(name string) float64 {
	p.t.Helper()
	p.Admin = p.admin
	return p.Metric(name)
}

// files counts the process's open descriptors.
func (p *process) files() int {
	n := p.Files()
	if n < 0 {
		p.t.Skip("descriptors cannot be counted here")
	}
	return n
}

func get(url string) (int, string) { return proc.Get(url) }

// eventually waits until ok, and fails the test when it does not come.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	proc.Eventually(t, what, ok)
}

// freeAddr gives an address on loopback that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	return proc.FreeAddr(t)
}

// tape gives a recorded tape, or skips the test.
func tape(t *testing.T, name string) string {
	t.Helper()
	return proc.Tape(t, "..", name)
}

// stop ends the process with SIGTERM: it must exit 0.
func (p *process) stop() {
	p.t.Helper()
	p.Stop()
}
