package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	patience      = 60 * time.Second
	headerTimeout = 5 * time.Second // the gateway's
)

// key is an API key.
type key struct{ ID, Secret string }

// gateway is the process under attack, with those behind it.
type gateway struct {
	addr, admin string
	key         key
	symbols     []string
	began       time.Time
	processes   []*exec.Cmd
}

// serve builds what is to be measured, where it is not given, and starts it: a
// gateway, and apart from it what prices come from, so that the bus's memory is
// not taken for the gateway's.
func serve(ctx context.Context, o options, dir string) (*gateway, error) {
	if o.binary == "" {
		o.binary = filepath.Join(dir, "lzstock")
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", o.binary, "github.com/lzstock/lzstock/cmd/lzstock").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build lzstock: %w\n%s", err, out)
		}
	}
	g := &gateway{symbols: []string{"AAPL", "MSFT", "NVDA", "AMZN", "GOOGL"}, began: time.Now()}
	out, err := exec.CommandContext(ctx, o.binary, "key", "add", "healthy", "--keys", keysFile(dir), "--json").Output()
	if err == nil {
		err = json.Unmarshal(out, &g.key)
	}
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	var addrs [5]string
	for i := range addrs {
		if addrs[i], err = free(ctx); err != nil {
			return nil, err
		}
	}
	g.addr, g.admin = addrs[0], addrs[1]
	if o.admin != "" {
		g.admin = o.admin
	}
	source := fmt.Sprintf("sim?seed=1&symbols=%d&rate=%d", len(g.symbols), o.rate*len(g.symbols)*quotesShare/100)
	for _, args := range [][]string{
		{"up", "--listen", addrs[2], "--grpc", addrs[3], "--admin", addrs[4], "--source", source},
		append([]string{
			"gateway", "--drain-grace", "0s", "--drain-window", "0s", "--listen", g.addr, "--admin", g.admin, "--monitor", addrs[3], "--auth", "keys", "--auth-keys", keysFile(dir),
			"--user-sockets", "0",
		}, o.more...),
	} {
		cmd := exec.Command(o.binary, args...) //nolint:noctx // stop ends it, in order
		log, err := os.Create(filepath.Join(dir, args[0]+".log"))
		if err != nil {
			return nil, errors.Join(err, g.stop())
		}
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			return nil, errors.Join(err, log.Close(), g.stop())
		}
		g.processes = append(g.processes, cmd)
	}
	if err := g.ready(ctx); err != nil {
		text, _ := os.ReadFile(filepath.Join(dir, "gateway.log")) // what is there has to do
		return nil, errors.Join(err, fmt.Errorf("the gateway printed: %s", text), g.stop())
	}
	return g, nil
}

// quotesShare is how many events a simulator makes for 100 quotes.
const quotesShare = 200

func free(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (g *gateway) ready(ctx context.Context) error {
	deadline := time.Now().Add(patience)
	for {
		_, err := g.get(ctx, "/readyz")
		if err == nil || time.Now().After(deadline) {
			return err
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

func (g *gateway) get(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.admin+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, resp.Status, body)
	}
	return string(body), err
}

// stop ends the processes, and waits for them.
func (g *gateway) stop() error {
	http.DefaultClient.CloseIdleConnections()
	var errs []error
	for _, p := range slices.Backward(g.processes) {
		kill := time.AfterFunc(10*time.Second, func() { _ = p.Process.Kill() })
		errs = append(errs, p.Process.Signal(syscall.SIGTERM), p.Wait())
		kill.Stop()
	}
	return errors.Join(errs...)
}

// state is what the gateway has at a moment.
type state struct {
	resident, peak    int // KiB
	goroutines, files int
	cpu, since        time.Duration
}

// back reports whether what the flood took has been given back.
func (s state) back(before state) bool {
	const slack = 10 // the poll of its admin listener, and such
	return s.goroutines <= before.goroutines+slack && s.files <= before.files+slack
}

func (g *gateway) state(ctx context.Context) (s state, err error) {
	proc := fmt.Sprintf("/proc/%d", g.processes[len(g.processes)-1].Process.Pid)
	entries, err := os.ReadDir(proc + "/fd")
	if err != nil {
		return s, err
	}
	s.files = len(entries)
	text, err := os.ReadFile(proc + "/status")
	if err != nil {
		return s, err
	}
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		words := strings.Fields(string(line))
		if len(words) < 2 {
			continue
		}
		n, _ := strconv.Atoi(words[1]) // of other lines
		switch words[0] {
		case "VmRSS:":
			s.resident = n
		case "VmHWM:":
			s.peak = n
		}
	}
	metrics, err := g.get(ctx, "/metrics")
	if err != nil {
		return s, err
	}
	s.since = time.Since(g.began)
	for line := range strings.SplitSeq(metrics, "\n") {
		name, value, _ := strings.Cut(line, " ")
		v, _ := strconv.ParseFloat(value, 64) // of other lines
		switch name {
		case "go_goroutines":
			s.goroutines = int(v)
		case "process_cpu_seconds_total":
			s.cpu = time.Duration(v * float64(time.Second))
		}
	}
	return s, nil
}

// settled waits until the flood has left nothing, or long enough.
func (g *gateway) settled(ctx context.Context, before state) (state, error) {
	deadline := time.Now().Add(3 * headerTimeout)
	for {
		s, err := g.state(ctx)
		if err != nil || s.back(before) || time.Now().After(deadline) {
			return s, err
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return s, err
		}
	}
}
