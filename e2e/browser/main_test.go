package browser

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/lzstock/lzstock/e2e/proc"
)

// pictures is where pictures of the page are kept.
const pictures = "pictures"

// binary is the lzstock under test. It is built without the race detector: these
// tests are about the page.
var binary string

// chrome is the one browser of all tests; each test has profiles of its own in it.
var chrome context.Context

// missing says why there is no browser.
var missing error

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	flag.Parse()
	dir, err := os.MkdirTemp("", "lzstock-browser")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		err = os.MkdirAll(pictures, 0o755)
	}
	if err == nil {
		binary, err = proc.Build(dir, "../../cmd/lzstock")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, stop, err := launch(dir)
	defer stop()
	chrome, missing = ctx, err //nolint:fatcontext // set once, before any test
	return m.Run()
}

// launch starts a browser, whose profile is in dir; where there is none it says why.
func launch(dir string) (ctx context.Context, stop context.CancelFunc, err error) {
	path, err := find()
	if err != nil {
		return nil, func() {}, err
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.DisableGPU, chromedp.UserDataDir(dir+"/profile"),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("lang", "en-US"),
		chromedp.Flag("js-flags", "--expose-gc"),
	)
	if os.Geteuid() == 0 {
		opts = append(opts, chromedp.NoSandbox) // Chromium's sandbox does not work for root
	}
	alloc, end := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, _ = chromedp.NewContext(alloc, chromedp.WithErrorf(func(string, ...any) {})) // of events that this version does not know
	if err := chromedp.Do(ctx); err != nil {
		return nil, end, fmt.Errorf("%s does not start: %w", path, err)
	}
	return ctx, func() { _ = chromedp.Cancel(ctx); end() }, nil
}

// find looks for a browser.
func find() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no Chromium here (Debian: apt-get install chromium)")
}

// needBrowser skips a test where there is no browser.
func needBrowser(t *testing.T) {
	t.Helper()
	switch {
	case missing == nil:
	case os.Getenv("CI") == "true":
		t.Fatal(missing)
	default:
		t.Skip(missing)
	}
}
