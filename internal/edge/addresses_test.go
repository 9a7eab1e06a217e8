package edge

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// asked makes a request from a peer with headers, each as "Name: value".
func asked(peer string, headers ...string) *http.Request {
	r := &http.Request{RemoteAddr: peer, Header: http.Header{}}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	return r
}

const (
	proxy   = "10.0.0.1:5000" // one of the proxies 10.0.0.0/8 and fd00::/8
	forFour = "X-Forwarded-For: 192.0.2.4"
)

func TestOf(t *testing.T) {
	long := strings.Repeat("203.0.113.9, ", 4000)
	for _, c := range []struct {
		name    string
		peer    string
		headers []string
		want    string // "" is none
	}{
		{"nobody between", "192.0.2.1:99", nil, "192.0.2.1"},
		{"IPv6 and a zone", "[fe80::1%eth0]:99", nil, "fe80::1"},
		{"mapped", "[::ffff:192.0.2.1]:99", nil, "192.0.2.1"},
		{"no port", "192.0.2.1", nil, "192.0.2.1"},
		{"Unix socket", "@", []string{forFour}, ""},
		{"a client forges", "192.0.2.1:99", []string{forFour, "Forwarded: for=192.0.2.5"}, "192.0.2.1"},

		{"a proxy alone", proxy, nil, "10.0.0.1"},
		{"behind one", proxy, []string{forFour}, "192.0.2.4"},
		{"a mapped proxy", "[::ffff:10.0.0.1]:5000", []string{forFour}, "192.0.2.4"},
		{"an IPv6 proxy", "[fd00::1]:5000", []string{forFour}, "192.0.2.4"},
		{"behind two", proxy, []string{"X-Forwarded-For: 192.0.2.4, 10.9.9.9"}, "192.0.2.4"},
		{"behind two, on two lines", proxy, []string{forFour, "X-Forwarded-For: 10.9.9.9"}, "192.0.2.4"},
		{"forged before a proxy", proxy, []string{"X-Forwarded-For: 192.0.2.66, 192.0.2.4"}, "192.0.2.4"},
		{"forged as a proxy", proxy, []string{"X-Forwarded-For: 192.0.2.66, 10.1.1.1, 192.0.2.4"}, "192.0.2.4"},
		{"forged on a line of its own", proxy, []string{"X-Forwarded-For: 192.0.2.66", forFour}, "192.0.2.4"},
		{"proxies all the way", proxy, []string{"X-Forwarded-For: 10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"no words behind a proxy", proxy, []string{"X-Forwarded-For: nonsense, 10.0.0.2"}, "10.0.0.2"},
		{"empty elements", proxy, []string{"X-Forwarded-For: 192.0.2.4, ,"}, "192.0.2.4"},
		{"empty", proxy, []string{"X-Forwarded-For: "}, "10.0.0.1"},
		{"a port", proxy, []string{"X-Forwarded-For: 192.0.2.4:1234"}, "192.0.2.4"},
		{"bare IPv6", proxy, []string{"X-Forwarded-For: 2001:db8::4"}, "2001:db8::4"},
		{"brackets", proxy, []string{"X-Forwarded-For: [2001:db8::4]"}, "2001:db8::4"},
		{"brackets and a port", proxy, []string{"X-Forwarded-For: [2001:db8::4]:80"}, "2001:db8::4"},
		{"a forged zone", proxy, []string{"X-Forwarded-For: [fe80::4%x7]:80"}, "fe80::4"},
		{"mapped in a header", proxy, []string{"X-Forwarded-For: ::ffff:192.0.2.4"}, "192.0.2.4"},
		{"a proxy mapped in a header", proxy, []string{"X-Forwarded-For: 192.0.2.4, ::ffff:10.0.0.2"}, "192.0.2.4"},
		{"an open bracket", proxy, []string{"X-Forwarded-For: [2001:db8::4"}, "10.0.0.1"},
		{"IPv4 in brackets", proxy, []string{"X-Forwarded-For: [192.0.2.4]"}, "10.0.0.1"},
		{"words behind a bracket", proxy, []string{"X-Forwarded-For: [2001:db8::4]80"}, "10.0.0.1"},
		{"no port behind a colon", proxy, []string{"X-Forwarded-For: 192.0.2.4:"}, "10.0.0.1"},
		{"a long port", proxy, []string{"X-Forwarded-For: 192.0.2.4:123456"}, "10.0.0.1"},
		{"unknown", proxy, []string{"X-Forwarded-For: unknown"}, "10.0.0.1"},
		{"as long as it may be", proxy, []string{"X-Forwarded-For: 192.0.2.4" + strings.Repeat(", 10.0.0.2", maxHops-1)}, "192.0.2.4"},
		{"too many proxies", proxy, []string{"X-Forwarded-For: 192.0.2.4" + strings.Repeat(", 10.0.0.2", maxHops)}, "10.0.0.2"},
		{"a long header", proxy, []string{"X-Forwarded-For: " + long + "192.0.2.4"}, "192.0.2.4"},
		{"a long element", proxy, []string{"X-Forwarded-For: " + strings.Repeat("x", maxElement) + "192.0.2.4"}, "10.0.0.1"},

		{"RFC 7239", proxy, []string{"Forwarded: for=192.0.2.4"}, "192.0.2.4"},
		{"with everything", proxy, []string{`Forwarded: by=10.0.0.2; FOR="[2001:db8::4]:4711" ;proto=http;host="a,b"`}, "2001:db8::4"},
		{"an obscured port", proxy, []string{`Forwarded: for="192.0.2.4:_x"`}, "192.0.2.4"},
		{"two elements", proxy, []string{"Forwarded: for=192.0.2.4, for=10.0.0.2"}, "192.0.2.4"},
		{"two lines", proxy, []string{"Forwarded: for=192.0.2.4", "Forwarded: for=10.0.0.2"}, "192.0.2.4"},
		{"a forged element", proxy, []string{"Forwarded: for=192.0.2.66, for=192.0.2.4"}, "192.0.2.4"},
		{"a forged open quote", proxy, []string{`Forwarded: for=", for=192.0.2.4`}, "192.0.2.4"},
		{"a backslash that hides nothing", proxy, []string{`Forwarded: for=192.0.2.4;host="a\b"`}, "192.0.2.4"},
		{"a long parameter", proxy, []string{"Forwarded: for=192.0.2.4;x=" + strings.Repeat("x", maxElement)}, "10.0.0.1"},
		{"a forged open quote with a backslash", proxy, []string{`Forwarded: for="\, for=192.0.2.4`}, "192.0.2.4"},
		{"a forged host in quotes", proxy, []string{`Forwarded: for=192.0.2.4;host="x\", for=192.0.2.66;b=\""`}, "10.0.0.1"},
		{"an obscured client", proxy, []string{"Forwarded: for=192.0.2.66, for=_hidden, for=10.0.0.2"}, "10.0.0.2"},
		{"an unknown client", proxy, []string{`Forwarded: for=192.0.2.66, for="Unknown"`}, "10.0.0.1"},
		{"no client", proxy, []string{"Forwarded: proto=https"}, "10.0.0.1"},
		{"two clients", proxy, []string{"Forwarded: for=192.0.2.4;for=192.0.2.5"}, "10.0.0.1"},
		{"no parameter", proxy, []string{"Forwarded: 192.0.2.4"}, "10.0.0.1"},
		{"no name", proxy, []string{"Forwarded: =192.0.2.4"}, "10.0.0.1"},
		{"half a quote", proxy, []string{`Forwarded: for="192.0.2.4`}, "10.0.0.1"},
		{"an inner quote", proxy, []string{`Forwarded: for=192.0."2.4"`}, "10.0.0.1"},

		{"both headers", proxy, []string{forFour, "Forwarded: for=192.0.2.4"}, "192.0.2.4"},
		{"the other header forged", proxy, []string{forFour, "Forwarded: for=192.0.2.66"}, "10.0.0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := Addresses{Proxies: prefixes(t, "10.0.0.0/8", "fd00::/8")}
			want, _ := netip.ParseAddr(c.want)
			if got := a.Of(asked(c.peer, c.headers...)); got != want {
				t.Errorf("is %s, want %s", got, want)
			}
		})
	}
}

// What a client sends and what each proxy adds: the one that is not ours cannot
// say who its client is.
func TestProxyOfSomebodyElse(t *testing.T) {
	a := Addresses{Proxies: prefixes(t, "10.0.0.1")}
	evil := "X-Forwarded-For: 192.0.2.1, 203.0.113.66"
	if got := a.Of(asked("10.0.0.1:1", evil)).String(); got != "203.0.113.66" {
		t.Errorf("through our proxy: %s", got)
	}
	if got := a.Of(asked("203.0.113.66:1", evil)).String(); got != "203.0.113.66" {
		t.Errorf("past our proxy: %s", got)
	}
	if got := (Addresses{}).Of(asked("10.0.0.1:1", evil)).String(); got != "10.0.0.1" {
		t.Errorf("without proxies: %s", got)
	}
}

func TestNamedHeaderAloneIsRead(t *testing.T) {
	all := []string{forFour, "Forwarded: for=192.0.2.5;proto=https", "X-Real-Ip: 192.0.2.6", "X-Forwarded-Proto: http"}
	for header, want := range map[string]string{
		"x-forwarded-for": "192.0.2.4", "forwarded": "192.0.2.5", "X-Real-IP": "192.0.2.6", "CF-Connecting-IP": "10.0.0.1",
	} {
		a := Addresses{Proxies: prefixes(t, "10.0.0.0/8"), Header: header}
		if got := a.Of(asked(proxy, all...)).String(); got != want {
			t.Errorf("%s: %s, want %s", header, got, want)
		}
		if got, want := a.Secure(asked(proxy, all...)), header == "forwarded"; got != want {
			t.Errorf("%s: secure is %t", header, got)
		}
	}
}

func TestSecure(t *testing.T) {
	const other = "192.0.2.1:99"
	for _, c := range []struct {
		name    string
		peer    string
		tls     bool
		headers []string
		want    bool
	}{
		{"plain", other, false, nil, false},
		{"TLS", other, true, nil, true},
		{"a client forges", other, false, []string{"X-Forwarded-Proto: https", "Forwarded: for=192.0.2.1;proto=https"}, false},
		{"a client forges less", other, true, []string{"X-Forwarded-Proto: http"}, true},
		{"a silent proxy", proxy, false, nil, false},
		{"a silent proxy by TLS", proxy, true, nil, true},
		{"a proxy says so", proxy, false, []string{"X-Forwarded-Proto: https"}, true},
		{"in capitals, for a WebSocket", proxy, false, []string{"X-Forwarded-Proto: WSS"}, true},
		{"a proxy by TLS for a plain client", proxy, true, []string{"X-Forwarded-Proto: http"}, false},
		{"forged before a proxy", proxy, false, []string{"X-Forwarded-Proto: https, http"}, false},
		{"forged before a proxy, on a line", proxy, false, []string{"X-Forwarded-Proto: https", "X-Forwarded-Proto: http"}, false},
		{"RFC 7239", proxy, false, []string{`Forwarded: for=192.0.2.1;proto="https"`}, true},
		{"the client's step counts", proxy, false, []string{"Forwarded: for=192.0.2.1;proto=https, for=10.0.0.2;proto=http"}, true},
		{"not that of what it forges", proxy, false, []string{"Forwarded: for=192.0.2.9;proto=https, for=192.0.2.1;proto=http"}, false},
		{"not that of a proxy", proxy, false, []string{"Forwarded: for=192.0.2.1, for=10.0.0.2;proto=https"}, false},
		{"an unknown client's", proxy, false, []string{"Forwarded: for=unknown;proto=https"}, true},
		{"a hidden client's too", proxy, false, []string{"Forwarded: for=_x;proto=https"}, true},
		{"both", proxy, false, []string{"Forwarded: for=192.0.2.1;proto=https", "X-Forwarded-Proto: https"}, true},
		{"a contradiction", proxy, false, []string{"Forwarded: for=192.0.2.1;proto=https", "X-Forwarded-Proto: http"}, false},
		{"nonsense", proxy, false, []string{"X-Forwarded-Proto: gopher"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := asked(c.peer, c.headers...)
			if c.tls {
				r.TLS = &tls.ConnectionState{}
			}
			if got := (Addresses{Proxies: prefixes(t, "10.0.0.0/8")}).Secure(r); got != c.want {
				t.Errorf("is %t", got)
			}
		})
	}
}

func TestParsePrefixes(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.7": "10.0.0.7/32", "10.0.0.0/8": "10.0.0.0/8", "fd00::/8": "fd00::/8", "::1": "::1/128",
		"::ffff:10.0.0.7": "10.0.0.7/32", "::ffff:10.0.0.0/104": "10.0.0.0/8",
	} {
		if got, err := ParsePrefixes([]string{in}); err != nil || got[0].String() != want {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
	for in, want := range map[string]string{
		"":                  `"" is no address and no network: want such as 10.0.0.7`,
		"proxy.example.com": "is no address",
		"10.0.0.0/33":       "is no address",
		"10.0.0.7:80":       "is no address",
		"fe80::1%eth0":      "is no address",
		"10.0.0.7/8":        "want 10.0.0.0/8, or the address 10.0.0.7 alone",
		"::ffff:0.0.0.0/95": "want",
	} {
		if got, err := ParsePrefixes([]string{"10.0.0.1", in}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v, want %s", in, got, err, want)
		}
	}
}

func TestNetwork(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "::ffff:192.0.2.1": "192.0.2.1/32", "2001:db8:1:2:3::4": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := Network(netip.MustParseAddr(in)).String(); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	if got := Network(netip.Addr{}); got != (netip.Prefix{}) {
		t.Errorf("of nothing: %s", got)
	}
}

func FuzzAddresses(f *testing.F) {
	f.Add("192.0.2.1:99", `for="[2001:db8::4]:4711";proto=https, for=10.0.0.2`, "192.0.2.4, 10.0.0.2")
	f.Add(proxy, `for=_x;host="a,b;c\""`, "unknown, [::1")
	f.Add(proxy, `for="`, strings.Repeat(",", 100))
	proxies := prefixes(f, "10.0.0.0/8", "fd00::/8")
	f.Fuzz(func(t *testing.T, peer, forwarded, listed string) {
		a := Addresses{Proxies: proxies}
		r := asked(peer)
		r.Header["Forwarded"], r.Header["X-Forwarded-For"] = []string{forwarded}, []string{listed}
		own := Addresses{}.Of(r)
		got := a.Of(r)
		a.Secure(r)
		if got.Zone() != "" || got.Is4In6() {
			t.Errorf("%s is not plain", got)
		}
		if got != own && !within(own, proxies) {
			t.Errorf("%s was believed about %s", own, got)
		}
		// What a proxy adds behind all that comes is what counts.
		r.RemoteAddr = proxy
		r.Header["Forwarded"] = []string{forwarded + `, for="192.0.2.4:1"`}
		r.Header["X-Forwarded-For"] = []string{listed + ", 192.0.2.4"}
		if got := a.Of(r).String(); got != "192.0.2.4" {
			t.Errorf("%s in place of what the proxy says", got)
		}
	})
}
