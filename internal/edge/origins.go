package edge

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"
)

// Origins says which web pages may use the gateway. Its zero value lets those of
// the gateway's own host. Programs send no Origin, and always may: this protects
// the users of browsers, and no secret.
type Origins struct {
	// Allow holds, as ParseOrigins gives them: origins, such as
	// https://app.example.com; https://*.example.com for all below example.com,
	// itself not among them; "null" for pages without an origin, such as files;
	// "*" for all others.
	Allow []string

	// Addresses tells what came by TLS. With its zero value it is what this process
	// has itself taken TLS off.
	Addresses Addresses
}

// maxOrigin is the length in bytes that an origin may have.
const maxOrigin = 300

// noOrigin is the origin of pages that have none.
const noOrigin = "null"

// Check returns nil where the page that a request comes from may use the gateway,
// or what forbids it, and which flag would allow it.
func (o Origins) Check(r *http.Request) error {
	given := r.Header.Values("Origin")
	switch {
	case len(given) == 0:
		return nil
	case len(given) > 1:
		return fmt.Errorf("the request has %d Origin headers: want one, or none", len(given))
	case given[0] == noOrigin:
		if slices.Contains(o.Allow, noOrigin) {
			return nil
		}
		return errors.New("the page has no origin (null), as files and sandboxed frames have none: serve it by http, or allow it with --origins null")
	}
	from, err := parseOrigin(given[0])
	if err != nil {
		return fmt.Errorf("origin %.100q: %w", given[0], err)
	}
	if slices.ContainsFunc(o.Allow, from.matches) {
		return nil
	}
	own, err := parseOrigin(from.scheme + "://" + r.Host)
	web := from.scheme == "http" || from.scheme == "https"
	switch {
	case !web || err != nil || from != own:
		return fmt.Errorf("origin %s is not that of this host: allow it with --origins %s", from, from)
	case from.scheme == "http" && o.Addresses.Secure(r):
		return fmt.Errorf("origin %s is a page without TLS, which others may have changed: open it by https, or allow it with --origins %s", from, from)
	}
	return nil
}

// ParseOrigins reads what Origins.Allow holds.
func ParseOrigins(list []string) ([]string, error) {
	out := make([]string, 0, len(list))
	for _, s := range list {
		if s == "*" || s == noOrigin {
			out = append(out, s)
			continue
		}
		plain, wild := cutWild(s)
		parsed, err := parseOrigin(plain)
		if err == nil && wild && strings.HasPrefix(parsed.host, "[") {
			err = errors.New("nothing is below an address")
		}
		if err != nil {
			return nil, fmt.Errorf("origin %q: %w; want such as https://app.example.com, https://*.example.com, null or *", s, err)
		}
		text := parsed.String()
		if wild {
			text = parsed.scheme + "://*." + strings.TrimPrefix(text, parsed.scheme+"://")
		}
		out = append(out, text)
	}
	return out, nil
}

// origin is where a page comes from, in lower case; the port is "" where it is
// the scheme's own.
type origin struct{ scheme, host, port string }

// String writes an origin as browsers do.
func (o origin) String() string {
	if o.port != "" {
		return o.scheme + "://" + o.host + ":" + o.port
	}
	return o.scheme + "://" + o.host
}

// matches reports whether a pattern of Allow lets o.
func (o origin) matches(pattern string) bool {
	if pattern == "*" {
		return true
	}
	plain, wild := cutWild(pattern)
	p, err := parseOrigin(plain)
	if err != nil {
		return false
	}
	if wild {
		return o.scheme == p.scheme && o.port == p.port && strings.HasSuffix(o.host, "."+p.host)
	}
	return o == p
}

// cutWild takes the first label off where it is a star.
func cutWild(pattern string) (string, bool) {
	scheme, rest, ok := strings.Cut(pattern, "://*.")
	if !ok {
		return pattern, false
	}
	return scheme + "://" + rest, true
}

// parseOrigin reads a scheme and a host, perhaps with a port, and nothing else.
func parseOrigin(s string) (o origin, err error) {
	if len(s) > maxOrigin {
		return o, fmt.Errorf("it has %d bytes: want at most %d", len(s), maxOrigin)
	}
	if strings.ContainsFunc(s, func(c rune) bool { return c >= utf8.RuneSelf }) {
		return o, errors.New("it has letters beyond ASCII: browsers write them as xn--")
	}
	scheme, rest, ok := strings.Cut(strings.ToLower(s), "://")
	if !ok || scheme == "" || !only(scheme, "+-.") {
		return o, errors.New("it does not begin with a scheme and ://")
	}
	if i := strings.IndexAny(rest, "/?#@"); i >= 0 {
		return o, fmt.Errorf("it has a %q: nothing but a scheme, a host and perhaps a port belongs there", rest[i])
	}
	o.scheme = scheme
	if o.host, o.port, err = cutPort(rest); err != nil {
		return origin{}, err
	}
	switch {
	case o.port == "80" && (scheme == "http" || scheme == "ws"), o.port == "443" && (scheme == "https" || scheme == "wss"):
		o.port = ""
	}
	return o, nil
}

// cutPort reads a host, and its port where it has one.
func cutPort(s string) (host, port string, err error) {
	host = s
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		host, port = s[:i], s[i+1:]
		if len(port) > 5 || strings.Trim(port, "0123456789") != "" || strings.HasPrefix(port, "0") || port == "" {
			return "", "", fmt.Errorf("%q is no port", port)
		}
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil || !addr.Is6() || addr.Zone() != "" || !strings.HasSuffix(inner, "]") {
			return "", "", fmt.Errorf("%q is no IPv6 address", host)
		}
		return "[" + addr.String() + "]", port, nil
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" {
			return "", "", fmt.Errorf("%q is no host: a part of it is empty", host)
		}
		if !only(label, "-_") {
			return "", "", fmt.Errorf("%q is no host: want letters, digits, - and _ between its dots", host)
		}
	}
	return host, port, nil
}

// only reports whether s has small letters, digits and those of others only.
func only(s, others string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.ContainsRune(others, c)
	})
}
