package browser

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestKeys does all that the page can do without a mouse.
func TestKeys(t *testing.T) {
	p := open(t, up(t)+"/?symbols=AAPL,MSFT,SPY,NVDA", desktop)
	p.live()
	selected := func(want string) {
		t.Helper()
		p.wait(want+" selected", fmt.Sprintf(`document.querySelector(".row[aria-selected='true']")?.dataset.symbol === %q && document.querySelector(".headline h2").innerText.startsWith(%q)`, want, want))
	}
	list := func(want string) {
		t.Helper()
		p.wait("the list "+want, fmt.Sprintf(`[...document.querySelectorAll(".rows .row")].map((r) => r.dataset.symbol).join(",") === %q`, want))
	}
	selected("AAPL")
	p.press("j")
	selected("MSFT")
	p.press("k")
	selected("AAPL")

	p.press("/")
	p.wait("the focus on the field", `document.activeElement?.id === "add"`)
	p.press("tsla")
	p.press(kb.Enter)
	list("AAPL,MSFT,SPY,NVDA,TSLA")
	selected("TSLA")
	p.wait("TSLA's price", `document.querySelector(".row[data-symbol='TSLA'] .last").textContent`)
	p.wait("that it is said", `/TSLA added/.test(document.querySelector("[aria-live='polite']").textContent)`)

	p.press(kb.Escape) // leaves the field
	p.do(chromedp.Focus(chromedp.CSS(".row[aria-selected='true']")))
	p.press(kb.ArrowUp, chromedp.KeyModifiers(chromedp.ModifierAlt))
	list("AAPL,MSFT,SPY,TSLA,NVDA")
	p.wait("that it is said", `/TSLA is now number 4 of 5/.test(document.querySelector("[aria-live='polite']").textContent)`)
	p.press(kb.ArrowUp)
	selected("SPY")
	p.wait("the focus on it", `document.activeElement?.dataset.symbol === "SPY"`)
	p.press(kb.Home)
	selected("AAPL")
	p.press(kb.Delete)
	list("MSFT,SPY,TSLA,NVDA")
	selected("MSFT")
	p.press("3")
	p.wait("five minutes", `document.querySelector(".intervals [aria-checked='true']").textContent === "5m"`)
	p.press("?")
	p.wait("the help", `document.querySelector("dialog[open]")?.innerText.includes("pull the plug")`)
	p.press(kb.Escape)
	p.wait("no help", `!document.querySelector("dialog")`)

	// All of it is in the page's address.
	if at := eval[string](p, "location.search"); at != "?symbols=MSFT,SPY,TSLA,NVDA&symbol=MSFT&interval=5Min" {
		t.Errorf("the address is %s", at)
	}
	p.do(chromedp.Reload())
	p.live()
	list("MSFT,SPY,TSLA,NVDA")
	p.do(chromedp.Navigate(eval[string](p, "location.origin")))
	p.live()
	list("MSFT,SPY,TSLA,NVDA") // remembered
	p.do(chromedp.Navigate(eval[string](p, "location.origin") + "/?symbols=F,KO"))
	p.live()
	list("F,KO") // the address wins

	// Tab gets to every control, and what has the focus can be seen.
	p.do(chromedp.Evaluate[chromedp.Void](`document.activeElement?.blur()`))
	seen := map[string]bool{}
	for range 30 {
		p.press(kb.Tab)
		at := eval[string](p, `(() => { const e = document.activeElement; const s = getComputedStyle(e);
			return (e.getAttribute("aria-label") ?? e.id ?? e.textContent).trim() + "|" + (e === document.body || e.id === "add" || s.outlineStyle !== "none"); })()`)
		name, visible, _ := strings.Cut(at, "|")
		if visible != "true" {
			t.Errorf("the focus on %q cannot be seen", name)
		}
		seen[name] = true
	}
	if len(seen) < 8 {
		t.Errorf("Tab gets to %d controls: %v", len(seen), seen)
	}
}

// TestDrag moves a row by its grip.
func TestDrag(t *testing.T) {
	p := open(t, up(t)+"/?symbols=AAPL,MSFT,SPY,NVDA", desktop)
	p.live()
	at := eval[[]float64](p, `(() => { const r = document.querySelector(".row[data-symbol='AAPL'] .grip").getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2, r.height]; })()`)
	p.do(
		chromedp.MouseEvent(chromedp.MousePressed, at[0], at[1], chromedp.ButtonLeft, chromedp.ClickCount(1)),
		chromedp.MouseEvent(chromedp.MouseMoved, at[0], at[1]+30, chromedp.ButtonLeft),
		chromedp.MouseEvent(chromedp.MouseMoved, at[0], at[1]+88, chromedp.ButtonLeft),
	)
	p.picture("dragging")
	p.do(chromedp.MouseEvent(chromedp.MouseReleased, at[0], at[1]+88, chromedp.ButtonLeft, chromedp.ClickCount(1)))
	if got := p.symbols(); got != "MSFT,SPY,AAPL,NVDA" {
		t.Errorf("the list is %s after the drag", got)
	}
	if got := eval[string](p, "location.search"); !strings.Contains(got, "symbols=MSFT,SPY,AAPL,NVDA") {
		t.Errorf("the address is %s", got)
	}
}

// TestRefused shows a symbol that there is none of, and what is no symbol at all.
func TestRefused(t *testing.T) {
	p := open(t, up(t)+"/?symbols=AAPL", desktop)
	p.live()
	p.press("/")
	p.wait("the focus on the field", `document.activeElement?.id === "add"`)
	p.press("<b>")
	p.press(kb.Enter)
	p.wait("what a symbol is", `/1 to 32/.test(document.querySelector("#found").innerText)`)
	p.press(kb.Escape)
	p.do(chromedp.Evaluate[chromedp.Void](`document.querySelector("#add").select()`))
	p.press("NOSUCH")
	p.press(kb.Enter)
	p.wait("a row that waits", `document.querySelector(".row[data-symbol='NOSUCH']")?.dataset.trust === "waiting"`)
	p.wait("that it says so", `document.querySelector(".row[data-symbol='NOSUCH'] .note").textContent === "no price"`)
}

// TestDelivery has the gateway send less, and see that less comes.
func TestDelivery(t *testing.T) {
	p := open(t, up(t), desktop)
	p.live()
	p.wait("a rate", `lzstock.status().rate > 150`)
	p.choose(".controls select", "latest")
	p.wait("the interval", `document.querySelectorAll(".controls select").length === 2`)
	p.choose(".controls label:nth-child(2) select", "1000")
	p.wait("fewer events", `lzstock.status().rate < 60`)
	p.wait("that some were merged", `lzstock.status().merged > 50`)
	if at := eval[string](p, "location.search"); !strings.Contains(at, "delivery=latest&every=1000") {
		t.Errorf("the address is %s", at)
	}
	p.wait("that time and sales say so", `document.querySelector(".trades .tag")`)
	p.picture("latest")
}
