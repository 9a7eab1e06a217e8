package browser

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

var measured = flag.Duration("measure", 0, "how long TestMeasure goes on; 0 leaves it out")

// counters has the page count its frames and its long tasks, but for collections that
// the test asks for, between off and on.
const counters = `(() => {
	const c = window.counted = {frames: 0, long: 0, longest: 0, slow: 0, last: performance.now(), off: Infinity, on: 0};
	new PerformanceObserver((l) => {
		for (const e of l.getEntries()) {
			if (e.startTime + e.duration > c.off && (c.on < c.off || e.startTime < c.on)) continue;
			c.long++;
			c.longest = Math.max(c.longest, e.duration);
		}
	}).observe({entryTypes: ["longtask"]});
	const frame = () => { const now = performance.now(); c.frames++; if (now - c.last > 50) c.slow++; c.last = now; requestAnimationFrame(frame); };
	requestAnimationFrame(frame);
})()`

type counts struct {
	Frames, Long, Slow int
	Longest            float64
}

// TestMeasure has two tabs show 100 symbols at 1,000 events a second, and writes down
// what that costs: memory that is in use after a collection, tasks that held the page
// up for more than 50 ms, frames a second. It is for people to read: the only thing
// that fails it is memory that grows.
func TestMeasure(t *testing.T) {
	if *measured == 0 {
		t.Skip("only with -args -measure TIME: make measure-web")
	}
	var symbols []string
	for n := range 100 {
		symbols = append(symbols, symbolOf(n))
	}
	url := up(t) + "/?symbols=" + strings.Join(symbols, ",") + "&interval=5Sec"
	tabs := []*tab{open(t, url, desktop), open(t, url, desktop)}
	for _, p := range tabs {
		p.live()
		p.do(chromedp.Evaluate[chromedp.Void](counters))
	}
	step := max(*measured/40, 5*time.Second)
	began, heaps := time.Now(), make([][]float64, len(tabs))
	before := make([]counts, len(tabs))
	events := make([]float64, len(tabs))
	t.Logf("%6s  %3s  %9s  %8s  %6s  %12s  %10s", "time", "tab", "heap", "events/s", "frames", "long tasks", "slow frames")
	for tick := time.NewTicker(step); time.Since(began) < *measured; {
		<-tick.C
		for i, p := range tabs {
			p.do(chromedp.Evaluate[chromedp.Void]("counted.off = performance.now()"))
			if _, err := chromedp.Call(p.ctx, heapprofiler.CollectGarbage, cdp.Empty{}); err != nil {
				t.Fatal(err)
			}
			p.do(chromedp.Evaluate[chromedp.Void]("counted.on = performance.now()"))
			heap, err := chromedp.Call(p.ctx, runtime.GetHeapUsage, cdp.Empty{})
			if err != nil {
				t.Fatal(err)
			}
			c, n := eval[counts](p, "counted"), eval[float64](p, "lzstock.status().events")
			heaps[i] = append(heaps[i], heap.UsedSize/1e6)
			t.Logf("%6s  %3d  %6.2f MB  %8.0f  %6.1f  %4d (%3.0f ms)  %10d", time.Since(began).Round(time.Second), i+1, heap.UsedSize/1e6,
				(n-events[i])/step.Seconds(), float64(c.Frames-before[i].Frames)/step.Seconds(), c.Long-before[i].Long, c.Longest, c.Slow-before[i].Slow)
			before[i], events[i] = c, n
		}
	}
	for i, p := range tabs {
		settled := heaps[i][len(heaps[i])/3:] // rings and candles fill up first
		slope := slopeOf(settled) * float64(time.Hour/step)
		total := eval[counts](p, "counted")
		t.Logf("tab %d: %.1f frames a second, %d long tasks of up to %.0f ms, heap %.2f to %.2f MB, growing by %.2f MB an hour", i+1,
			float64(total.Frames)/time.Since(began).Seconds(), total.Long, total.Longest, settled[0], settled[len(settled)-1], slope)
		if last := settled[len(settled)-1]; len(settled) > 10 && last > 1.5*settled[0] {
			t.Errorf("tab %d: memory has grown from %.2f to %.2f MB", i+1, settled[0], last)
		}
	}
	for i, p := range tabs {
		p.picture(fmt.Sprintf("measured-%d", i+1))
	}
}

// symbolOf names symbol n of the simulator's list.
func symbolOf(n int) string {
	known := strings.Fields("AAPL MSFT FAKEPACA SPY NVDA TSLA AMZN BTC/USD META GOOGL QQQ AMD ETH/USD NFLX JPM BAC V BRK.B XOM JNJ PFE UNH WMT PG KO HD DIS INTC F BRK.A")
	if n < len(known) {
		return known[n]
	}
	return fmt.Sprintf("SIM%04d", n+1)
}

// slopeOf fits a line: how much a value grows from one to the next.
func slopeOf(v []float64) float64 {
	var x, y, xx, xy, n float64
	for i, h := range v {
		at := float64(i)
		x, y, xx, xy, n = x+at, y+h, xx+at*at, xy+at*h, n+1
	}
	if n < 2 {
		return 0
	}
	return (n*xy - x*y) / (n*xx - x*x)
}

func TestSlope(t *testing.T) {
	if got := slopeOf([]float64{1, 3, 5, 7}); got != 2 {
		t.Errorf("slope %v, want 2", got)
	}
	if got := slopeOf([]float64{4, 4, 4}); got != 0 {
		t.Errorf("slope %v, want 0", got)
	}
}
