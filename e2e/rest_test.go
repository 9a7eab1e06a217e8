package e2e

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alpacahq/alpaca-trade-api-go/v3/marketdata"
	"github.com/google/go-cmp/cmp"
)

func restClient(addr string) *marketdata.Client {
	return marketdata.NewClient(marketdata.ClientOpts{
		APIKey: "key", APISecret: "secret", BaseURL: "http://" + addr, RetryLimit: 1, RetryDelay: time.Millisecond, Feed: marketdata.IEX, Currency: "USD",
	})
}

// TestAlpacaRESTOnSimulator has Alpaca's own SDK ask for what is current.
func TestAlpacaRESTOnSimulator(t *testing.T) {
	p, addr := up(t, "sim?rate=2000")
	c := restClient(addr)
	eventually(t, "snapshots", func() bool {
		got, err := c.GetSnapshots([]string{"AAPL", "MSFT"}, marketdata.GetSnapshotRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return len(got) == 2 && got["AAPL"].LatestTrade != nil && got["MSFT"].DailyBar != nil && got["MSFT"].LatestTrade != nil
	})
	trades, err := c.GetLatestTrades([]string{"AAPL", "MSFT", "NONE"}, marketdata.GetLatestTradeRequest{})
	if err != nil || len(trades) != 2 || trades["AAPL"].Price <= 0 || trades["AAPL"].Exchange != "SIM" || trades["AAPL"].Timestamp.IsZero() {
		t.Errorf("trades %+v, error %v", trades, err)
	}
	quote, err := c.GetLatestQuote("MSFT", marketdata.GetLatestQuoteRequest{})
	if err != nil || quote == nil || quote.AskPrice < quote.BidPrice {
		t.Errorf("quote %+v, error %v", quote, err)
	}
	if _, err := c.GetBars("AAPL", marketdata.GetBarsRequest{TimeFrame: marketdata.OneWeek}); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("weeks: %v", err)
	}
	code, text := get("http://" + addr + "/v1/symbols?prefix=appl")
	if code != http.StatusOK || !strings.Contains(text, `{"symbol":"AAPL","name":"Apple Inc."}`) {
		t.Errorf("symbols: %d %s", code, text)
	}
	if n := p.metric(`lzstock_gateway_rest_seconds_count{path="/v2/stocks/trades/latest",status="200"}`); n != 1 {
		t.Errorf("%v calls are counted, want 1", n)
	}
}

// published are trades of three days, one of them late, as publish reads them.
func published() string {
	day := time.Date(2026, 1, 5, 15, 0, 0, 0, time.UTC)
	var s strings.Builder
	line := func(symbol string, at time.Time, price float64, size int) {
		fmt.Fprintf(&s, `{"T":"t","S":%q,"p":%.2f,"s":%d,"x":"D","t":%q}`+"\n", symbol, price, size, at.Format(time.RFC3339Nano))
	}
	for d := range 3 {
		for m := range 40 {
			at := day.AddDate(0, 0, d).Add(time.Duration(m) * time.Minute)
			line("AAPL", at, float64(100*d+m)+0.25, 10)
			line("AAPL", at.Add(30*time.Second), float64(100*d+m)+0.75, 30)
			line("MSFT", at.Add(40*time.Second), 7, 1)
		}
	}
	last := day.AddDate(0, 0, 2).Add(39 * time.Minute)
	line("AAPL", last.Add(-10*time.Minute+time.Second), 999.5, 10) // late: the bar of minute 29 is corrected
	line("MSFT", last.Add(2*time.Minute), 7, 1)
	return s.String()
}

// TestAlpacaRESTBars publishes three days, has the SDK read their bars in pages of
// many sizes, kills the process, and reads them again from what it has kept.
func TestAlpacaRESTBars(t *testing.T) {
	listen, grpc, data := freeAddr(t), freeAddr(t), t.TempDir()
	args := []string{"up", "--listen", listen, "--grpc", grpc, "--source", "none", "--data", data}
	first := start(t, args...)
	p := spawn(t, strings.NewReader(published()), "publish", "--grpc", grpc)
	<-p.done
	c := restClient(listen)
	begin := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	read := func(req marketdata.GetBarsRequest) map[string][]marketdata.Bar {
		t.Helper()
		req.Start = begin
		got, err := c.GetMultiBars([]string{"MSFT", "AAPL"}, req)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	var whole map[string][]marketdata.Bar
	eventually(t, "all bars", func() bool {
		whole = read(marketdata.GetBarsRequest{TimeFrame: marketdata.OneMin})
		return len(whole["AAPL"]) == 120 && len(whole["MSFT"]) == 120 && whole["AAPL"][109].High == 999.5
	})
	if b := whole["AAPL"][109]; b.Open != 229.25 || b.Close != 229.75 || b.Volume != 50 || b.TradeCount != 3 || math.Abs(b.VWAP-(2292.5+9995+229.75*30)/50) > 1e-9 {
		t.Errorf("corrected %+v", b)
	}
	for _, size := range []int{1, 7, 119, 120, 241} {
		if diff := cmp.Diff(whole, read(marketdata.GetBarsRequest{TimeFrame: marketdata.OneMin, PageLimit: size})); diff != "" {
			t.Errorf("in pages of %d:\n%s", size, diff)
		}
		back := read(marketdata.GetBarsRequest{TimeFrame: marketdata.OneMin, PageLimit: size, Sort: marketdata.SortDesc})
		for _, list := range back {
			slices.Reverse(list)
		}
		if diff := cmp.Diff(whole, back); diff != "" {
			t.Errorf("backward in pages of %d:\n%s", size, diff)
		}
	}
	days := read(marketdata.GetBarsRequest{})
	if d := days["AAPL"]; len(d) != 3 || d[0].Open != 0.25 || d[0].Close != 39.75 || d[0].Volume != 1600 || d[0].TradeCount != 80 || !d[1].Timestamp.Equal(begin.AddDate(0, 0, 1)) {
		t.Errorf("days %+v", d)
	}
	five := read(marketdata.GetBarsRequest{TimeFrame: marketdata.NewTimeFrame(5, marketdata.Min)})
	if d := five["AAPL"]; len(d) != 24 || d[1].Open != 5.25 || d[1].Close != 9.75 {
		t.Errorf("five minutes %+v", d)
	}
	if got := read(marketdata.GetBarsRequest{TimeFrame: marketdata.OneHour, End: begin.Add(20 * time.Hour)}); len(got["AAPL"]) != 1 || got["AAPL"][0].TradeCount != 80 {
		t.Errorf("hours %+v", got)
	}
	bars, err := c.GetLatestBars([]string{"AAPL"}, marketdata.GetLatestBarRequest{})
	if err != nil || bars["AAPL"].Close != 239.75 {
		t.Errorf("latest bar %+v, error %v", bars, err)
	}
	snap, err := c.GetSnapshot("AAPL", marketdata.GetSnapshotRequest{})
	if err != nil || snap.PrevDailyBar == nil || snap.PrevDailyBar.Close != 139.75 || snap.DailyBar.High != 999.5 || snap.MinuteBar.Close != 239.75 {
		t.Errorf("snapshot %+v, error %v", snap, err)
	}
	first.kill()
	start(t, args...)
	if diff := cmp.Diff(whole, read(marketdata.GetBarsRequest{TimeFrame: marketdata.OneMin})); diff != "" {
		t.Errorf("after the restart:\n%s", diff)
	}
	if diff := cmp.Diff(days, read(marketdata.GetBarsRequest{})); diff != "" {
		t.Errorf("days after the restart:\n%s", diff)
	}
}
