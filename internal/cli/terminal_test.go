package cli_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lzstock/lzstock/internal/safetext"
)

// What an admin listener answers commands no terminal.
func TestHostileAdminListener(t *testing.T) {
	const evil = "a\x1b]0;owned\a\u009b31m\x7f\u202e\u200bgo"
	quoted, err := json.Marshal(evil)
	if err != nil {
		t.Fatal(err)
	}
	status := http.StatusOK
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		switch {
		case status != http.StatusOK:
			_, _ = io.WriteString(w, evil)
		case r.URL.Path == "/sessions":
			_, _ = io.WriteString(w, `{"session":`+string(quoted)+`,"user":`+string(quoted)+`,"conn":`+string(quoted)+"}\n")
		default:
			_, _ = io.WriteString(w, `{"user":`+string(quoted)+`,"state":`+string(quoted)+`}`)
		}
	}))
	defer srv.Close()
	defer http.DefaultClient.CloseIdleConnections()
	for _, bad := range []bool{false, true} {
		if bad {
			status = http.StatusTeapot
		}
		for _, args := range [][]string{{"session", "list"}, {"session", "list", "--json"}, {"session", "revoke", "x"}, {"drain", "--no-wait"}} {
			code, stdout, stderr := run(t, nil, append(args, "--admin", srv.URL)...)
			if both := stdout + stderr; both != safetext.CleanLines(both) || (code != 0) != bad || !strings.Contains(both, "go") && args[0] != "drain" {
				t.Errorf("%v: exit code %d, %q", args, code, both)
			}
			if args[len(args)-1] == "--json" && !bad && !json.Valid([]byte(stdout)) {
				t.Errorf("not JSON: %s", stdout)
			}
		}
	}
}
