package edge

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Addresses tells who a client is. Its zero value believes nobody: a client is
// who has connected.
type Addresses struct {
	// Proxies are the proxies in front of the gateway, as ParsePrefixes gives them.
	// What they say about a client is believed.
	Proxies []netip.Prefix

	// Header is where they say it: Forwarded (RFC 7239), or a header that lists
	// addresses, such as X-Forwarded-For. "" is whichever of these two a request
	// has. Most proxies pass on what they do not know, so one of the two may be
	// the client's own: where a request has both and they say different things,
	// neither is believed. Naming the header that the proxies write is better.
	Header string
}

// maxHops is how many addresses of a header are read.
const maxHops = 32

// forwarded is the header of RFC 7239.
const forwarded = "Forwarded"

// Of gives a client's address: that of the peer or, where the peer is a proxy,
// the last one in the header that is no proxy. Where the header ends, is
// malformed or hides who the client is, it is the last proxy that is known. It
// is not mapped into IPv6 and has no zone; it is invalid where the peer has none.
func (a Addresses) Of(r *http.Request) netip.Addr { return a.client(r).addr }

// Secure reports whether a client came by TLS: what a proxy says or, where none
// says anything, what the connection is. Where proxies contradict each other, it
// is false.
func (a Addresses) Secure(r *http.Request) bool {
	if !within(peer(r), a.Proxies) {
		return r.TLS != nil
	}
	said := []string{a.client(r).proto}
	if !strings.EqualFold(a.Header, forwarded) {
		said = append(said, lastValue(r, "X-Forwarded-Proto"))
	}
	said = slices.DeleteFunc(said, func(proto string) bool { return proto == "" })
	if len(said) == 0 {
		return r.TLS != nil
	}
	return !slices.ContainsFunc(said, func(proto string) bool {
		return !strings.EqualFold(proto, "https") && !strings.EqualFold(proto, "wss")
	})
}

// hop is who has sent a request on, and by which protocol it came from there.
type hop struct {
	addr  netip.Addr
	proto string
}

func (a Addresses) client(r *http.Request) hop {
	from := hop{addr: peer(r)}
	if !within(from.addr, a.Proxies) {
		return from
	}
	if a.Header != "" {
		return a.walk(from, r, a.Header)
	}
	const list = "X-Forwarded-For"
	one, other := a.walk(from, r, forwarded), a.walk(from, r, list)
	switch {
	case len(r.Header.Values(list)) == 0:
		return one
	case len(r.Header.Values(forwarded)) == 0:
		return other
	case one.addr == other.addr:
		return one
	}
	return from
}

// walk goes from the peer outward, from one proxy to the next.
func (a Addresses) walk(at hop, r *http.Request, header string) hop {
	read := readListed
	if strings.EqualFold(header, forwarded) {
		read = readForwarded
	}
	hops := 0
	for element := range elements(r.Header.Values(header)) {
		h, err := read(element)
		if hops++; err != nil || hops > maxHops {
			break
		}
		at.proto = h.proto
		if !h.addr.IsValid() {
			break
		}
		at.addr = h.addr
		if !within(at.addr, a.Proxies) {
			break
		}
	}
	return at
}

// peer gives the address that has connected.
func peer(r *http.Request) netip.Addr { return addrOf(r.RemoteAddr) }

// addrOf reads what net gives as an address, with its port or without.
func addrOf(s string) netip.Addr {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return plain(ap.Addr())
	}
	addr, _ := netip.ParseAddr(s) // a Unix socket has none
	return plain(addr)
}

// plain gives an address as all are compared here. A zone names an interface of
// somebody's machine, and a forged one would make many clients of one.
func plain(addr netip.Addr) netip.Addr { return addr.WithZone("").Unmap() }

func within(addr netip.Addr, prefixes []netip.Prefix) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// Network gives what clients are counted by: an IPv4 address or an IPv6 network
// of 64 bits, all of which one client has.
func Network(addr netip.Addr) netip.Prefix {
	addr = plain(addr)
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits) // fails for the invalid address, whose network is invalid
	return p
}

// ParsePrefixes reads addresses and networks, such as 10.0.0.7, 10.0.0.0/8 and
// fd00::/8.
func ParsePrefixes(list []string) ([]netip.Prefix, error) {
	out := make([]netip.Prefix, 0, len(list))
	for _, s := range list {
		p, err := parsePrefix(s)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if addr, failed := netip.ParseAddr(s); failed == nil && addr.Zone() == "" {
		p, err = addr.Prefix(addr.BitLen())
	}
	if err != nil {
		return p, fmt.Errorf("%q is no address and no network: want such as 10.0.0.7, 10.0.0.0/8 or fd00::/8", s)
	}
	if p != p.Masked() {
		return p, fmt.Errorf("network %s has bits set beyond its length: want %s, or the address %s alone", s, p.Masked(), p.Addr())
	}
	if p.Addr().Is4In6() { // so it has 96 bits at least
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p, nil
}
