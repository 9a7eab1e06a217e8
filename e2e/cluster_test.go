package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// clusterUp runs `lzstock cluster up` until all of it is ready.
type clusterUp struct {
	*process
	dir string
}

func startClusterUp(t *testing.T, args ...string) *clusterUp {
	t.Helper()
	dir := t.TempDir()
	p := spawn(t, nil, append([]string{"cluster", "up", "--data", dir}, args...)...)
	c := &clusterUp{process: p, dir: dir}
	eventually(t, "the cluster is ready", func() bool {
		select {
		case <-p.done:
			t.Fatalf("it ended: %v\n%s", p.Err, p.out)
		default:
		}
		return strings.Contains(p.out.String(), "Stop with Ctrl-C")
	})
	t.Cleanup(func() {
		logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
		for _, name := range logs {
			text, _ := os.ReadFile(name)
			if strings.Contains(string(text), "DATA RACE") {
				t.Errorf("%s tells of a data race", name)
			}
			if t.Failed() {
				t.Logf("%s:\n%s", filepath.Base(name), text)
			}
		}
	})
	return c
}

// pid gives the process's number, as it was printed last.
func (c *clusterUp) pid(name string) int {
	c.t.Helper()
	found := regexp.MustCompile(`(?m)^(?: *`+name+` +|`+name+` runs again, pid )(\d+)`).FindAllStringSubmatch(c.out.String(), -1)
	if len(found) == 0 {
		c.t.Fatalf("no process %s in %s", name, c.out)
	}
	n, err := strconv.Atoi(found[len(found)-1][1])
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

func (c *clusterUp) entries() (all []struct{ Name, Where, Admin string }) {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.dir, "cluster.json"))
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return all
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// TestClusterUp runs three servers of the bus, two monitors, three gateways and a
// feed; kills the server that leads, and a monitor; and ends all of it.
func TestClusterUp(t *testing.T) {
	c := startClusterUp(t)
	var clients []*raw
	var pids []int
	leader := ""
	for _, e := range c.entries() {
		pids = append(pids, c.pid(e.Name))
		if addr, ok := strings.CutPrefix(e.Where, "ws://"); ok {
			clients = append(clients, open(t, strings.TrimSuffix(addr, "/v1/stream"), "/v1/stream?trades=*").listen(0).waitSubscribed())
		}
		if _, metrics := get("http://" + e.Admin + "/metrics"); strings.Contains(metrics, "\nlzstock_node_leader 1") {
			leader = e.Name
		}
	}
	if len(pids) != 9 || len(clients) != 3 || leader == "" {
		t.Fatalf("%d processes, %d gateways, and %q leads: want 9, 3, and one\n%s", len(pids), len(clients), leader, c.out)
	}
	more := func(what string) {
		t.Helper()
		begin := time.Now()
		for _, r := range clients {
			from := len(r.of("t"))
			eventually(t, "prices at every gateway "+what, func() bool { return len(r.of("t")) > from+10 })
		}
		t.Logf("prices at every gateway %s: after %s", what, time.Since(begin).Round(time.Millisecond))
	}
	more("at the beginning")
	for _, victim := range []string{leader, "monitor-0"} {
		_ = syscall.Kill(c.pid(victim), syscall.SIGKILL)
		more("without " + victim)
		eventually(t, victim+" is ready again", func() bool { return strings.Contains(c.out.String(), victim+" is ready again") })
		pids = append(pids, c.pid(victim))
	}
	must(t, "cluster", "status", "--data", c.dir)
	begin := time.Now()
	_ = c.cmd.Process.Signal(syscall.SIGINT)
	<-c.done
	t.Logf("all of it ended %s after Ctrl-C", time.Since(begin).Round(time.Millisecond))
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d is still there\n%s", pid, c.out)
		}
	}
}

// TestClusterDiesWithItsParent kills the supervisor, while one of its processes is
// frozen: none must be left.
func TestClusterDiesWithItsParent(t *testing.T) {
	c := startClusterUp(t, "--nodes", "1", "--monitors", "1", "--gateways", "1")
	var pids []int
	for _, e := range c.entries() {
		pids = append(pids, c.pid(e.Name))
	}
	_ = syscall.Kill(c.pid("gateway-0"), syscall.SIGSTOP)
	c.kill()
	for _, pid := range pids {
		eventually(t, "the end of all processes", func() bool { return !alive(pid) })
	}
}

// TestClusterErrors wants clear words where a cluster cannot start.
func TestClusterErrors(t *testing.T) {
	taken := strings.TrimPrefix(freeAddr(t), "127.0.0.1:")
	port, err := strconv.Atoi(taken)
	if err != nil {
		t.Fatal(err)
	}
	start(t, "bus", "--nats-listen", "127.0.0.1:"+taken)
	for _, tc := range []struct {
		says string
		args []string
	}{
		{"--port: port " + taken, []string{"--port", strconv.Itoa(port - 1)}},
		{"of two, the loss of either would stop both", []string{"--nodes", "2"}},
		{"feed does not start; the end of", []string{"--nodes", "1", "--monitors", "1", "--gateways", "1", "--source", "tape:no-such-file.csv"}},
	} {
		p := spawn(t, nil, append([]string{"cluster", "up"}, tc.args...)...)
		<-p.done
		if p.Err == nil || !strings.Contains(p.out.String(), tc.says) {
			t.Errorf("%q: %v, want an error that says %q\n%s", tc.args, p.Err, tc.says, p.out)
		}
		p.Err = nil // it was to fail
	}
}
