package edge

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// from makes a request to a host from a page of origins.
func from(host string, secure bool, origins ...string) *http.Request {
	r := &http.Request{Method: http.MethodGet, Host: host, Header: http.Header{}, RemoteAddr: "192.0.2.1:99"}
	if secure {
		r.TLS = &tls.ConnectionState{}
	}
	r.Header["Origin"] = origins
	return r
}

func TestCheck(t *testing.T) {
	all := []string{"*"}
	some := []string{"https://app.example.com", "https://*.example.org", "https://*.example.net:8443", "capacitor://localhost", "http://[::1]:3000"}
	for _, c := range []struct {
		name   string
		allow  []string
		host   string
		secure bool
		origin []string
		want   string // part of the error; "" is none
	}{
		{"a program", nil, "lz.example", true, nil, ""},
		{"own host", nil, "lz.example", true, []string{"https://lz.example"}, ""},
		{"own host in capitals", nil, "LZ.example", true, []string{"https://lz.EXAMPLE"}, ""},
		{"own host, port said by one", nil, "lz.example:443", true, []string{"https://lz.example"}, ""},
		{"own host, port said by the other", nil, "lz.example", false, []string{"http://lz.example:80"}, ""},
		{"own host with a port", nil, "localhost:8080", false, []string{"http://localhost:8080"}, ""},
		{"own IPv6 host", nil, "[::1]:8080", false, []string{"http://[::1]:8080"}, ""},
		{"own host behind an unknown proxy", nil, "lz.example", false, []string{"https://lz.example"}, ""},
		{"own host without TLS", nil, "lz.example", true, []string{"http://lz.example"}, "page without TLS"},
		{"own host without TLS, allowed", []string{"http://lz.example"}, "lz.example", true, []string{"http://lz.example"}, ""},
		{"another port", nil, "localhost:8080", false, []string{"http://localhost:3000"}, "--origins http://localhost:3000"},
		{"a page's default port", nil, "localhost:8080", false, []string{"http://localhost"}, "--origins http://localhost"},
		{"another host", nil, "lz.example", true, []string{"https://evil.example"}, "--origins https://evil.example"},
		{"own host's name in front", nil, "lz.example", true, []string{"https://lz.example.evil.example"}, "not that of this host"},
		{"own host's name behind", nil, "lz.example", true, []string{"https://evillz.example"}, "not that of this host"},
		{"own host by another scheme", nil, "lz.example", true, []string{"app://lz.example"}, "not that of this host"},
		{"no host", nil, "", true, []string{"https://evil.example"}, "not that of this host"},
		{"no origin that can be read", nil, "lz.example", true, []string{"lz.example"}, "does not begin with a scheme"},
		{"empty", nil, "lz.example", true, []string{""}, `origin ""`},
		{"two", all, "lz.example", true, []string{"https://lz.example", "https://lz.example"}, "has 2 Origin headers"},
		{"a path", all, "lz.example", true, []string{"https://lz.example/"}, "'/'"},
		{"a user", all, "lz.example", true, []string{"https://lz.example@evil.example"}, "'@'"},
		{"long", all, "lz.example", true, []string{"https://" + strings.Repeat("a", 400)}, "at most 300"},
		{"letters beyond ASCII", all, "lz.example", true, []string{"https://\u212a.example"}, "xn--"},

		{"anybody", all, "lz.example", true, []string{"https://evil.example"}, ""},
		{"anybody is somebody", all, "lz.example", true, []string{"null"}, "--origins null"},
		{"nobody, by name", []string{"null"}, "lz.example", true, []string{"null"}, ""},
		{"nobody allowed is not anybody", []string{"null"}, "lz.example", true, []string{"https://evil.example"}, "not that"},
		{"exact", some, "lz.example", true, []string{"https://app.example.com"}, ""},
		{"exact with the default port", some, "lz.example", true, []string{"https://APP.example.com:443"}, ""},
		{"exact by another scheme", some, "lz.example", true, []string{"http://app.example.com"}, "not that"},
		{"exact by another port", some, "lz.example", true, []string{"https://app.example.com:8443"}, "not that"},
		{"below exact", some, "lz.example", true, []string{"https://x.app.example.com"}, "not that"},
		{"an app", some, "lz.example", true, []string{"capacitor://localhost"}, ""},
		{"IPv6", some, "lz.example", true, []string{"http://[0::1]:3000"}, ""},
		{"wild", some, "lz.example", true, []string{"https://a.example.org"}, ""},
		{"wild, two labels", some, "lz.example", true, []string{"https://b.a.example.org"}, ""},
		{"wild, no label", some, "lz.example", true, []string{"https://example.org"}, "not that"},
		{"wild, empty label", some, "lz.example", true, []string{"https://.example.org"}, "is empty"},
		{"wild, another name", some, "lz.example", true, []string{"https://evilexample.org"}, "not that"},
		{"wild, in front", some, "lz.example", true, []string{"https://a.example.org.evil.example"}, "not that"},
		{"wild, by another scheme", some, "lz.example", true, []string{"http://a.example.org"}, "not that"},
		{"wild, by a port", some, "lz.example", true, []string{"https://a.example.net:8443"}, ""},
		{"wild, by another port", some, "lz.example", true, []string{"https://a.example.net"}, "not that"},
	} {
		t.Run(c.name, func(t *testing.T) {
			allow, err := ParseOrigins(c.allow)
			must(t, err)
			err = Origins{Allow: allow}.Check(from(c.host, c.secure, c.origin...))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestPageWithoutTLSBehindAProxy(t *testing.T) {
	r := from("lz.example", false, "http://lz.example")
	r.RemoteAddr = proxy
	r.Header.Set("X-Forwarded-Proto", "https")
	o := Origins{}
	if err := o.Check(r); err != nil {
		t.Errorf("nobody knows that the proxy is one: %v", err)
	}
	o.Addresses.Proxies = prefixes(t, "10.0.0.0/8")
	if err := o.Check(r); err == nil || !strings.Contains(err.Error(), "page without TLS") {
		t.Errorf("by TLS from a page without: %v", err)
	}
	r.Header.Set("Origin", "https://lz.example")
	must(t, o.Check(r))
}

func TestParseOrigins(t *testing.T) {
	got, err := ParseOrigins([]string{"*", "null", "HTTPS://App.example.com:443", "https://*.Example.com:8443", "http://[0::1]"})
	must(t, err)
	if want := []string{"*", "null", "https://app.example.com", "https://*.example.com:8443", "http://[::1]"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for in, want := range map[string]string{
		"":                                    `origin "": it does not begin with a scheme`,
		"app.example.com":                     "want such as https://app.example.com",
		"*.example.com":                       "scheme",
		"://app.example.com":                  "scheme",
		"ht tp://app.example.com":             "scheme",
		"https://":                            "is empty",
		"https://*":                           "want letters",
		"https://*.":                          "is empty",
		"https://app.*.example.com":           "want letters",
		"https://*.*.example.com":             "want letters",
		"https://*.[::1]":                     "nothing is below an address",
		"https://app.example.com/":            "'/'",
		"https://app.example.com?x":           "'?'",
		"https://me@app.example.com":          "'@'",
		"https://app.example.com:":            `"" is no port`,
		"https://app.example.com:http":        `"http" is no port`,
		"https://app.example.com:080":         `"080" is no port`,
		"https://app.example.com:99999999":    "no port",
		"https://app..example.com":            "is empty",
		"https://app.example.com.":            "is empty",
		"https://[::1":                        "no IPv6 address",
		"https://[127.0.0.1]":                 "no IPv6 address",
		"https://[fe80::1%eth0]":              "no IPv6 address",
		"https://::1":                         "want letters",
		"https://bücher.example":              "xn--",
		"https://a.example,https://b.example": "'/'",
	} {
		if got, err := ParseOrigins([]string{in}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v, want %s", in, got, err, want)
		}
	}
}

func TestCORS(t *testing.T) {
	const app, evil = "https://app.example.com", "https://evil.example"
	for _, c := range []struct {
		name    string
		allow   string
		method  string
		origin  string
		ask     string // the method that a preflight asks for
		handled bool
		status  int
		allowed string
	}{
		{"a program", app, "GET", "", "", false, 200, ""},
		{"a page", app, "GET", app, "", false, 200, app},
		{"another page", app, "GET", evil, "", false, 200, ""},
		{"any page", "*", "POST", evil, "", false, 200, evil},
		{"a page without an origin", "null", "GET", "null", "", false, 200, "null"},
		{"a preflight", app, "OPTIONS", app, "DELETE", true, 204, app},
		{"any preflight", "*", "OPTIONS", evil, "DELETE", true, 204, evil},
		{"another's preflight", app, "OPTIONS", evil, "DELETE", true, 403, ""},
		{"options", app, "OPTIONS", app, "", false, 200, app},
		{"a program's options", app, "OPTIONS", "", "DELETE", false, 200, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := from("lz.example", true)
			r.Method = c.method
			if c.origin != "" {
				r.Header.Set("Origin", c.origin)
			}
			if c.ask != "" {
				r.Header.Set("Access-Control-Request-Method", c.ask)
			}
			w := httptest.NewRecorder()
			if handled := (Origins{Allow: []string{c.allow}}).CORS(w, r); handled != c.handled || w.Code != c.status {
				t.Errorf("handled is %t, status %d", handled, w.Code)
			}
			h := w.Header()
			if got := h.Get("Access-Control-Allow-Origin"); got != c.allowed {
				t.Errorf("allowed is %q, want %q", got, c.allowed)
			}
			if !slices.Contains(h.Values("Vary"), "Origin") {
				t.Errorf("varies by %q", h.Values("Vary"))
			}
			if _, ok := h["Access-Control-Allow-Credentials"]; ok {
				t.Error("credentials are allowed")
			}
			preflight := c.status == 204
			for _, name := range []string{"Access-Control-Allow-Methods", "Access-Control-Allow-Headers", "Access-Control-Max-Age"} {
				if got := h.Get(name); (got != "") != preflight {
					t.Errorf("%s is %q", name, got)
				}
			}
			if c.status == 403 && !strings.Contains(w.Body.String(), "--origins "+evil) {
				t.Errorf("says %q", w.Body)
			}
		})
	}
}

func TestSecurityHeaders(t *testing.T) {
	for _, secure := range []bool{false, true} {
		h := http.Header{"Cache-Control": {"public"}}
		SecurityHeaders(h, secure)
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
		} {
			if got := h.Values(name); len(got) != 1 || got[0] != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if got := h.Get("Strict-Transport-Security"); (got != "") != secure {
			t.Errorf("by TLS %t: Strict-Transport-Security is %q", secure, got)
		}
	}
}

func FuzzOrigin(f *testing.F) {
	for _, s := range []string{"https://app.example.com", "http://[::1]:3000", "null", "https://*.example.com", "https://a@b", "HTTPS://\u212a"} {
		f.Add(s, "app.example.com")
	}
	f.Fuzz(func(t *testing.T, s, host string) {
		allowed := Origins{Allow: []string{"https://*.example.com"}}.Check(from("", true, s)) == nil
		if low := strings.ToLower(s); allowed && (!strings.HasPrefix(low, "https://") || !strings.HasSuffix(strings.TrimSuffix(low, ":443"), ".example.com")) {
			t.Errorf("%q is allowed", s)
		}
		if own := (Origins{}).Check(from(host, true, s)) == nil; own {
			name := strings.ToLower(strings.TrimSuffix(host, ":443"))
			if got := strings.ToLower(strings.TrimSuffix(s, ":443")); got != "https://"+name && !strings.Contains(name, "[") {
				t.Errorf("%q is allowed at %q", s, host)
			}
		}
		parsed, err := parseOrigin(s)
		if err != nil {
			return
		}
		if again, err := parseOrigin(parsed.String()); err != nil || again != parsed {
			t.Errorf("%q is %s, then %s, %v", s, parsed, again, err)
		}
	})
}
