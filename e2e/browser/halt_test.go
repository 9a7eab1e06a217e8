package browser

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestHalted shows what a venue says about a symbol: that nobody trades it, why, and
// that they do again. Its price stays what it was, and is marked.
func TestHalted(t *testing.T) {
	url, grpc := upServing(t, "--source", "none")
	publish := func(lines ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), binary, "publish", "--grpc", grpc)
		now := time.Now().UTC().Format(time.RFC3339Nano)
		cmd.Stdin = strings.NewReader(strings.ReplaceAll(strings.Join(lines, "\n")+"\n", "NOW", now))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("publish: %v\n%s", err, out)
		}
	}
	publish(`{"T":"t","S":"AAPL","p":189.1,"s":100,"t":"NOW"}`, `{"T":"t","S":"MSFT","p":410,"s":100,"t":"NOW"}`)
	p := open(t, url+"/?symbols=AAPL,MSFT", desktop)
	p.live()
	row := func(what, symbol, trust, note string) {
		t.Helper()
		p.wait(what, fmt.Sprintf(`(() => { const r = document.querySelector(".row[data-symbol=%s]");
			return r.dataset.trust === %q && r.querySelector(".note").textContent === %q && r.querySelector(".last").textContent !== ""; })()`, symbol, trust, note))
	}
	row("a price", "AAPL", "live", "")
	publish(`{"T":"s","S":"AAPL","sc":"H","sm":"Trading Halt","rc":"T1","rm":"News Pending","t":"NOW"}`)
	row("the halt", "AAPL", "halted", "Halted")
	row("no halt of another", "MSFT", "live", "")
	if why := eval[string](p, `document.querySelector(".row[data-symbol=AAPL]").title`); why != "Trading Halt: News Pending" {
		t.Errorf("the halted row says %q", why)
	}
	p.picture("halted")
	publish(`{"T":"s","S":"AAPL","sc":"T","sm":"Trading Resumption","t":"NOW"}`, `{"T":"t","S":"AAPL","p":190,"s":100,"t":"NOW"}`)
	row("trading again", "AAPL", "live", "")
}
