package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lzstock/lzstock/internal/edge"
	"github.com/lzstock/lzstock/internal/obs"
	"github.com/lzstock/lzstock/internal/ops"
)

// Addresses that are words.
const (
	// Auto is the usual address, or a free port of loopback where that is taken.
	Auto = "auto"
	// Off opens no listener.
	Off = "off"
)

// Usual addresses.
const (
	UsualListen  = "127.0.0.1:8080"
	UsualAdmin   = "127.0.0.1:9090"
	UsualMonitor = "127.0.0.1:7000"
	UsualNATS    = "nats://127.0.0.1:4222"
)

// AdminConfig says where operators look, and by which names.
type AdminConfig struct {
	Listen string   // Auto, Off or an address
	Hosts  []string // that the listener answers for, beside its own: see edge.Hosts
}

// adminConnections is how many connections the admin listener holds. Above it, the
// oldest one makes way.
const adminConnections = 256

// Process is what each process gets from outside.
type Process struct {
	// Logger gets what happens.
	Logger *slog.Logger
	// Build is shown by the admin listener.
	Build obs.Build
	// Command is the command line, with its secrets hidden; the admin listener shows
	// it.
	Command []string
	// Out is where people read: addresses, what to try, progress.
	Out io.Writer
}

// listen opens a TCP listener. Where addr is Auto it prefers usual.
func listen(ctx context.Context, flag, addr, usual string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: -1} // who is silent is found out above, and each accept is cheaper
	want := addr
	if addr == Auto {
		want = usual
	}
	l, err := lc.Listen(ctx, "tcp", want)
	if addr == Auto && errors.Is(err, syscall.EADDRINUSE) {
		l, err = lc.Listen(ctx, "tcp", "127.0.0.1:0")
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("--%s %s: the port is taken; stop what uses it, or choose another", flag, want)
	case err != nil:
		return nil, fmt.Errorf("--%s %s: %w; want HOST:PORT", flag, want, err)
	}
	return l, nil
}

// isLoopback tells whether only this machine reaches a.
func isLoopback(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	return ok && t.IP.IsLoopback()
}

// builder collects the parts of a process and what was opened for them, so that
// a failure half-way closes it all.
type builder struct {
	Process
	registry *prometheus.Registry
	checks   []obs.Check
	admins   []func(*http.ServeMux) // what the parts add to the admin listener
	drain    *drain
	states   []func() []ops.State                             // what the operator's page shows beside the checks
	slow     func(ctx context.Context, most int) (any, error) // the clients that keep up worst; nil: there are none
	page     func(*http.ServeMux) error
	exposed  []string // listeners that other machines reach and that ask nobody, for the banner
	parts    []part
	opened   []io.Closer // in order; handed over to parts by build's success
}

func newBuilder(p Process) (*builder, error) {
	if p.Logger == nil || p.Out == nil {
		return nil, errors.New("app: a process needs a logger and an output")
	}
	reg, err := obs.NewRegistry(p.Build)
	if err != nil {
		return nil, err
	}
	d := newDrain(p.Logger)
	return &builder{
		Process: p, registry: reg, drain: d,
		checks: []obs.Check{{Name: "drain", Ready: d.ready}}, admins: []func(*http.ServeMux){d.admin},
	}, nil
}

// run runs what build makes, or closes what it had opened when it failed.
func (b *builder) run(ctx context.Context, build func(ctx context.Context) error) error {
	if err := build(ctx); err != nil {
		for _, c := range slices.Backward(b.opened) {
			err = errors.Join(err, c.Close())
		}
		return err
	}
	return runParts(ctx, b.Logger, b.drain, b.parts)
}

// owns notes what must be closed where building fails later. A part that runs
// closes it itself.
func (b *builder) owns(c io.Closer) { b.opened = append(b.opened, c) }

// say writes to people.
func (b *builder) say(format string, args ...any) error {
	if _, err := fmt.Fprintf(b.Out, format, args...); err != nil {
		return fmt.Errorf("write to the output: %w", err)
	}
	return nil
}

func (b *builder) add(p part) { b.parts = append(b.parts, p) }

// admin opens the admin listener and returns its address; empty where it is off.
// It comes first, so that it is the last to stop and shows the others' end.
func (b *builder) admin(ctx context.Context, c AdminConfig, title string) (string, error) {
	if c.Listen == Off {
		return "", nil
	}
	allow, err := edge.ParseHosts(c.Hosts)
	if err != nil {
		return "", fmt.Errorf("--admin-hosts: %w", err)
	}
	l, err := listen(ctx, "admin", c.Listen, UsualAdmin)
	if err != nil {
		return "", err
	}
	b.owns(l)
	b.warn(ctx, "admin", l.Addr(), "show metrics, profiles and sessions, revoke users and stop the process", "keep --admin on loopback or on a private network")
	if err := b.operator(title); err != nil {
		return "", err
	}
	hosts := edge.Hosts{Loopback: isLoopback(l.Addr()), Allow: allow, Flag: "--admin-hosts"}
	gate, err := edge.NewGate(l, edge.GateConfig{Waiting: adminConnections})
	if err != nil {
		return "", err
	}
	b.add(part{name: "admin", run: func(ctx context.Context) error {
		a, err := obs.NewAdmin(obs.AdminConfig{
			Registry: b.registry, Logger: b.Logger, Build: b.Build, Command: b.Command, Title: title, Checks: b.checks, Hosts: hosts.Check, Add: b.admins, Page: b.page,
		})
		if err != nil {
			return err
		}
		return a.Serve(ctx, gate)
	}})
	return l.Addr().String(), nil
}

// warn logs, and notes for the banner, that a listener asks nobody who they are and
// is not on loopback: what it lets others do, and what mends that.
func (b *builder) warn(ctx context.Context, listener string, addr net.Addr, lets, advice string) {
	if isLoopback(addr) {
		return
	}
	b.Logger.LogAttrs(ctx, slog.LevelWarn, "a listener that other machines reach asks nobody who they are",
		slog.String("listener", listener), slog.String("address", addr.String()), slog.String("lets_them", lets), slog.String("advice", advice))
	b.exposed = append(b.exposed, fmt.Sprintf("WARNING: %s on %s asks nobody, and lets whoever reaches it %s: %s\n", listener, addr, lets, advice))
}

// warnings are the lines of the banner on listeners that ask nobody.
func (b *builder) warnings() string { return strings.Join(b.exposed, "") }

// adminLine tells where the admin listener is.
func adminLine(addr string) string {
	if addr == "" {
		return ""
	}
	return "Operators look at http://" + addr + "\n"
}
