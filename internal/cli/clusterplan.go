package cli

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/lzstock/lzstock/internal/cluster"
	"github.com/lzstock/lzstock/internal/feed"
)

// Groups start one after the other, and end in reverse: the clients first.
const (
	groupNodes = iota
	groupMonitors
	groupFeed
	groupGateways
)

// ports is how many ports a cluster takes.
func (c clusterUpCmd) ports() int { return 2*c.Gateways + 2*c.Monitors + 3*c.Nodes + 1 }

// plan says which processes there are. ports is taken from the front.
func (c clusterUpCmd) plan(dir, names string, ports []int) []cluster.Process {
	take := func(n int) []string {
		out := make([]string, n)
		for i := range out {
			out[i] = cluster.Address(ports[i])
		}
		ports = ports[n:]
		return out
	}
	gateways, monitors, servers, routes := take(c.Gateways), take(c.Monitors), take(c.Nodes), take(c.Nodes)
	urls := make([]string, c.Nodes)
	for i, addr := range servers {
		urls[i] = "nats://" + addr
	}
	nats := strings.Join(urls, ",")
	copies := strconv.Itoa(min(c.Nodes, 3))

	var all []cluster.Process
	add := func(group int, name, where string, args ...string) {
		admin := take(1)[0]
		args = append(args, "--admin", admin, "--log-format", "text", "--with-parent")
		all = append(all, cluster.Process{Name: name, Group: group, Args: args, Where: where, Admin: admin})
	}
	for i := range c.Nodes {
		name := fmt.Sprint("node-", i)
		args := []string{"bus", "--name", name, "--nats-listen", servers[i], "--data", filepath.Join(dir, name)}
		if c.Nodes > 1 {
			args = append(args, "--cluster-listen", routes[i], "--routes", strings.Join(routes, ","))
		}
		add(groupNodes, name, urls[i], args...)
	}
	for i, addr := range monitors {
		name := fmt.Sprint("monitor-", i)
		args := []string{"monitor", "--grpc", addr, "--replica", name, "--nats", nats, "--keep-copies", copies}
		if names != "" {
			args = append(args, "--names", names)
		}
		add(groupMonitors, name, addr, args...)
	}
	if args := feedArgs(c.Source.Source); args != nil {
		add(groupFeed, "feed", c.Source.String(), append(args, "--nats", nats, "--keep-copies", copies)...)
	}
	for i, addr := range gateways {
		add(groupGateways, fmt.Sprint("gateway-", i), "ws://"+addr+"/v1/stream", "gateway", "--listen", addr,
			"--monitor", strings.Join(rotate(monitors, i), ","), "--session-nats", nats, "--keep-copies", copies)
	}
	return all
}

// rotate begins a list with its i-th, so that gateways spread over monitors.
func rotate(list []string, i int) []string {
	i %= len(list)
	return append(append([]string{}, list[i:]...), list[:i]...)
}

// feedArgs says a source as a command of its own; nil where there is none.
func feedArgs(s *feed.Source) []string {
	switch {
	case s == nil:
		return nil
	case s.Sim != nil:
		return []string{
			"feed", "sim", "--seed", strconv.FormatUint(s.Sim.Seed, 10),
			"--symbols", strconv.Itoa(s.Sim.Symbols), "--rate", strconv.Itoa(s.Sim.Rate),
			"--halts", strconv.Itoa(s.Sim.HaltsAnHour()),
		}
	}
	t := s.Tape
	return []string{
		"feed", "tape", t.File, "--speed", fmt.Sprint(t.Speed), "--offset", t.Offset.String(),
		fmt.Sprintf("--loop=%t", t.Loop), fmt.Sprintf("--skip-bad=%t", t.SkipBad),
	}
}
