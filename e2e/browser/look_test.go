package browser

import (
	"fmt"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// wide lists what sticks out of the page at the right, of all that is shown.
const wide = `(() => {
	const out = [];
	if (document.scrollingElement.scrollWidth > innerWidth) out.push("the page: " + document.scrollingElement.scrollWidth);
	for (const el of document.querySelectorAll("body *")) {
		const r = el.getBoundingClientRect();
		if (r.width > 0 && r.height > 0 && (r.right > innerWidth + 0.5 || r.left < -0.5) && !el.closest(".unseen")) out.push(el.tagName + "." + el.className + " " + Math.round(r.left) + ".." + Math.round(r.right));
	}
	return out;
})()`

// small lists what is too small for a finger, of what can be pressed.
const small = `[...document.querySelectorAll("button, select, input")]
	.filter((e) => e.checkVisibility())
	.map((e) => [e, e.getBoundingClientRect()])
	.filter(([e, r]) => r.width < 24 || r.height < 24)
	.map(([e, r]) => (e.getAttribute("aria-label") ?? e.textContent) + " " + Math.round(r.width) + "x" + Math.round(r.height))`

// TestPhone looks at each part of the page on a phone: nothing sticks out, and what
// is to be pressed can be.
func TestPhone(t *testing.T) {
	url := up(t)
	for _, s := range []screen{phone, {width: 320, height: 568, phone: true, light: true}} {
		p := open(t, url, s)
		p.live()
		for i, part := range []string{"Watchlist", "Chart", "Trades", "Connection"} {
			p.click(fmt.Sprintf(".tabs button:nth-child(%d)", i+1))
			p.wait(part+" alone", fmt.Sprintf(`[...document.querySelectorAll(".panel")].filter((e) => e.checkVisibility()).length === 1
				&& document.querySelector(".tabs [aria-current]").innerText.trim() === %q`, part))
			switch part {
			case "Chart":
				p.wait("a chart that fills its place", `document.querySelector(".chart-place canvas")?.getBoundingClientRect().width > 100`)
			case "Trades":
				p.wait("trades", `document.querySelectorAll(".print").length > 5`)
			}
			if out := eval[[]string](p, wide); len(out) > 0 {
				t.Errorf("%d wide, %s: sticks out: %q", s.width, part, out)
			}
			if out := eval[[]string](p, small); len(out) > 0 {
				t.Errorf("%d wide, %s: too small to press: %q", s.width, part, out)
			}
			p.picture(fmt.Sprintf("phone-%d-%d-%s", s.width, i+1, part))
		}
	}
}

// contrast gives the least contrast of text with what is behind it, by WCAG's
// reckoning, and where.
const contrast = `(() => {
	const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
	const rgb = (c) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = c; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
	const over = (top, below) => top.slice(0, 3).map((v, i) => v * top[3] / 255 + below[i] * (1 - top[3] / 255));
	const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
	const worst = [];
	for (const el of document.querySelectorAll("body *")) {
		const text = [...el.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
		if (!text || !el.checkVisibility() || el.closest(".unseen, canvas, noscript, [data-flash] .last, table")) continue;
		let ground = [255, 255, 255];
		const chain = [];
		for (let e = el; e; e = e.parentElement) chain.unshift(e);
		let dim = 1;
		for (const e of chain) { const s = getComputedStyle(e); ground = over(rgb(s.backgroundColor), ground); dim *= Number(s.opacity); }
		if (dim < 0.99) continue; // dimmed on purpose: not current
		const ink = over(rgb(getComputedStyle(el).color), ground);
		const [a, b] = [light(ink), light(ground)].sort((x, y) => y - x);
		const ratio = (a + 0.05) / (b + 0.05);
		if (ratio < 4.5) worst.push(el.tagName + "." + el.className + " " + el.textContent.trim().slice(0, 20) + ": " + ratio.toFixed(2));
	}
	return worst;
})()`

// TestThemes looks at the page in light and dark: it follows the machine until
// somebody chooses, remembers that, and can be read in both.
func TestThemes(t *testing.T) {
	url := up(t)
	p := open(t, url, screen{width: 1440, height: 900, light: true})
	p.live()
	p.wait("trades", `document.querySelectorAll(".print").length > 10`)
	ground := func() string { return eval[string](p, `getComputedStyle(document.body).backgroundColor`) }
	light := ground()
	if bad := eval[[]string](p, contrast); len(bad) > 0 {
		t.Errorf("in light, too little contrast: %q", bad)
	}
	p.picture("live-light")
	p.scheme(false)
	p.wait("the machine's dark", fmt.Sprintf(`getComputedStyle(document.body).backgroundColor !== %q`, light))
	dark := ground()
	if bad := eval[[]string](p, contrast); len(bad) > 0 {
		t.Errorf("in dark, too little contrast: %q", bad)
	}
	p.press("t")
	p.wait("light, since it was chosen", fmt.Sprintf(`getComputedStyle(document.body).backgroundColor === %q`, light))
	p.do(chromedp.Reload())
	p.live()
	if got := ground(); got != light {
		t.Errorf("after a reload the ground is %s, want %s that was chosen", got, light)
	}
	p.press("t")
	p.wait("dark again", fmt.Sprintf(`getComputedStyle(document.body).backgroundColor === %q`, dark))
	if kept := eval[bool](p, `localStorage.getItem("lzstock.theme") === null`); !kept {
		t.Error("a theme is remembered though it is the machine's own")
	}
}

// TestStill holds the page to a reader who wants nothing to move.
func TestStill(t *testing.T) {
	p := open(t, up(t), desktop)
	p.live()
	p.wait("a flash", `document.querySelector("[data-flash] .last") && document.getAnimations().length > 0`)
	p.scheme(false, &emulation.MediaFeature{Name: "prefers-reduced-motion", Value: "reduce"})
	p.wait("no animation", `document.getAnimations().length === 0`)
	mark := eval[int](p, "lzstock.status().events")
	p.wait("prices that go on", fmt.Sprintf(`lzstock.status().events > %d`, mark+500))
	if n := eval[int](p, `document.getAnimations().length`); n > 0 {
		t.Errorf("%d animations run, though none are wanted", n)
	}
}

// TestNames asks the browser for what it tells a screen reader: whatever can be
// pressed, chosen or written to has a name, and the parts of the page have one.
func TestNames(t *testing.T) {
	p := open(t, up(t), desktop)
	p.live()
	p.choose(".controls select", "latest") // which shows another control
	p.wait("the interval", `document.querySelectorAll(".controls select").length === 2`)
	p.press("?")
	p.wait("the help", `document.querySelector("dialog[open]")`)
	p.picture("help")
	check := func(least int) {
		t.Helper()
		tree, err := chromedp.Call(p.ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
		if err != nil {
			t.Fatal(err)
		}
		count := map[string]int{}
		for _, n := range tree.Nodes {
			if n.Ignored || n.Role == nil {
				continue
			}
			role, name := string(n.Role.Value), ""
			if n.Name != nil {
				name = string(n.Name.Value)
			}
			switch role {
			case `"button"`, `"link"`, `"textbox"`, `"combobox"`, `"radio"`, `"radiogroup"`, `"region"`, `"grid"`, `"rowheader"`, `"dialog"`, `"img"`, `"image"`, `"log"`, `"navigation"`:
				count[role]++
				if name == "" || name == `""` {
					t.Errorf("a %s has no name", role)
				}
			}
		}
		if len(count) < least {
			t.Errorf("found %v: not the page", count)
		}
	}
	check(3) // a dialog hides the rest
	p.press("\u001b")
	p.wait("no help", `!document.querySelector("dialog[open]")`)
	check(8)
	if n := eval[int](p, `document.querySelectorAll("h1").length`); n != 1 {
		t.Errorf("the page has %d main headings, want 1", n)
	}
}
