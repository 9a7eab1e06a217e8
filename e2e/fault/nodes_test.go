package fault

import (
	"fmt"
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
}

// system is all processes of a test.
type system struct {
	t        *testing.T
	seed     uint64
	nats     string // its addresses, for clients
	bus      []*node
	monitors []*node
	gateways []*node
	feed     *node
}

// layout says what a system is made of.
type layout struct {
	bus, monitors, gateways int
	gatewayArgs             []string
	busArgs                 []string
	linked                  bool // monitors hang on links that can be cut
}

// quick are the flags of gateways whose deadlines do not take a test's whole time.
func quick() []string {
	return []string{"--ping-every", "1s", "--peer-timeout", "4s", "--heartbeat-every", "1s"}
}

// build starts a bus, monitors and gateways, and waits until all are ready.
func build(t *testing.T, seed uint64, l layout) *system {
	t.Helper()
	s := &system{t: t, seed: seed}
	s.startBus(l)
	var monitors []string
	for i := range l.monitors {
		nats, grpc := s.nats, proc.FreeAddr(t)
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
			Name: fmt.Sprintf("monitor-%d", i), Binary: binary, Admin: proc.FreeAddr(t),
			Args: []string{"monitor", "--grpc", grpc, "--nats", nats},
		}
		s.monitors = append(s.monitors, n.start())
		monitors = append(monitors, n.addr)
	}
	for _, n := range s.monitors {
		n.proc.WaitReady()
	}
	for i := range l.gateways {
		n := &node{t: t, addr: proc.FreeAddr(t)}
		n.spec = proc.Spec{
			Name: fmt.Sprintf("gateway-%d", i), Binary: binary, Admin: proc.FreeAddr(t),
			Args: append([]string{"gateway", "--listen", n.addr, "--monitor", strings.Join(monitors, ",")}, append(quick(), l.gatewayArgs...)...),
		}
		s.gateways = append(s.gateways, n.start())
	}
	for _, n := range s.gateways {
		n.proc.WaitReady()
	}
	return s
}

// startBus starts NATS: a server of its own process.
func (s *system) startBus(l layout) {
	s.t.Helper()
	n := &node{t: s.t, addr: proc.FreeAddr(s.t)}
	n.spec = proc.Spec{
		Name: "bus-0", Binary: binary, Admin: proc.FreeAddr(s.t),
		Args: append([]string{
			"up", "--source", "none", "--listen", proc.FreeAddr(s.t), "--grpc", proc.FreeAddr(s.t),
			"--nats-listen", n.addr, "--data", s.t.TempDir(),
		}, l.busArgs...),
	}
	s.bus = append(s.bus, n.start())
	n.proc.WaitReady()
	s.nats = "nats://" + n.addr
}

// addrs gives where clients connect.
func (s *system) addrs() []string {
	var out []string
	for _, g := range s.gateways {
		out = append(out, g.addr)
	}
	return out
}

// play starts the simulator, and gives its symbols.
func (s *system) play(symbols int) {
	s.t.Helper()
	s.feed = &node{t: s.t, spec: proc.Spec{
		Name: "feed", Binary: binary, Admin: proc.FreeAddr(s.t),
		Args: []string{"feed", "sim", "--nats", s.nats, "--rate", fmt.Sprint(*rate), "--symbols", fmt.Sprint(symbols), "--seed", fmt.Sprint(s.seed)},
	}}
	s.feed.start().proc.WaitReady()
}

// playTape plays a tape once, so much faster than it was.
func (s *system) playTape(file string, speed int) {
	s.t.Helper()
	s.feed = &node{t: s.t, spec: proc.Spec{
		Name: "feed", Binary: binary, Admin: proc.FreeAddr(s.t),
		Args: []string{"feed", "tape", file, "--nats", s.nats, "--speed", fmt.Sprint(speed)},
	}}
	s.feed.start()
}

// silence ends the feed, which stores what it had on its way.
func (s *system) silence() {
	s.t.Helper()
	s.feed.proc.Stop()
}

// simSymbols gives the simulator's symbols.
func simSymbols(t *testing.T, n int) []string {
	t.Helper()
	m, err := sim.New(sim.Options{Symbols: n}, time.Now())
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
	dropped := int64(0)
	for _, k := range n.cut {
		dropped += k.heal()
	}
	if dropped == 0 {
		n.t.Fatalf("the cut of %s dropped nothing", n.spec.Name)
	}
	n.t.Logf("fault: the cut of %s dropped %d bytes", n.spec.Name, dropped)
}
