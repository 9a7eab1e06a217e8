package cli_test

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lzstock/lzstock/internal/cli"
)

func TestBench(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out := newSpy(`(ws://\S+/v1/stream)[\s\S]*curl http://(\S+)/readyz`)
	var wg sync.WaitGroup
	wg.Go(func() {
		cli.Main(ctx, []string{"up", "--source", "sim?rate=2000", "--listen", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--admin", "127.0.0.1:0"},
			strings.NewReader(""), out, io.Discard, nil)
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	var url string
	select {
	case url = <-out.got:
	case <-time.After(patience):
		t.Fatal("up said nothing")
	}
	out.mu.Lock()
	admin := out.want.FindSubmatch(out.text.Bytes())[2]
	out.mu.Unlock()

	dir := t.TempDir()
	file, page := filepath.Join(dir, "report.json"), filepath.Join(dir, "report.html")
	bench := []string{"bench", "--url", url, "--clients", "5", "--duration", "300ms", "--ramp", "50ms", "--admin", string(admin)}
	code, stdout, stderr := run(t, nil, append(bench, "--assert", "p99<1h,loss=0,closes=0,clients=5,rss>1MB", "--json", file, "--html", page)...)
	if code != 0 || !strings.Contains(stdout, "5 clients × 10 of 30 symbols (trades,quotes), adaptive") || !strings.Contains(stdout, "loss=0") {
		t.Errorf("exit code %d, %s, %s", code, stdout, stderr)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Healthy struct {
			Total struct{ Events int }
		}
		Setup struct{ Command string }
	}
	if err := json.Unmarshal(text, &r); err != nil || r.Healthy.Total.Events == 0 || !strings.HasPrefix(r.Setup.Command, "lzstock bench --url ws://") {
		t.Errorf("%v, %+v", err, r)
	}
	if html, err := os.ReadFile(page); err != nil || !strings.Contains(string(html), "<svg") {
		t.Errorf("page: %v, %.100s", err, html)
	}

	code, stdout, stderr = run(t, nil, append(bench, "--assert", "loss>0")...)
	if code != 1 || !strings.Contains(stdout, "FAILS") || lastLine(stderr) != "lzstock: not all that was demanded holds" {
		t.Errorf("exit code %d, %s, %s; want 1", code, stdout, stderr)
	}
}

func TestBenchRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		"write 50ms,":                       {"--assert", "p99<50"},
		"needs --admin":                     {"--assert", "rss<1GB"},
		"there is no channel":               {"--channels", "news"},
		"is no share":                       {"--stalled", "20"},
		"is no rate":                        {"--churn", "often"},
		"want sim:N":                        {"--universe", "sim:none"},
		"is no source address":              {"--source-addrs", "here"},
		"--json and --html name the same":   {"--json", "x", "--html", "x"},
		"--profile must be one of":          {"--profile", "soak"},
		"condition \"quality=1\": there is": {"--assert", "quality=1"},
	} {
		code, _, stderr := run(t, nil, append([]string{"bench"}, args...)...)
		if wantCode := 2; code != wantCode || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit code %d, %q; want %d and %q", args, code, stderr, wantCode, want)
		}
	}
}
