package nearest

import "testing"

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"a", "", 1},
		{"", "abc", 3},
		{"listen", "listen", 0},
		{"listn", "listen", 1},
		{"sorce", "source", 1},
		{"lisetn", "listen", 1},
		{"abc", "xyz", 3},
		{"grcp", "grpc", 1},
		{"ca", "abc", 3},
	} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
		if got := distance(c.b, c.a); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.b, c.a, got, c.want)
		}
	}
}

func TestName(t *testing.T) {
	names := []string{"listen", "log-level", "log-format", "admin"}
	for wrote, want := range map[string]string{
		"lisen": "listen", "loglevel": "log-level", "log-formt": "log-format", "xyz": "", "completely-else": "", "": "",
	} {
		if got := Name(wrote, names); got != want {
			t.Errorf("Name(%q) = %q, want %q", wrote, got, want)
		}
	}
}
