package edge

import (
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// maxElement is the length in bytes that an element of a header may have.
const maxElement = 512

var (
	errTwice  = errors.New("a parameter is given twice")
	errQuotes = errors.New("quotes do not match")
)

// elements gives the elements of a comma list, the last first: that is the order
// in which they can be believed. What a client has sent stands before what
// proxies have added, so quotes that it leaves open do not reach these. A last
// element that is too long ends the list.
func elements(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range slices.Backward(lines) {
			for rest, more := line, true; more; {
				var element string
				var ok bool
				if rest, element, more, ok = cutLast(rest); !ok {
					return
				}
				if element = strings.Trim(element, " \t"); element != "" && !yield(element) {
					return
				}
			}
		}
	}
}

// cutLast cuts the last element off; more says whether there is another.
func cutLast(s string) (rest, element string, more, ok bool) {
	quoted := false
	for i := len(s) - 1; i >= 0; i-- {
		switch {
		case len(s)-i > maxElement:
			return "", "", false, false
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ',' && !quoted:
			return s[:i], s[i+1:], true, true
		}
	}
	return "", s, false, true
}

// lastValue gives the last element of a header.
func lastValue(r *http.Request, header string) string {
	for element := range elements(r.Header.Values(header)) {
		return element
	}
	return ""
}

// readListed reads an element of X-Forwarded-For.
func readListed(element string) (hop, error) {
	addr, err := readNode(element)
	return hop{addr: addr}, err
}

// readForwarded reads an element of Forwarded. Its address is invalid where it
// gives none.
func readForwarded(element string) (h hop, err error) {
	var node string
	for pair := range strings.SplitSeq(element, ";") {
		if pair = strings.Trim(pair, " \t"); pair == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return h, fmt.Errorf("%q is no parameter", pair)
		}
		if value, err = unquote(value); err != nil {
			return h, err
		}
		var to *string
		switch {
		case strings.EqualFold(name, "for"):
			to = &node
		case strings.EqualFold(name, "proto"):
			to = &h.proto
		default:
			continue
		}
		if *to != "" {
			return h, errTwice
		}
		*to = value
	}
	if node != "" {
		h.addr, err = readNode(node)
	}
	return h, err
}

// unquote takes the quotes off. Addresses and protocols hold none, and what has
// been cut inside quotes, at a comma or a semicolon, has one without its like.
func unquote(value string) (string, error) {
	if inner, ok := strings.CutPrefix(value, `"`); ok {
		if value, ok = strings.CutSuffix(inner, `"`); !ok {
			return "", errQuotes
		}
	}
	if strings.Contains(value, `"`) {
		return "", errQuotes
	}
	return value, nil
}

// readNode reads an address with its port or without. It is invalid where its
// owner hides it: as unknown, or behind a name that begins with an underscore.
func readNode(s string) (netip.Addr, error) {
	if strings.EqualFold(s, "unknown") || strings.HasPrefix(s, "_") {
		return netip.Addr{}, nil
	}
	host, port, six := s, "", false
	if inner, ok := strings.CutPrefix(s, "["); ok {
		if host, port, six = strings.Cut(inner, "]"); !six {
			return netip.Addr{}, fmt.Errorf("%q opens a bracket and does not close it", s)
		}
	} else if strings.Count(s, ":") == 1 {
		i := strings.IndexByte(s, ':')
		host, port = s[:i], s[i:]
	}
	if port != "" && !isPort(port) {
		return netip.Addr{}, fmt.Errorf("%q has no port behind its address", s)
	}
	addr, err := netip.ParseAddr(host)
	if err == nil && six && !addr.Is6() {
		err = fmt.Errorf("%q has brackets, which are for IPv6", s)
	}
	if err != nil {
		return netip.Addr{}, err
	}
	return plain(addr), nil
}

// isPort reports whether s is a colon with a port, or with a name that hides it.
func isPort(s string) bool {
	s, ok := strings.CutPrefix(s, ":")
	if strings.HasPrefix(s, "_") {
		return true
	}
	return ok && s != "" && len(s) <= 5 && strings.Trim(s, "0123456789") == ""
}
