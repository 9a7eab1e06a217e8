package edge

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Hosts says for which hosts a listener answers. It stops DNS rebinding: a foreign
// page whose name has been made to lead to this listener sends that name, and counts
// as the listener's own page otherwise. Programs that send no Host always may.
//
// On loopback the names are localhost, all below it, and loopback's addresses.
// Elsewhere they are all IP addresses, as health checks and Prometheus use them,
// and names without a dot, as containers have them: no foreign DNS answers for
// either.
type Hosts struct {
	Loopback bool     // the listener is on loopback
	Allow    []string // more, as ParseHosts returns them
	Flag     string   // that adds to Allow, named in refusals
}

// Check returns nil if a request is for one of the hosts, or what would allow it.
func (h Hosts) Check(r *http.Request) error {
	if r.Host == "" {
		return nil
	}
	host, _, err := cutPort(strings.ToLower(r.Host))
	if err != nil {
		return fmt.Errorf("host %.100q: %w", r.Host, err)
	}
	if h.own(host) || slices.ContainsFunc(h.Allow, func(pattern string) bool {
		below, wild := strings.CutPrefix(pattern, "*.")
		return pattern == "*" || host == pattern || wild && strings.HasSuffix(host, "."+below)
	}) {
		return nil
	}
	return fmt.Errorf("host %s is not known here: ask by address, or allow it with %s %s", host, h.Flag, host)
}

// own reports whether a host needs no setting.
func (h Hosts) own(host string) bool {
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if !h.Loopback {
		return err == nil || !strings.Contains(host, ".")
	}
	return err == nil && addr.Unmap().IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// ParseHosts reads what Hosts.Allow holds: names and addresses without ports,
// *.example.com for all below example.com, or * for all.
func ParseHosts(list []string) ([]string, error) {
	out := make([]string, 0, len(list))
	for _, s := range list {
		name, _ := strings.CutPrefix(s, "*.")
		host, port, err := cutPort(strings.ToLower(name))
		if err == nil && port != "" {
			err = errors.New("it has a port, and all ports are the same here")
		}
		if err != nil && s != "*" {
			return nil, fmt.Errorf("host %q: %w; want such as example.com, *.example.com, 192.0.2.1, [2001:db8::1] or *", s, err)
		}
		if s != "*" {
			s = strings.TrimSuffix(s, name) + host
		}
		out = append(out, s)
	}
	return out, nil
}
