package fault

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// lan is a network of hosts of the test's own: network namespaces on a bridge. It is
// real to the processes on it: addresses, packets, and packets that are lost.
type lan struct {
	t      *testing.T
	bridge string
	net    string // its first three numbers
	addr   string // the test's own
	hosts  int
}

// host is one host on a lan.
type host struct {
	lan     *lan
	ns      string
	outside string // the bridge's end of its cable
	addr    string
}

// lans tells the lans of one process apart.
var lans atomic.Int64

// canLAN reports whether newLAN has what it needs.
func canLAN() bool {
	_, noIP := exec.LookPath("ip")
	_, noTables := exec.LookPath("iptables")
	return os.Geteuid() == 0 && noIP == nil && noTables == nil
}

// newLAN makes a network, or skips the test where that is not possible.
func newLAN(t *testing.T) *lan {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root: sudo make faults tests this as well")
	}
	for _, tool := range []string{"ip", "iptables"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not here: with it (packages iproute2, iptables), this is tested as well", tool)
		}
	}
	n := int(lans.Add(1))
	id := fmt.Sprintf("%d%d", os.Getpid()%10000, n)
	l := &lan{t: t, bridge: "lzb" + id, net: fmt.Sprintf("10.%d.%d", 200+n%50, os.Getpid()%250)}
	l.addr = l.net + ".1"
	if out, err := exec.CommandContext(t.Context(), "ip", "link", "add", l.bridge, "type", "bridge").CombinedOutput(); err != nil {
		t.Skipf("no network namespaces here: ip link add type bridge: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", l.bridge).Run() })
	l.must("ip addr add " + l.addr + "/24 dev " + l.bridge)
	l.must("ip link set " + l.bridge + " up")
	return l
}

func (l *lan) must(command string) string {
	l.t.Helper()
	words := strings.Fields(command)
	out, err := exec.CommandContext(l.t.Context(), words[0], words[1:]...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("%s: %v: %s", command, err, out)
	}
	return string(out)
}

// host makes a host. It must be made before the processes that run on it.
func (l *lan) host() *host {
	l.t.Helper()
	l.hosts++
	name := fmt.Sprintf("%s-%d", l.bridge, l.hosts)
	h := &host{lan: l, ns: name, outside: name, addr: fmt.Sprintf("%s.%d", l.net, l.hosts+1)}
	l.must("ip netns add " + h.ns)
	l.t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", h.ns).Run() })
	for _, command := range []string{
		"ip link add " + h.outside + " type veth peer name eth0 netns " + h.ns,
		"ip link set " + h.outside + " master " + l.bridge + " up",
		"ip -n " + h.ns + " addr add " + h.addr + "/24 dev eth0",
		"ip -n " + h.ns + " link set eth0 up",
		"ip -n " + h.ns + " link set lo up",
	} {
		l.must(command)
	}
	return h
}

// prefix is what runs a process on the host.
func (h *host) prefix() []string { return []string{"ip", "netns", "exec", h.ns} }

// drop has the host lose a share of the packets of a TCP port, in both directions; of
// all where port is 0.
func (h *host) drop(share float64, port int) {
	h.lan.t.Helper()
	for _, rule := range []string{"INPUT -i eth0 %s", "OUTPUT -o eth0 %s"} {
		match := ""
		if port > 0 {
			match = map[byte]string{'I': "-p tcp --dport ", 'O': "-p tcp --sport "}[rule[0]] + strconv.Itoa(port)
		}
		if share < 1 {
			match += fmt.Sprintf(" -m statistic --mode random --probability %g", share)
		}
		h.lan.must("ip netns exec " + h.ns + " iptables -A " + fmt.Sprintf(rule, match) + " -j DROP")
	}
}

// heal has the host lose nothing any more, and proves that it did.
func (h *host) heal() {
	h.lan.t.Helper()
	n := 0
	for _, chain := range []string{"INPUT", "OUTPUT"} {
		for line := range strings.SplitSeq(h.lan.must("ip netns exec "+h.ns+" iptables -L "+chain+" -v -n -x"), "\n") {
			if words := strings.Fields(line); len(words) > 2 && words[2] == "DROP" {
				lost, err := strconv.Atoi(words[0])
				if err != nil {
					h.lan.t.Fatal(err)
				}
				n += lost
			}
		}
		h.lan.must("ip netns exec " + h.ns + " iptables -F " + chain)
	}
	if n == 0 {
		h.lan.t.Fatalf("%s was to lose packets, and lost none", h.ns)
	}
	h.lan.t.Logf("fault: host %s lost %d packets", h.addr, n)
}
