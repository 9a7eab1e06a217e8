package cli_test

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lzstock/lzstock/internal/cli"
)

// patience bounds what would hang in a failing test; nothing waits for it.
const patience = 20 * time.Second

// spy is an output that tells when it holds something.
type spy struct {
	mu   sync.Mutex
	text bytes.Buffer
	want *regexp.Regexp
	got  chan string
}

func newSpy(want string) *spy {
	return &spy{want: regexp.MustCompile(want), got: make(chan string, 1)}
}

func (s *spy) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	if m := s.want.FindSubmatch(s.text.Bytes()); m != nil {
		select {
		case s.got <- string(m[1]):
		default:
		}
	}
	return len(p), nil
}

func TestPublishIntoUpAndWatch(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out, code := newSpy(`grpcurl -plaintext (\S+) list`), make(chan int, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		code <- cli.Main(ctx, []string{"up", "--source", "none", "--listen", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--admin", "off"},
			strings.NewReader(""), out, io.Discard, nil)
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	var grpc string
	select {
	case grpc = <-out.got:
	case c := <-code:
		t.Fatalf("up ended at once with %d", c)
	case <-time.After(patience):
		t.Fatal("up said nothing")
	}

	for _, c := range []struct {
		name, input string
		code        int
		want        string
	}{
		{"good", `{"T":"t","S":"AAPL","p":189.1,"s":100,"t":"2026-01-05T15:00:00Z"}` + "\n", 0, "1 sent, 1 stored, 0 refused"},
		{"bad line", "1571664600000000000,AAPL,trade,189.1,100,,,,\nnonsense\n", 1, "1 sent, 1 stored, 0 refused"},
	} {
		var stdout, stderr bytes.Buffer
		got := cli.Main(t.Context(), []string{"publish", "--grpc", grpc, "--log-level", "error"}, strings.NewReader(c.input), &stdout, &stderr, nil)
		if got != c.code || !strings.Contains(stdout.String(), c.want) {
			t.Errorf("%s: exit code %d, %q, %q; want %d and %q", c.name, got, stdout.String(), stderr.String(), c.code, c.want)
		}
	}

	watching, stop := context.WithCancel(t.Context())
	defer stop()
	prices, watched := newSpy(`"p":(189\.1)`), make(chan int, 1)
	wg.Go(func() {
		watched <- cli.Main(watching, []string{"watch", "--json", "--channels", "trades", "--url", out.find(`--url (\S+)`), "AAPL"},
			strings.NewReader(""), prices, io.Discard, nil)
	})
	select {
	case <-prices.got:
	case c := <-watched:
		t.Fatalf("watch ended at once with %d", c)
	case <-time.After(patience):
		t.Fatalf("watch did not show the price")
	}
	stop()
	if c := <-watched; c != 0 {
		t.Errorf("watch ended with %d, want 0", c)
	}
	cancel()
	if c := <-code; c != 0 {
		t.Errorf("up ended with %d, want 0", c)
	}
}

// find gives the first group of the pattern in what was written.
func (s *spy) find(pattern string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := regexp.MustCompile(pattern).FindSubmatch(s.text.Bytes()); m != nil {
		return string(m[1])
	}
	return ""
}

func TestFailureIsExitCodeOne(t *testing.T) {
	for name, args := range map[string][]string{
		"no tape":    {"up", "--listen", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--admin", "off", "--source", "tape:nowhere.csv"},
		"no monitor": {"publish", "--grpc", "127.0.0.1:1", "--give-up", "1ms"},
	} {
		code, _, stderr := run(t, nil, args...)
		if code != 1 || !strings.HasPrefix(lastLine(stderr), "lzstock: ") {
			t.Errorf("%s: exit code %d, %q; want 1", name, code, stderr)
		}
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
