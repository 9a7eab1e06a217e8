package browser

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/lzstock/lzstock/e2e/proc"
)

// screen is what a page is shown on.
type screen struct {
	width, height int64
	phone         bool
	light         bool
}

var (
	desktop = screen{width: 1440, height: 900}
	phone   = screen{width: 390, height: 844, phone: true}
)

// tab is a page in a profile of its own.
type tab struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // chromedp's name for a tab

	mu      sync.Mutex
	said    []string // errors and warnings on the console, exceptions, and requests that failed
	allowed []*regexp.Regexp
}

// open opens a URL. When the test ends, nothing may have been said on the console
// that was not allowed.
func open(t *testing.T, url string, s screen) *tab {
	t.Helper()
	needBrowser(t)
	p := &tab{t: t}
	var stop context.CancelFunc
	p.ctx, stop = chromedp.NewContext(chrome, chromedp.WithNewBrowserContext(), chromedp.WithListener(p.listen))
	t.Cleanup(func() {
		if t.Failed() {
			p.picture("failed-" + strings.ReplaceAll(t.Name(), "/", "-"))
			t.Logf("the page's journal: %q", eval[[]string](p, `window.lzstock ? lzstock.journal() : []`))
		}
		stop()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, line := range p.said {
			t.Errorf("the page's console: %s", line)
		}
	})
	if err := chromedp.Do(p.ctx); err != nil { // without a deadline: it is the tab's whole life
		t.Fatal(err)
	}
	if _, err := chromedp.Call(p.ctx, log.Enable, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	p.scheme(s.light)
	size := []chromedp.EmulateViewportOption{chromedp.EmulateScale(1)}
	if s.phone {
		size = []chromedp.EmulateViewportOption{chromedp.EmulateScale(2), chromedp.EmulateMobile, chromedp.EmulateTouch}
	}
	p.do(chromedp.EmulateViewport(s.width, s.height, size...), chromedp.Navigate(url))
	return p
}

// scheme has the machine prefer light or dark, and moves, where still is not asked for.
func (p *tab) scheme(light bool, more ...*emulation.MediaFeature) {
	p.t.Helper()
	v := "dark"
	if light {
		v = "light"
	}
	features := append(more, &emulation.MediaFeature{Name: "prefers-color-scheme", Value: v})
	if _, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *tab) listen(ev any) {
	switch e := ev.(type) {
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if o := e.ExceptionDetails.Exception; o != nil {
			text += " " + o.Description
		}
		p.hear("exception: " + text)
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" || e.Type == "assert" {
			var words []string
			for _, a := range e.Args {
				words = append(words, string(a.Value)+a.Description)
			}
			p.hear(fmt.Sprintf("%s: %s", e.Type, strings.Join(words, " ")))
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == "error" || e.Entry.Level == "warning" {
			p.hear(fmt.Sprintf("%s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL))
		}
	}
}

func (p *tab) hear(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, re := range p.allowed {
		if re.MatchString(line) {
			return
		}
	}
	p.said = append(p.said, line)
}

// allow announces what the browser itself says on the console in this test, such as
// that a server cannot be reached.
func (p *tab) allow(pattern string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	re := regexp.MustCompile(pattern)
	p.allowed = append(p.allowed, re)
	kept := p.said[:0]
	for _, line := range p.said {
		if !re.MatchString(line) {
			kept = append(kept, line)
		}
	}
	p.said = kept
}

// netErrors are what Chromium says where a server is not there.
const netErrors = `net::ERR_|WebSocket connection to|Failed to load resource`

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, stop := context.WithTimeout(p.ctx, proc.Patience)
	defer stop()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatal(err)
	}
}

// eval gives what a script gives; a promise is waited for.
func eval[T any](p *tab, script string) T {
	p.t.Helper()
	ctx, stop := context.WithTimeout(p.ctx, proc.Patience)
	defer stop()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %v", script, err)
	}
	return v
}

// wait waits until a script gives something that is true.
func (p *tab) wait(what, script string) {
	p.t.Helper()
	proc.Eventually(p.t, what, func() bool { return eval[bool](p, "Boolean("+script+")") })
}

// live waits until prices are current and shown.
func (p *tab) live() {
	p.t.Helper()
	p.wait("live prices", `window.lzstock && lzstock.status().live && document.querySelector(".row[data-trust='live'] .last:not(:empty)")`)
}

// text gives what an element shows.
func (p *tab) text(selector string) string {
	p.t.Helper()
	return eval[string](p, fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector))
}

// press presses a key, with Alt where it is named.
func (p *tab) press(keys string, modifiers ...chromedp.KeyOption) {
	p.t.Helper()
	p.do(chromedp.KeyEvent(keys, modifiers...))
}

// click presses the mouse in the middle of an element.
func (p *tab) click(selector string) {
	p.t.Helper()
	p.do(chromedp.Click(chromedp.CSS(selector)))
}

// choose has a select show one of its values, as a person would.
func (p *tab) choose(selector, value string) {
	p.t.Helper()
	eval[chromedp.Void](p, fmt.Sprintf(`(() => { const s = document.querySelector(%q); s.value = %q; s.dispatchEvent(new Event("change", {bubbles: true})); return null; })()`, selector, value))
}

// symbols gives the watchlist, as it is shown.
func (p *tab) symbols() string {
	p.t.Helper()
	return eval[string](p, `[...document.querySelectorAll(".rows .row")].map((r) => r.dataset.symbol).join(",")`)
}

// picture keeps what the page looks like.
func (p *tab) picture(name string) {
	p.t.Helper()
	ctx, stop := context.WithTimeout(p.ctx, proc.Patience)
	defer stop()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(pictures, name+".png"), png, 0o644)
	}
	if err != nil {
		p.t.Errorf("picture %s: %v", name, err)
	}
}
