package browser

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestSignIn comes to a gateway that wants to know who one is.
func TestSignIn(t *testing.T) {
	needBrowser(t)
	keys := filepath.Join(t.TempDir(), "keys.yaml")
	out, err := exec.CommandContext(t.Context(), binary, "key", "add", "alice", "--keys", keys).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	found := regexp.MustCompile(`(?m)^\s*(?:id|key|secret)\W+(\S+)`).FindAllSubmatch(out, -1)
	if len(found) != 2 {
		t.Fatalf("key add printed something else than an id and a secret:\n%s", out)
	}
	id, secret := string(found[0][1]), string(found[1][1])

	p := open(t, up(t, "--auth", "keys", "--auth-keys", keys)+"/?symbols=AAPL,MSFT", desktop)
	p.allow(`Failed to load resource.*40[14]`) // until somebody has signed in
	p.wait("the question", `document.querySelector("dialog[open] form")`)
	p.picture("sign-in")
	sign := func(secret string) {
		t.Helper()
		for field, text := range map[string]string{"key": id, "secret": secret} {
			p.do(chromedp.Evaluate[chromedp.Void](`document.querySelector("[name=` + field + `]").select()`))
			p.press(text)
		}
		p.press(kb.Enter)
	}
	sign("wrong")
	p.wait("that it was wrong", `/auth failed|did not take/.test(document.querySelector("dialog[open] [role=alert]")?.innerText)`)
	sign(secret)
	p.live()
	p.wait("no question", `!document.querySelector("dialog")`)
	where := eval[string](p, `location.href + JSON.stringify(localStorage) + document.cookie`)
	if strings.Contains(where, id) || strings.Contains(where, secret) {
		t.Errorf("the credentials are kept where they are not safe: %s", where)
	}
	p.do(chromedp.Reload())
	p.live() // the tab remembers
	p.click(".controls button:not(.plug)")
	p.wait("the question again", `document.querySelector("dialog[open] form")`)
	if kept := eval[string](p, `JSON.stringify(sessionStorage)`); strings.Contains(kept, secret) {
		t.Errorf("the tab still knows the secret after signing out: %s", kept)
	}
}

// TestNoDashboard leaves the page out.
func TestNoDashboard(t *testing.T) {
	p := open(t, up(t, "--no-dashboard"), desktop)
	p.allow(`404`)
	if text := eval[string](p, "document.body.innerText"); !strings.Contains(text, "unknown-path") {
		t.Errorf("without the dashboard / answers %q, want a problem document", text)
	}
}
