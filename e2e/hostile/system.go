package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

const (
	patience = 60 * time.Second
	// late is how old prices are for users who see them delayed.
	late = 5 * time.Second
)

// key is an API key.
type key struct{ ID, Secret string }

// process is one process of the system.
type process struct {
	cmd   *exec.Cmd
	admin string
}

// system is what is attacked: a gateway that asks for keys, and apart from it what
// prices come from, so that memory can be told apart. The second process has a gateway
// of its own, which asks nobody.
type system struct {
	monitor, gateway process
	target           target
	healthy          []key
	healthyLate      key
	started          []*exec.Cmd
}

func build(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "lzstock")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/lzstock/lzstock/cmd/lzstock").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build lzstock: %w\n%s", err, out)
	}
	return binary, nil
}

// start starts the system and returns when the feed has carried all symbols.
func start(ctx context.Context, o options, symbols int, dir string) (*system, error) {
	s := &system{target: target{Seed: o.seed, Opens: o.opens}}
	keys := filepath.Join(dir, "keys.yaml")
	if err := s.makeKeys(ctx, o.binary, keys); err != nil {
		return nil, err
	}
	var addrs [5]string
	for i := range addrs {
		var err error
		if addrs[i], err = free(ctx); err != nil {
			return nil, err
		}
	}
	t := &s.target
	t.Gateway, t.GatewayAdmin, t.Open, t.MonitorAdmin, t.GRPC = addrs[0], addrs[1], addrs[2], addrs[3], addrs[4]
	var err error
	// What the bus and the histories keep is small, so that it does not grow meanwhile.
	s.monitor, err = s.run(o.binary, dir, t.MonitorAdmin, "up", "--listen", t.Open, "--grpc", t.GRPC, "--keep-bytes", "8MiB", "--topic-history", "1",
		"--source", fmt.Sprintf("sim?seed=1&symbols=%d&rate=%d", symbols, o.rate))
	if err == nil {
		s.gateway, err = s.run(o.binary, dir, t.GatewayAdmin, append([]string{
			"gateway", "--listen", t.Gateway, "--monitor", t.GRPC, "--drain-grace", "0s", "--drain-window", "0s",
			"--auth", "keys", "--auth-keys", keys, "--delayed", late.String(),
		}, o.more...)...)
	}
	if err == nil {
		err = s.ready(ctx, symbols)
	}
	if err != nil {
		text, _ := os.ReadFile(filepath.Join(dir, "gateway.log")) // nothing if it did not start
		return nil, errors.Join(err, s.stop(), fmt.Errorf("the gateway printed: %s", text))
	}
	return s, nil
}

// The users of the system.
const (
	healthyUsers = 4
	hostileUsers = 10
)

func (s *system) makeKeys(ctx context.Context, binary, file string) error {
	add := func(user string, grant ...string) (k key, err error) {
		out, err := exec.CommandContext(ctx, binary, append([]string{"key", "add", user, "--keys", file, "--json"}, grant...)...).Output()
		if err == nil {
			err = json.Unmarshal(out, &k)
		}
		if err != nil {
			return k, fmt.Errorf("make a key for %s: %w", user, err)
		}
		return k, nil
	}
	var errs [4]error
	for i := range healthyUsers {
		k, err := add(fmt.Sprintf("healthy%d", i), "--max-sockets", "10000")
		s.healthy, errs[0] = append(s.healthy, k), errors.Join(errs[0], err)
	}
	for i := range hostileUsers {
		k, err := add(fmt.Sprintf("hostile%d", i))
		s.target.Users, errs[1] = append(s.target.Users, k), errors.Join(errs[1], err)
	}
	s.healthyLate, errs[2] = add("healthy-late", "--max-sockets", "10000", "--delay", late.String())
	s.target.Late, errs[3] = add("hostile-late", "--delay", late.String())
	narrow, err := add("hostile-narrow", "--symbols", "AAPL,MSFT,0*", "--channels", "trades,quotes")
	s.target.Narrow = narrow
	return errors.Join(append(errs[:], err)...)
}

func (s *system) run(binary, dir, admin string, args ...string) (process, error) {
	cmd := exec.Command(binary, append(args, "--admin", admin)...) //nolint:noctx // stop ends it, in order
	log, err := os.Create(filepath.Join(dir, args[0]+".log"))
	if err != nil {
		return process{}, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return process{}, errors.Join(err, log.Close())
	}
	s.started = append(s.started, cmd)
	return process{cmd, admin}, log.Close()
}

func free(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// ready waits until the gateway serves and lists all symbols.
func (s *system) ready(ctx context.Context, symbols int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		_, err := s.gateway.get(ctx, "/readyz")
		if err == nil {
			s.target.Symbols, err = s.symbols(ctx)
		}
		if err == nil && len(s.target.Symbols) >= symbols {
			return nil
		}
		if waited := pause(ctx, 200*time.Millisecond); waited != nil {
			return errors.Join(waited, err, fmt.Errorf("the gateway listed %d of %d symbols", len(s.target.Symbols), symbols))
		}
	}
}

func (s *system) symbols(ctx context.Context) (all []string, err error) {
	c := newClient(s.target.Gateway, user{s.healthy[0], net.IPv4(127, 1, 255, 1)})
	defer c.close()
	for token := ""; ; {
		var page struct {
			Symbols []struct{ Symbol string }
			Next    string `json:"next_page_token"`
		}
		status, body, err := c.do(ctx, http.MethodGet, "/v1/symbols?limit=10000&page_token="+url.QueryEscape(token), nil)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("list symbols: status %d", status)
		}
		if err == nil {
			err = json.Unmarshal(body, &page)
		}
		if err != nil {
			return all, err
		}
		for _, one := range page.Symbols {
			all = append(all, one.Symbol)
		}
		if token = page.Next; token == "" {
			return all, nil
		}
	}
}

// stop ends the processes and waits for them.
func (s *system) stop() error {
	http.DefaultClient.CloseIdleConnections()
	var errs []error
	for _, p := range slices.Backward(s.started) {
		kill := time.AfterFunc(10*time.Second, func() { _ = p.Process.Kill() })
		_ = p.Process.Signal(syscall.SIGTERM) // Wait tells if it has ended before
		if err := p.Wait(); err != nil {
			errs = append(errs, fmt.Errorf("lzstock %s did not stop as it should: %w", p.Args[1], err))
		}
		kill.Stop()
	}
	return errors.Join(errs...)
}
