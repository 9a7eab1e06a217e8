package upstream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
)

// dnsScheme may stand before a monitor's name, as gRPC writes targets.
const dnsScheme = "dns:///"

// target is one monitor: an address, and the HOST:PORT that it was looked up by.
type target struct{ addr, name string }

// targets knows which monitors there are. Its methods are the connector's, or those
// of a goroutine that the connector waits for.
type targets struct {
	names  []string
	lookup func(ctx context.Context, host string) ([]string, error) // nil: names are addresses
	known  map[string][]target                                      // by name, as it was answered last
}

func newTargets(c *Config) *targets {
	t := &targets{lookup: c.Lookup, known: map[string][]target{}}
	if t.lookup == nil && c.Dial == nil {
		t.lookup = net.DefaultResolver.LookupHost
	}
	for _, m := range c.Monitors {
		t.names = append(t.names, strings.TrimPrefix(m, dnsScheme))
	}
	return t
}

// all looks every name up, and gives the addresses, each once. A name that is not
// answered before ctx ends, or not at all, counts as what it was before. The error
// says which names are not known; there may be targets all the same.
func (t *targets) all(ctx context.Context) ([]target, error) {
	found := make([][]target, len(t.names))
	failed := make([]error, len(t.names))
	var asked sync.WaitGroup
	for i, name := range t.names {
		asked.Go(func() { found[i], failed[i] = t.one(ctx, name) })
	}
	asked.Wait()
	var out []target
	for i, name := range t.names {
		if failed[i] == nil {
			t.known[name] = found[i]
		} else if found[i] = t.known[name]; found[i] != nil {
			failed[i] = nil
		}
		for _, m := range found[i] {
			if !slices.ContainsFunc(out, func(o target) bool { return o.addr == m.addr }) {
				out = append(out, m)
			}
		}
	}
	return out, errors.Join(failed...)
}

func (t *targets) one(ctx context.Context, name string) ([]target, error) {
	host, port, err := net.SplitHostPort(name)
	if err != nil {
		return nil, fmt.Errorf("monitor %q: %w", name, err)
	}
	if t.lookup == nil || net.ParseIP(host) != nil {
		return []target{{addr: name, name: name}}, nil
	}
	addrs, err := t.lookup(ctx, host)
	if err == nil && len(addrs) == 0 {
		err = errors.New("the name has no address")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errUnresolved, name, err)
	}
	var out []target
	for _, a := range addrs {
		out = append(out, target{addr: net.JoinHostPort(a, port), name: name})
	}
	return out, nil
}

// order gives the monitors in the order in which to try them: at random, so that
// gateways spread, but first the one that is wanted, where there is one, and last
// those that are shunned.
func order(all []target, wanted string, shunned map[string]bool) []target {
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	rank := func(m target) int {
		switch {
		case m.addr == wanted:
			return 0
		case shunned[m.addr]:
			return 2
		}
		return 1
	}
	slices.SortStableFunc(all, func(a, b target) int { return rank(a) - rank(b) })
	maps.DeleteFunc(shunned, func(addr string, _ bool) bool {
		return !slices.ContainsFunc(all, func(m target) bool { return m.addr == addr })
	})
	return all
}
