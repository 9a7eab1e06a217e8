package edge

import (
	"net/http"
	"strings"
	"testing"
)

func TestHosts(t *testing.T) {
	allow, err := ParseHosts([]string{"Prices.example.com", "*.example.org", "192.0.2.7", "[2001:DB8::7]"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host                string
		loopback, elsewhere bool
	}{
		{"", true, true},
		{"localhost", true, true},
		{"LOCALHOST:9090", true, true},
		{"localhost.:9090", false, false},
		{"app.localhost", true, false},
		{"127.0.0.1:1", true, true},
		{"127.9.9.9", true, true},
		{"[::1]:9090", true, true},
		{"[::ffff:127.0.0.1]", true, true},
		{"evil.example:9090", false, false},
		{"127.0.0.1.evil.example", false, false},
		{"localhost.evil.example", false, false},
		{"evil-localhost", false, true},
		{"gateway-0:9090", false, true},
		{"10.1.2.3:9090", false, true},
		{"[fd00::1]:9090", false, true},
		{"0.0.0.0", false, true},
		{"prices.example.com:80", true, true},
		{"x.prices.example.com", false, false},
		{"a.b.example.org", true, true},
		{"example.org", false, false},
		{"evilexample.org", false, false},
		{"192.0.2.7", true, true},
		{"[2001:db8::7]:1", true, true},
		{"a b", false, false},
		{"localhost:x", false, false},
		{"localhost@evil.example", false, false},
		{strings.Repeat("a.", 200), false, false},
	} {
		for loopback, want := range map[bool]bool{true: c.loopback, false: c.elsewhere} {
			h := Hosts{Loopback: loopback, Allow: allow, Flag: "--hosts"}
			if err := h.Check(&http.Request{Host: c.host}); (err == nil) != want {
				t.Errorf("%q, on loopback %t: %v", c.host, loopback, err)
			}
			h.Allow = []string{"*"}
			if err := h.Check(&http.Request{Host: "any.example"}); err != nil {
				t.Error(err)
			}
		}
	}
	err = Hosts{Loopback: true, Flag: "--hosts"}.Check(&http.Request{Host: "evil.example:8080"})
	if err == nil || err.Error() != "host evil.example is not known here: ask by address, or allow it with --hosts evil.example" {
		t.Error(err)
	}
	for _, bad := range []string{"", "http://h", "h:80", "a b", "*.", "*x", "[::1]:80", "[x]"} {
		if got, err := ParseHosts([]string{bad}); err == nil || !strings.Contains(err.Error(), "want such as") {
			t.Errorf("%q is read as %q, %v", bad, got, err)
		}
	}
}
