package browser

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/lzstock/lzstock/e2e/proc"
)

const changes = `(() => new Promise((done) => {
	const cell = document.querySelector(".row[data-symbol='AAPL'] [data-cell='last']");
	const seen = new Set([cell.textContent]);
	new MutationObserver((_, o) => { seen.add(cell.textContent); if (seen.size >= 4) { o.disconnect(); done([...seen]); } })
		.observe(cell, {characterData: true, subtree: true, childList: true});
}))()`

// TestPricesMove opens the page as anybody would, and sees prices move.
func TestPricesMove(t *testing.T) {
	p := open(t, up(t), desktop)
	p.live()
	if seen := eval[[]string](p, changes); len(seen) < 4 || seen[0] == seen[1] {
		t.Errorf("AAPL's price on the page was %q", seen)
	}
	p.wait("a badge", `document.querySelector(".badge")`)
	if badge := p.text(".badge"); badge != "Simulated data" {
		t.Errorf("the badge says %q, want that the data is simulated", badge)
	}
	p.wait("trades in time and sales", `document.querySelectorAll(".print").length >= 10`)
	p.wait("candles", `document.querySelectorAll(".chart-place canvas").length > 0`)
	p.wait("a sparkline with colours", `(() => {
		const c = document.querySelector(".row[data-symbol='AAPL'] canvas");
		const copy = new OffscreenCanvas(c.width, c.height).getContext("2d", {willReadFrequently: true});
		copy.drawImage(c, 0, 0);
		return copy.getImageData(0, 0, c.width, c.height).data.some((v) => v > 0);
	})()`)
	p.wait("bid, ask and change in each row", `[...document.querySelectorAll(".rows .row")].every((r) => ["bid", "ask", "change", "percent", "volume"].every((c) => r.querySelector("[data-cell=" + c + "]").textContent))`)
	p.wait("some seconds of prices", `lzstock.status().events > 4000`)
	p.picture("live-dark")
}

// TestLedger pulls the plug several times, in all three ways a person has, and
// compares what the page was given with what another client got.
func TestLedger(t *testing.T) {
	h := newHouse(t)
	w := watch(t, h.other, "AAPL", "MSFT", "SPY", "NVDA")
	p := open(t, "http://"+h.listen+"/?symbols=AAPL,MSFT,SPY,NVDA&delivery=every", desktop)
	p.live()
	p.wait("events", `lzstock.status().events > 100`)
	for n, pull := range []func(){
		func() { p.click(".plug") },
		func() { p.press("p") },
		func() { p.do(chromedp.Focus(chromedp.CSS(".plug"))); p.press(kb.Enter) },
	} {
		p.allow(netErrors)
		before := eval[int](p, "lzstock.status().reconnects")
		pull()
		proc.Eventually(t, "a reconnect", func() bool { return eval[int](p, "lzstock.status().reconnects") > before })
		p.live()
		mark := eval[int](p, "lzstock.status().events")
		proc.Eventually(t, "events again", func() bool { return eval[int](p, "lzstock.status().events") > mark+50 })
		if n == 0 {
			p.picture("plug-pulled")
		}
	}
	w.compare(p, 250)
	if s := strings.Join(eval[[]string](p, "lzstock.journal()"), "; "); strings.Count(s, "You pulled the plug") != 3 || strings.Count(s, "resumed where it ended") < 3 {
		t.Errorf("the journal says %q", s)
	}

	// The gateway itself is killed, and another one started: it knows nothing, and
	// has what was missed from the monitor.
	before := eval[int](p, "lzstock.status().reconnects")
	h.gateway.Kill()
	p.wait("that the page notices", `lzstock.status().state === "reconnecting" && document.querySelector(".row[data-trust='stale']")`)
	p.picture("gateway-gone")
	h.startGateway()
	proc.Eventually(t, "a reconnect", func() bool { return eval[int](p, "lzstock.status().reconnects") > before })
	p.live()
	mark := eval[int](p, "lzstock.status().events")
	proc.Eventually(t, "events again", func() bool { return eval[int](p, "lzstock.status().events") > mark+100 })
	w.compare(p, 350)
	if n := eval[int](p, "lzstock.status().gaps"); n != 0 {
		t.Errorf("the page tells of %d gaps; its journal: %q", n, eval[[]string](p, "lzstock.journal()"))
	}
}

// TestMonitorDies kills the monitor: prices are stale, and seen to be. Another one
// makes them current again, and nothing is missing.
func TestMonitorDies(t *testing.T) {
	h := newHouse(t)
	p := open(t, "http://"+h.listen+"/?symbols=AAPL,MSFT,SPY,NVDA", desktop)
	p.live()
	p.allow(`Failed to load resource.*50[234]`) // history is asked for when the feed recovers
	h.monitor.Kill()
	p.wait("stale prices", `!lzstock.status().live && document.querySelectorAll(".row[data-trust='stale']").length === 4`)
	p.wait("that it says why", `/lost its monitor/.test(document.querySelector(".banner")?.innerText)`)
	p.wait("that each row says how old it is", `[...document.querySelectorAll(".rows .note")].every((n) => /\d/.test(n.textContent))`)
	if dim := eval[string](p, `getComputedStyle(document.querySelector(".rows .row .last")).opacity`); dim == "1" {
		t.Error("stale prices look like any others")
	}
	p.picture("stale")
	h.startMonitor()
	p.live()
	p.wait("every row current", `document.querySelectorAll(".row[data-trust='live']").length === 4 && !document.querySelector(".banner")`)
	mark := eval[int](p, "lzstock.status().events")
	proc.Eventually(t, "events again", func() bool { return eval[int](p, "lzstock.status().events") > mark+50 })
	for topic, e := range eval[account](p, "lzstock.ledger()").Topics {
		if e.Breaks > 0 {
			t.Errorf("%s has %d breaks", topic, e.Breaks)
		}
	}
}
