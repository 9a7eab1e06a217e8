package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alpacahq/alpaca-trade-api-go/v3/marketdata/stream"

	"github.com/lzstock/lzstock/client"
	"github.com/lzstock/lzstock/market"
)

// pushLines publishes JSON lines through Ingest, all of which must be stored.
func pushLines(t *testing.T, grpc string, lines ...string) {
	t.Helper()
	p := spawn(t, strings.NewReader(strings.Join(lines, "\n")+"\n"), "publish", "--grpc", grpc)
	<-p.done
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Fatalf("publish ended with %d:\n%s", code, p.out)
	}
}

// collect runs the Go client and collects its events.
func collect(t *testing.T, addr string, topics ...market.Topic) *seen[client.Event] {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c, err := client.Dial(ctx, client.Config{URL: "ws://" + addr})
	if err != nil {
		t.Fatal(err)
	}
	var got seen[client.Event]
	var reading sync.WaitGroup
	reading.Go(func() {
		for e, err := range c.Events() {
			if err != nil {
				return
			}
			got.add(e)
		}
	})
	t.Cleanup(func() { _ = c.Close(); cancel(); reading.Wait() })
	if err := c.Subscribe(ctx, topics...); err != nil {
		t.Fatal(err)
	}
	return &got
}

// TestHalts publishes a halt and its end through Ingest. Who is there sees both, by
// Alpaca's SDK, the Go client, watch and the bare protocol. Who comes in between
// learns that the symbol is halted, also from a monitor that was started anew; who
// comes back gets what it missed.
func TestHalts(t *testing.T) {
	nats := natsServer(t)
	grpc, listen := freeAddr(t), freeAddr(t)
	args := []string{"monitor", "--grpc", grpc, "--nats", nats}
	monitor := start(t, args...)
	start(t, "gateway", "--listen", listen, "--monitor", grpc)
	var sdk seen[stream.TradingStatus]
	stocks(t, listen, stream.WithStatuses(sdk.add, "*"))
	native := open(t, listen, "/v1/stream?statuses=AAPL&trades=*").listen(0).waitSubscribed()
	events := collect(t, listen, client.Statuses("AAPL")...)
	watch := spawn(t, nil, "watch", "--url", "ws://"+listen, "AAPL")

	halted := time.Date(2026, 1, 5, 15, 0, 0, 250e6, time.UTC)
	const reason = "Trading Halted; For information requested by NASDAQ"
	pushLines(t, grpc,
		`{"T":"t","S":"AAPL","p":189.1,"s":100,"t":"2026-01-05T15:00:00Z"}`,
		`{"T":"s","S":"AAPL","sc":"H","sm":"Trading Halt","rc":"T12","rm":"`+reason+`","t":"2026-01-05T15:00:00.25Z","z":"C"}`,
		`{"T":"s","S":"MSFT","sc":"5","sm":"Price Indication","t":"2026-01-05T15:00:01Z"}`)
	eventually(t, "the halt", func() bool { return sdk.len() == 2 && events.len() == 1 && len(native.of("s")) == 1 })
	want := stream.TradingStatus{
		Symbol: "AAPL", StatusCode: "H", StatusMsg: "Trading Halt", ReasonCode: "T12", ReasonMsg: reason, Timestamp: halted, Tape: "C",
	}
	got := sdk.all()[0]
	if got.Timestamp = got.Timestamp.UTC(); got != want {
		t.Errorf("the SDK got %+v, want %+v", got, want)
	}
	e := events.all()[0]
	if e.Channel != market.Statuses || e.Status == nil || e.Status.Trading() != market.TradingHalted || !e.Time().Equal(halted) || e.Snapshot {
		t.Errorf("the Go client got %+v, %+v", e, e.Status)
	}
	eventually(t, "the line of watch", func() bool {
		return strings.Contains(watch.out.String(), "AAPL     halted: Trading Halt, T12 "+reason)
	})
	halt := native.of("s")[0]

	monitor.kill()
	start(t, args...)
	late := open(t, listen, "/v1/stream?statuses=*&delivery=latest").listen(0).waitSubscribed()
	eventually(t, "the halt as a current value", func() bool { return len(late.of("s")) == 2 })
	for _, m := range late.of("s") {
		if m["snap"] != true || m.text("S") == "AAPL" && (m.text("sc") != "H" || m.number("q") != halt.number("q")) {
			t.Errorf("who comes late is told %v", m)
		}
	}

	pushLines(t, grpc, `{"T":"s","S":"AAPL","sc":"T","sm":"Trading Resumption","t":"2026-01-05T15:10:00Z","z":"C"}`)
	eventually(t, "the resumption", func() bool {
		return sdk.len() >= 3 && events.len() == 2 && len(native.of("s")) == 2 && len(late.of("s")) == 3
	})
	if s := sdk.all(); s[len(s)-1].StatusCode != "T" || events.all()[1].Status.Trading() != market.TradingResumed || events.all()[1].Broken {
		t.Errorf("the SDK got %+v, the Go client %+v", s, events.all()[1])
	}
	if m := native.of("s")[1]; m.text("sc") != "T" || m.number("pq") != halt.number("q") {
		t.Errorf("after %v comes %v", halt, m)
	}

	before := native.of("t")[0].number("q")
	epoch := native.messages()[0].number("epoch")
	back := open(t, listen, fmt.Sprintf("/v1/stream?statuses=AAPL&delivery=every&since=%d-%d", epoch, before)).listen(0).waitSubscribed()
	eventually(t, "what was missed", func() bool { return len(back.of("s")) >= 2 })
	if s := back.of("s"); s[0].text("sc") != "H" || s[1].text("sc") != "T" || s[1].number("pq") != s[0].number("q") || len(back.of("gap")) > 0 {
		t.Errorf("who comes back gets %v", s)
	}
}

// TestHaltsOnSimulator has Alpaca's SDK hear of a simulated halt.
func TestHaltsOnSimulator(t *testing.T) {
	_, addr := up(t, "sim?halts=3600")
	var sdk seen[stream.TradingStatus]
	stocks(t, addr, stream.WithStatuses(sdk.add, "*"))
	eventually(t, "a halt", func() bool { return sdk.len() > 0 })
	if s := sdk.all()[0]; s.StatusCode != "H" || s.ReasonCode != "LUDP" || s.Symbol == "" || s.Timestamp.IsZero() || !strings.Contains(s.ReasonMsg, "simulated") {
		t.Errorf("the SDK got %+v", s)
	}
}
