package proc

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/lzstock/lzstock/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// recorder is a test that may fail.
type recorder struct {
	testing.TB
	failed bool
	ends   []func()
}

func (r *recorder) Errorf(string, ...any) { r.failed = true }
func (r *recorder) Logf(string, ...any)   {}
func (r *recorder) Failed() bool          { return r.failed }
func (r *recorder) Cleanup(f func())      { r.ends = append(r.ends, f) }

func shell(t *testing.T, script string) (*recorder, *Process) {
	t.Helper()
	r := &recorder{TB: t}
	p := Spawn(r, Spec{Name: "sh", Binary: "/bin/sh", Args: []string{"-c", script}})
	t.Cleanup(func() { _ = p.Cmd.Process.Kill(); <-p.Done; p.wait.Wait() })
	return r, p
}

// TestEndings has processes end in all ways: only those that neither exit 0 nor
// are killed by the test fail it.
func TestEndings(t *testing.T) {
	for name, tc := range map[string]struct {
		script string
		act    func(p *Process)
		fails  bool
	}{
		"clean":     {"exit 0", nil, false},
		"bad":       {"exit 3", nil, true},
		"data race": {"echo 'WARNING: DATA RACE'", nil, true},
		"killed":    {"exec sleep 100", (*Process).Kill, false},
		"stopped": {"trap 'exit 0' TERM; echo on; while :; do sleep 0.01; done", func(p *Process) {
			Eventually(t, "its word", func() bool { return strings.Contains(p.Out.String(), "on") })
			_ = p.Cmd.Process.Signal(syscall.SIGSTOP)
			Eventually(t, "the stop", func() bool { return p.State() == 'T' })
			p.Stop()
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r, p := shell(t, tc.script)
			if tc.act != nil {
				tc.act(p)
			}
			<-p.Done
			for _, end := range r.ends {
				end()
			}
			if r.failed != tc.fails || p.Killed() != (name == "killed") {
				t.Errorf("failed %t, killed %t; it printed %q", r.failed, p.Killed(), p.Out)
			}
		})
	}
}

// TestMetric reads a page as Prometheus does.
func TestMetric(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("# HELP a x\na 1\na_total{x=\"1 2\"} 2\na_total{x=\"y\"} 3.5\n"))
	}))
	defer s.Close()
	defer http.DefaultClient.CloseIdleConnections()
	p := &Process{t: t, Admin: s.URL}
	for name, want := range map[string]float64{"a": 1, "a_total": 5.5, `a_total{x="y"}`: 3.5, "b": 0} {
		if got := p.Metric(name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}
