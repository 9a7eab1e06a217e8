package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/lzstock/lzstock/internal/bench/report"
)

const (
	universe   = 100 // symbols; each socket wants ten of them
	patience   = 20 * time.Second
	pollEvery  = 50 * time.Millisecond
	stopLimit  = 8 * time.Second
	benchSlack = 90 * time.Second // beyond what a run is to take: for one that does not keep up
)

// runner builds and starts what is compared.
type runner struct {
	dir  string // of the binaries
	hold time.Duration
}

func (r *runner) build(ctx context.Context) error {
	for _, args := range [][]string{
		{"build", "-o", r.dir + string(filepath.Separator), "./textbook", "./floor"},
		{"build", "-C", "..", "-o", filepath.Join(r.dir, "lzstock"), "./cmd/lzstock"},
	} {
		cmd := exec.CommandContext(ctx, "go", args...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go %v: %w\n%s", args, err, out)
		}
	}
	return nil
}

// address gives a free one on loopback.
func address(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// process is one that was started here.
type process struct {
	name string
	cmd  *exec.Cmd
	out  bytes.Buffer // read once it has ended
	wait sync.WaitGroup
	done chan struct{} // closed when it has ended
}

func (r *runner) start(ctx context.Context, name string, command ...string) (*process, error) {
	p := &process{name: name, done: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, command[0], command[1:]...)
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = stopLimit
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.wait.Go(func() { // stop waits for it
		defer close(p.done)
		_ = p.cmd.Wait() // what it has said tells more
	})
	return p, nil
}

// stop ends the process and waits for it.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-p.done:
	case <-time.After(stopLimit):
		_ = p.cmd.Process.Kill() // as above
	}
	p.wait.Wait()
}

// until tries again and again, while the process lives.
func (p *process) until(ctx context.Context, what string, try func() error) error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return fmt.Errorf("%s: %s: %w", p.name, what, err)
		case <-p.done:
			return fmt.Errorf("%s has ended: %s", p.name, bytes.TrimSpace(p.out.Bytes()))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p *process) listens(ctx context.Context, addr string) error {
	return p.until(ctx, "listen", func() error {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

func (p *process) ready(ctx context.Context, admin string) error {
	return p.until(ctx, "be ready", func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/readyz", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
}

// bench puts the load on, and reads the report.
func (r *runner) bench(ctx context.Context, w work, listen, admin string) (*report.Report, error) {
	ramp := max(time.Second, time.Duration(w.sockets)*time.Millisecond)
	ctx, cancel := context.WithTimeout(ctx, ramp+r.hold+benchSlack)
	defer cancel()
	file := filepath.Join(r.dir, "report.json")
	cmd := exec.CommandContext(ctx, filepath.Join(r.dir, "lzstock"), "bench", "--url", "ws://"+listen+"/v1/stream",
		"--clients", strconv.Itoa(w.sockets), "--universe", "sim:"+strconv.Itoa(universe), "--symbols", "10",
		"--ramp", ramp.String(), "--duration", r.hold.String(), "--admin", "http://"+admin, "--json", file)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("lzstock bench: %w\n%s", err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	rep := &report.Report{}
	return rep, json.Unmarshal(text, rep)
}
