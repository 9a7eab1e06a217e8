package fault

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lzstock/lzstock/e2e/proc"
	"github.com/lzstock/lzstock/internal/feed/sim"
)

// node is a process that has a name, and can be started again as it was.
type node struct {
	t    *testing.T
	spec proc.Spec
	addr string // where others reach it
	proc *proc.Process
	cut  []*link // what its network hangs on
	host *host   // where it runs; nil: beside the test
}

// system is all processes of a test.
type system struct {
	t        *testing.T
	seed     uint64
	nats     string   // its addresses, for clients
	copies   []string // flags that say how many copies it keeps
	bus      []*node
	monitors []*node
	gateways []*node
	feed     *node
}

// layout says what a system is made of.
type layout struct {
	bus, monitors, gateways int // bus: 3 is a cluster, 0 a server alone
	gatewayArgs             []string
	busArgs, monitorArgs    []string
	data                    string   // where the bus keeps its events; a folder of the test's by default
	binary                  string   // what runs in place of lzstock
	env                     []string // beside the test's own
	linked                  bool     // monitors hang on links that can be cut
	lan                     *lan     // each gateway is a host on it; nil: none is
	lanBus                  bool     // the bus's nodes are, in place of gateways
}

// The ports of those that are hosts on a lan.
const (
	gatewayPort = 8080
	adminPort   = 9090
	natsPort    = 4222
	routePort   = 6222
)

// quick are the flags of gateways whose deadlines do not take a test's whole time.
func quick() []string {
	return []string{"--ping-every", "1s", "--peer-timeout", "4s", "--heartbeat-every", "1s", "--drain-grace", "0s", "--drain-window", "2s"}
}

// build starts a bus, monitors and gateways, and waits until all are ready.
func build(t *testing.T, seed uint64, l layout) *system {
	t.Helper()
	if l.binary == "" {
		l.binary = binary
	}
	s := &system{t: t, seed: seed}
	s.startBus(l)
	var monitors []string
	for i := range l.monitors {
		nats, grpc := s.nats, proc.FreeAddr(t)
		if l.lan != nil { // where its gateways reach it
			grpc = fmt.Sprintf("%s:%d", l.lan.addr, 7000+i)
		}
		n := &node{t: t, addr: grpc}
		if l.linked {
			var through []string
			for _, b := range s.bus {
				k := newLink(t, b.addr)
				n.cut = append(n.cut, k)
				through = append(through, "nats://"+k.addr)
			}
			nats = strings.Join(through, ",")
			k := newLink(t, grpc)
			n.cut = append(n.cut, k)
			n.addr = k.addr
		}
		n.spec = proc.Spec{
			Name: fmt.Sprintf("monitor-%d", i), Binary: l.binary, Env: l.env, Admin: proc.FreeAddr(t),
			Args: append([]string{"monitor", "--grpc", grpc, "--nats", nats}, append(s.copies, l.monitorArgs...)...),
		}
		s.monitors = append(s.monitors, n.start())
		monitors = append(monitors, n.addr)
	}
	for _, n := range s.monitors {
		n.proc.WaitReady()
	}
	for i := range l.gateways {
		n := &node{t: t, addr: proc.FreeAddr(t)}
		n.spec = proc.Spec{Name: fmt.Sprintf("gateway-%d", i), Binary: l.binary, Env: l.env, Admin: proc.FreeAddr(t)}
		if l.lan != nil && !l.lanBus {
			n.settle(l.lan.host(), gatewayPort)
		}
		n.spec.Args = append([]string{"gateway", "--listen", n.addr, "--monitor", strings.Join(monitors, ",")}, append(quick(), l.gatewayArgs...)...)
		if n.host != nil {
			n.spec.Args = append(n.spec.Args, "--insecure-open")
		}
		s.gateways = append(s.gateways, n.start())
	}
	for _, n := range s.gateways {
		n.proc.WaitReady()
	}
	return s
}

// startBus starts NATS: one server, or a cluster.
func (s *system) startBus(l layout) {
	s.t.Helper()
	var routes, urls []string
	for i := range max(1, l.bus) {
		n := &node{t: s.t, addr: proc.FreeAddr(s.t)}
		n.spec = proc.Spec{Name: fmt.Sprintf("bus-%d", i), Binary: cmp.Or(l.binary, binary), Env: l.env, Admin: proc.FreeAddr(s.t)}
		route := proc.FreeAddr(s.t)
		if l.lanBus {
			n.settle(l.lan.host(), natsPort)
			route = fmt.Sprintf("%s:%d", n.host.addr, routePort)
		}
		n.spec.Args = append([]string{"bus", "--name", n.spec.Name, "--nats-listen", n.addr, "--data", filepath.Join(cmp.Or(l.data, s.t.TempDir()), "bus")}, l.busArgs...)
		routes, urls = append(routes, route), append(urls, "nats://"+n.addr)
		s.bus = append(s.bus, n)
	}
	for i, n := range s.bus {
		if len(s.bus) > 1 {
			n.spec.Args = append(n.spec.Args, "--cluster-listen", routes[i], "--routes", strings.Join(routes, ","))
			s.copies = []string{"--keep-copies", "3"}
		}
		n.start()
	}
	for _, n := range s.bus {
		n.proc.WaitReady()
	}
	s.nats = strings.Join(urls, ",")
}

// settle has the node run on a host.
func (n *node) settle(h *host, port int) {
	n.host = h
	n.addr = fmt.Sprintf("%s:%d", h.addr, port)
	n.spec.Prefix = h.prefix()
	n.spec.Admin = fmt.Sprintf("%s:%d", h.addr, adminPort)
}

// addrs gives where clients connect.
func (s *system) addrs() []string {
	var out []string
	for _, g := range s.gateways {
		out = append(out, g.addr)
	}
	return out
}

// universe is how many symbols the simulator has.
const universe = 30

// play starts the simulator.
func (s *system) play() {
	s.t.Helper()
	s.feed = &node{t: s.t, spec: proc.Spec{
		Name: "feed", Binary: binary, Admin: proc.FreeAddr(s.t),
		Args: []string{"feed", "sim", "--nats", s.nats, "--rate", strconv.Itoa(*rate), "--symbols", strconv.Itoa(universe), "--seed", strconv.FormatUint(s.seed, 10)},
	}}
	s.feed.spec.Args = append(s.feed.spec.Args, s.copies...)
	s.feed.start().proc.WaitReady()
}

// playTape plays a tape once, so much faster than it was.
func (s *system) playTape(file string, speed int) {
	s.t.Helper()
	s.feed = &node{t: s.t, spec: proc.Spec{
		Name: "feed", Binary: binary, Admin: proc.FreeAddr(s.t),
		Args: []string{"feed", "tape", file, "--nats", s.nats, "--speed", strconv.Itoa(speed)},
	}}
	s.feed.spec.Args = append(s.feed.spec.Args, s.copies...)
	s.feed.start()
}

// silence ends the feed, which stores what it had on its way.
func (s *system) silence() {
	s.t.Helper()
	s.feed.proc.Stop()
}

// simSymbols gives the simulator's symbols.
func simSymbols(t *testing.T) []string {
	t.Helper()
	m, err := sim.New(sim.Options{Symbols: universe}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range m.Symbols() {
		out = append(out, string(s))
	}
	return out
}

// start starts the node, anew where it was started before.
func (n *node) start() *node {
	n.t.Helper()
	n.proc = proc.Spawn(n.t, n.spec)
	return n
}

// kill ends the node with SIGKILL, and proves it.
func (n *node) kill() time.Time {
	n.t.Helper()
	at := time.Now()
	n.proc.Kill()
	if !n.proc.Killed() {
		n.t.Fatalf("%s was to be killed, and ended by itself: %v\n%s", n.spec.Name, n.proc.Err, n.proc.Out)
	}
	n.t.Logf("fault: kill -9 %s: %v", n.spec.Name, n.proc.Cmd.ProcessState)
	return at
}

// stop has the kernel run the node no more, and proves it.
func (n *node) stop() time.Time {
	n.t.Helper()
	at := time.Now()
	if err := n.proc.Cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		n.t.Fatal(err)
	}
	proc.Eventually(n.t, "the stop of "+n.spec.Name, func() bool { return n.proc.State() == 'T' })
	n.t.Logf("fault: SIGSTOP %s: its state is %c", n.spec.Name, n.proc.State())
	return at
}

// cont has it run again.
func (n *node) cont() {
	n.t.Helper()
	if err := n.proc.Cmd.Process.Signal(syscall.SIGCONT); err != nil {
		n.t.Fatal(err)
	}
}

// isolate cuts all links of the node: what is sent is lost, connections stay open.
func (n *node) isolate() time.Time {
	n.t.Helper()
	if len(n.cut) == 0 {
		n.t.Fatalf("%s has no link to cut", n.spec.Name)
	}
	at := time.Now()
	for _, k := range n.cut {
		k.blackhole()
	}
	return at
}

// rejoin heals the links, and proves that something was lost meanwhile.
func (n *node) rejoin() {
	n.t.Helper()
	if n.heal() == 0 {
		n.t.Fatalf("the cut of %s dropped nothing", n.spec.Name)
	}
}

// heal heals the links, and gives how many bytes were lost meanwhile.
func (n *node) heal() (dropped int64) {
	n.t.Helper()
	for _, k := range n.cut {
		dropped += k.heal()
	}
	n.t.Logf("fault: the cut of %s dropped %d bytes", n.spec.Name, dropped)
	return dropped
}
