package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lzstock/lzstock/internal/safetext"
)

// child is one process, through all its lives.
type child struct {
	Process
	log   string // its path
	ready atomic.Bool
	again atomic.Bool  // it was started again and is not known to be ready yet
	pid   atomic.Int64 // 0 while it does not run
	lives int

	mu   sync.Mutex
	proc *os.Process // nil while it does not run
	stop bool        // it is not to run any more
}

// start runs the process; wait must be called.
func (c *child) start(cfg *Config, lifeline *os.File) (cmd *exec.Cmd, done func(), err error) {
	file, err := os.OpenFile(c.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("log of %s: %w", c.Name, err)
	}
	cmd = exec.Command(cfg.Binary, c.Args...) //nolint:gosec,noctx // our own binary; its end is the supervisor's business
	cmd.Env, cmd.Stdin, cmd.SysProcAttr = cfg.Environ, lifeline, attributes()
	cmd.Stdout, cmd.Stderr = file, file
	if cfg.Logs != nil {
		both := &prefixed{file: file, to: cfg.Logs, name: c.Name}
		cmd.Stdout, cmd.Stderr = both, both
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop {
		return nil, nil, closing(file, errStopping)
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, closing(file, fmt.Errorf("start %s: %w", c.Name, err))
	}
	c.lives++
	c.proc = cmd.Process
	c.pid.Store(int64(cmd.Process.Pid))
	return cmd, func() {
		_ = file.Close() // what was written is written
		c.mu.Lock()
		defer c.mu.Unlock()
		c.proc = nil
		c.pid.Store(0)
		c.ready.Store(false)
	}, nil
}

func closing(f io.Closer, err error) error {
	_ = f.Close() // nothing was written
	return err
}

// signal sends a signal to the process where it runs. With last, it is not
// started again.
func (c *child) signal(s os.Signal, last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop = c.stop || last
	if c.proc != nil {
		_ = c.proc.Signal(s) // it may just have ended
	}
}

// lastWords gives the last line of its log.
func (c *child) lastWords() string {
	text, err := os.ReadFile(c.log)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

// prefixed writes lines to a file, and with a name to somebody who watches.
type prefixed struct {
	file io.Writer
	to   io.Writer
	name string
	rest []byte // of a line that has not ended
}

// Write implements io.Writer. It is called from one goroutine.
func (p *prefixed) Write(b []byte) (int, error) {
	p.rest = append(p.rest, b...)
	for {
		i := bytes.IndexByte(p.rest, '\n')
		if i < 0 {
			break
		}
		_, _ = fmt.Fprintf(p.to, "%-10s | %s\n", p.name, safetext.Clean(string(p.rest[:i]))) // who has stopped looking does not stop the process
		p.rest = p.rest[i+1:]
	}
	return p.file.Write(b)
}

// live runs the process again and again, until it is stopped. spawn runs what it
// is given on the thread that must live as long as the processes.
func (c *child) live(ctx context.Context, cfg *Config, lifeline *os.File, spawn func(func()), tell func(event)) {
	pause := pauseFirst
	for {
		began := time.Now()
		var (
			cmd  *exec.Cmd
			done func()
			err  error
		)
		spawn(func() { cmd, done, err = c.start(cfg, lifeline) })
		if err == nil {
			if c.lives > 1 {
				c.again.Store(true)
				tell(event{c, fmt.Sprintf("runs again, pid %d", cmd.Process.Pid), false})
			}
			err = cmd.Wait()
			done()
		}
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > lastingFor {
			pause = pauseFirst
		}
		text := "has ended: " + ending(err)
		if cfg.Restart {
			text += fmt.Sprintf("; it starts again in %s", pause)
		}
		tell(event{c, text, true})
		if !cfg.Restart {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, pauseMost)
	}
}

// ending says how a process ended.
func ending(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// halt ends processes politely, together, or after StopTimeout by force. It gives
// the names of the latter.
func halt(children []*child) (forced []string) {
	for _, c := range children {
		c.signal(syscall.SIGTERM, true)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(StopTimeout)
	for running(children) > 0 {
		select {
		case <-tick.C:
		case <-deadline:
			for _, c := range children {
				if c.pid.Load() != 0 {
					forced = append(forced, c.Name)
					c.signal(os.Kill, true)
				}
			}
			return forced
		}
	}
	return nil
}

func running(children []*child) int {
	n := 0
	for _, c := range children {
		if c.pid.Load() != 0 {
			n++
		}
	}
	return n
}

func logPath(dir, name string) string { return filepath.Join(dir, name+".log") }
