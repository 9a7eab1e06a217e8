package cli_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lzstock/lzstock/internal/cli"
)

// refusing is a NATS server that refuses everybody, until the test ends.
func refusing(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "INFO {\"server_id\":\"x\",\"version\":\"2.12.0\",\"auth_required\":true,\"max_payload\":1048576}\r\n")
			_, _ = bufio.NewReader(c).ReadString('\n') // CONNECT
			_, _ = io.WriteString(c, "-ERR 'Authorization Violation'\r\n")
			_ = c.Close()
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	return l.Addr().String()
}

func TestSecretsStayOutOfOutputs(t *testing.T) {
	addr := refusing(t)
	for name, args := range map[string][]string{
		"a refusal":                     {"feed", "sim", "--admin", "off", "--nats", "nats://user:hunter2@" + addr},
		"a refusal, without a scheme":   {"feed", "sim", "--admin", "off", "--nats", "user:hunter2@" + addr},
		"a refused token":               {"feed", "sim", "--admin", "off", "--nats", "nats://hunter2@" + addr},
		"sessions":                      {"gateway", "--listen", "127.0.0.1:0", "--admin", "off", "--session-nats", "nats://user:hunter2@" + addr},
		"a URL that does not parse":     {"feed", "sim", "--admin", "off", "--nats", "nats://user:hunt%er2@" + addr},
		"a route":                       {"bus", "--admin", "off", "--nats-listen", "127.0.0.1:0", "--cluster-listen", "127.0.0.1:0", "--routes", "nats-route://user:hunter2@nowhere"},
		"a key set":                     {"up", "--listen", "127.0.0.1:0", "--admin", "off", "--auth", "jwt", "--jwks", "http://user:hunter2@example.com/jwks"},
		"watch":                         {"watch", "--url", "gopher://user:hunter2@127.0.0.1:1/?session_id=hunter2", "AAPL"},
		"bench":                         {"bench", "--url", "gopher://user:hunter2@127.0.0.1:1/?session_id=hunter2"},
		"an admin address":              {"drain", "--admin", "http://user:hunter2@127.0.0.1:1"},
		"an admin address with a token": {"session", "list", "--admin", "http://127.0.0.1:1/?token=hunter2"},
		"config print":                  {"config", "print", "up", "--nats", "user:hunter2@h:1,nats://hunter2@h", "--jwks", "https://h/?key=hunter2"},
		"config print of routes":        {"config", "print", "bus", "--routes", "user:hunter2@h:1,h:2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := run(t, nil, args...)
			if both := stdout + stderr; strings.Contains(both, "hunt") {
				t.Errorf("exit code %d, %s", code, both)
			}
			if config := args[0] == "config"; (code == 0) != config {
				t.Errorf("exit code %d, %s", code, stderr)
			}
		})
	}
}

func TestSecretsStayOutOfTheCommandLineOfProfiles(t *testing.T) {
	out := newSpy(`Operators look at (http://\S+)`)
	var serving sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	serving.Go(func() {
		cli.Main(ctx, []string{
			"gateway", "--monitor", "127.0.0.1:1", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0",
			"--nats-password", "hunter2", "--nats-token=hunter2", "--drain-grace=0s", "--drain-window=0s",
		}, strings.NewReader(""), out, io.Discard, nil)
	})
	t.Cleanup(func() { stop(); serving.Wait() })
	var admin string
	select {
	case admin = <-out.got:
	case <-time.After(patience):
		t.Fatal("up said nothing")
	}
	resp, err := http.Get(admin + "/debug/pprof/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	text, err := io.ReadAll(resp.Body)
	got := strings.Split(string(text), "\x00")
	if err != nil || strings.Contains(string(text), "hunter2") || len(got) != 13 || got[9] != "***" || got[10] != "--nats-token=***" {
		t.Errorf("%q, %v", got, err)
	}
}
