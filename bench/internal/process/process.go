// Package process starts the programs that are measured, waits until they serve,
// and ends them.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

const (
	patience  = 20 * time.Second
	pollEvery = 50 * time.Millisecond
	stopLimit = 8 * time.Second
)

// Address gives a free one on loopback.
func Address(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// Process is one that was started here.
type Process struct {
	name string
	cmd  *exec.Cmd
	out  bytes.Buffer // read once it has ended
	err  error        // how it ended, once it has
	wait sync.WaitGroup
	done chan struct{} // closed when it has ended
}

// Start starts a command. It ends with ctx, by SIGTERM; Stop must follow.
func Start(ctx context.Context, name string, command ...string) (*Process, error) {
	p := &Process{name: name, done: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, command[0], command[1:]...)
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = stopLimit
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.wait.Go(func() { // Stop waits for it
		defer close(p.done)
		p.err = p.cmd.Wait()
	})
	return p, nil
}

// Stop ends the process and waits for it.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-p.done:
	case <-time.After(stopLimit):
		_ = p.cmd.Process.Kill() // as above
	}
	p.wait.Wait()
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err gives, once it has ended, how, with all that it has said; nil where all
// went well.
func (p *Process) Err() error {
	if p.err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w\n%s", p.name, p.err, bytes.TrimSpace(p.out.Bytes()))
}

// until tries again and again, while the process lives.
func (p *Process) until(ctx context.Context, what string, try func() error) error {
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

// Listens waits until somebody answers at the address.
func (p *Process) Listens(ctx context.Context, addr string) error {
	return p.until(ctx, "listen", func() error {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// Ready waits until the process says so on its admin listener.
func (p *Process) Ready(ctx context.Context, admin string) error {
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
