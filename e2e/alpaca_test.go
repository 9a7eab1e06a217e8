package e2e

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alpacahq/alpaca-trade-api-go/v3/marketdata"
	"github.com/alpacahq/alpaca-trade-api-go/v3/marketdata/stream"
)

// quiet is the SDK's logger.
type quiet struct{ t *testing.T }

func (q quiet) Infof(string, ...any)           {}
func (q quiet) Warnf(format string, v ...any)  { q.t.Logf("SDK warns: "+format, v...) }
func (q quiet) Errorf(format string, v ...any) { q.t.Logf("SDK: "+format, v...) }

// seen collects what a handler of the SDK got.
type seen[T any] struct {
	mu   sync.Mutex
	list []T
}

func (s *seen[T]) add(v T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, v)
}

func (s *seen[T]) all() []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]T(nil), s.list...)
}

func (s *seen[T]) len() int { return len(s.all()) }

// up runs everything in one process and gives the address for clients.
func up(t *testing.T, source string) (*process, string) {
	t.Helper()
	listen := freeAddr(t)
	p := start(t, "up", "--listen", listen, "--grpc", freeAddr(t), "--source", source)
	return p, listen
}

func stocks(t *testing.T, addr string, opts ...stream.StockOption) *stream.StocksClient {
	t.Helper()
	c := stream.NewStocksClient(marketdata.IEX, append([]stream.StockOption{
		stream.WithBaseURL("http://" + addr + "/v2"), stream.WithCredentials("key", "secret"),
		stream.WithLogger(quiet{t}), stream.WithReconnectSettings(1, time.Millisecond), stream.WithProcessors(1), stream.WithBufferSize(1 << 20),
	}, opts...)...)
	ctx, cancel := context.WithCancel(t.Context())
	if err := c.Connect(ctx); err != nil {
		cancel()
		t.Fatalf("the SDK cannot connect: %v", err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-c.Terminated(); err != nil {
			t.Errorf("the SDK ended: %v", err)
		}
	})
	return c
}

// TestAlpacaStocksOnSimulator has Alpaca's own SDK read simulated prices by a
// changed base URL: trades, quotes and bars, unsubscribe, errors.
func TestAlpacaStocksOnSimulator(t *testing.T) {
	_, addr := up(t, "sim?rate=2000")
	var trades seen[stream.Trade]
	var quotes seen[stream.Quote]
	var daily seen[stream.Bar]
	c := stocks(t, addr, stream.WithTrades(trades.add, "AAPL", "FAKEPACA"), stream.WithQuotes(quotes.add, "*"))
	if err := c.SubscribeToDailyBars(daily.add, "*"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "trades, quotes and daily bars", func() bool { return trades.len() > 20 && quotes.len() > 200 && daily.len() > 20 })
	for _, q := range quotes.all() {
		if q.BidExchange != "SIM" || q.BidPrice <= 0 || q.AskPrice < q.BidPrice || q.Timestamp.IsZero() {
			t.Fatalf("quote %+v", q)
		}
	}
	for _, tr := range trades.all() {
		if tr.Exchange != "SIM" || tr.Price <= 0 || tr.Size == 0 || (tr.Symbol != "AAPL" && tr.Symbol != "FAKEPACA") {
			t.Fatalf("trade %+v", tr)
		}
	}
	if err := c.UnsubscribeFromTrades("AAPL"); err != nil {
		t.Fatal(err)
	}
	before := trades.len()
	eventually(t, "trades of the symbol that is left", func() bool { return trades.len() > before+10 })
	after := trades.all()
	for _, tr := range after[before+5:] { // those that were on their way aside
		if tr.Symbol == "AAPL" {
			t.Fatal("AAPL still comes")
		}
	}
	many := make([]string, 1025)
	for i := range many {
		many[i] = fmt.Sprintf("X%d", i)
	}
	if err := c.SubscribeToTrades(func(stream.Trade) {}, many...); !errors.Is(err, stream.ErrSymbolLimitExceeded) {
		t.Errorf("1,025 symbols: %v", err)
	}
}

// TestAlpacaStocksOnTape replays a day of US equities and compares what the SDK
// got with the tape, the bars of all three kinds among it.
func TestAlpacaStocksOnTape(t *testing.T) {
	file := tape(t, "us-equities.csv.gz")
	_, addr := up(t, "tape:"+file+"?speed=600&offset=1h")
	var trades seen[stream.Trade]
	var bars, daily seen[stream.Bar]
	stocks(t, addr, stream.WithTrades(trades.add, "*"), stream.WithBars(bars.add, "*"), stream.WithDailyBars(daily.add, "*"))
	eventually(t, "trades and bars", func() bool { return trades.len() > 1000 && bars.len() > 200 && daily.len() > 200 })
	got := trades.all()
	i := 0
	for _, k := range readTape(t, file) {
		if i == len(got) {
			break
		}
		tr := got[i]
		if tr.Symbol == k.symbol && tr.Price == number(t, k.price) && float64(tr.Size) == number(t, k.size) && tr.Timestamp.Equal(k.time) {
			i++
		} else if i > 0 {
			t.Fatalf("trade %d of the SDK is %+v, the tape has %+v", i, tr, k)
		}
	}
	if i != len(got) {
		t.Errorf("%d of %d trades are on the tape in order", i, len(got))
	}
	for _, b := range append(bars.all(), daily.all()...) {
		if b.High < b.Low || b.Open > b.High || b.Close < b.Low || b.Volume == 0 || b.TradeCount == 0 || b.VWAP < b.Low-1e-6 || b.VWAP > b.High+1e-6 {
			t.Fatalf("bar %+v", b)
		}
	}
}

// TestAlpacaCryptoOnTape has the SDK's crypto client read real quotes and trades
// with fractions.
func TestAlpacaCryptoOnTape(t *testing.T) {
	file := tape(t, "crypto-binance.csv.gz")
	_, addr := up(t, "tape:"+file+"?speed=20")
	var trades seen[stream.CryptoTrade]
	var quotes seen[stream.CryptoQuote]
	var bars, daily seen[stream.CryptoBar]
	c := stream.NewCryptoClient(marketdata.US,
		stream.WithBaseURL("http://"+addr+"/v1beta3/crypto"), stream.WithCredentials("key", "secret"), stream.WithLogger(quiet{t}),
		stream.WithProcessors(1), stream.WithBufferSize(1<<20), stream.WithReconnectSettings(1, time.Millisecond),
		stream.WithCryptoTrades(trades.add, "BTCUSDT", "ETHUSDT"), stream.WithCryptoQuotes(quotes.add, "BTCUSDT"),
		stream.WithCryptoBars(bars.add, "*"), stream.WithCryptoDailyBars(daily.add, "BTCUSDT"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := c.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "trades, quotes, bars", func() bool {
		return trades.len() > 500 && quotes.len() > 1000 && bars.len() >= 6 && daily.len() > 5
	})
	if err := c.UnsubscribeFromQuotes("BTCUSDT"); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-c.Terminated(); err != nil {
		t.Errorf("the SDK ended: %v", err)
	}
	got := trades.all()
	fractions := 0
	i := 0
	for _, k := range readTape(t, file) {
		if k.price == "" || (k.symbol != "BTCUSDT" && k.symbol != "ETHUSDT") {
			continue
		}
		if i == len(got) {
			break
		}
		tr := got[i]
		if tr.Symbol == k.symbol && tr.Price == number(t, k.price) && tr.Size == number(t, k.size) && tr.Timestamp.Equal(k.time) {
			i++
			if tr.Size != math.Trunc(tr.Size) {
				fractions++
			}
		} else if i > 0 {
			t.Fatalf("trade %d of the SDK is %+v, the tape has %+v", i, tr, k)
		}
	}
	if i != len(got) || fractions == 0 {
		t.Errorf("%d of %d trades are on the tape in order, %d have fractions", i, len(got), fractions)
	}
}

// TestAlpacaUpdatedBars publishes trades through Ingest, one of them late, and
// has the SDK see the corrected minute.
func TestAlpacaUpdatedBars(t *testing.T) {
	listen, grpc := freeAddr(t), freeAddr(t)
	start(t, "up", "--listen", listen, "--grpc", grpc, "--source", "none")
	var bars, updated seen[stream.Bar]
	stocks(t, listen, stream.WithBars(bars.add, "LATE"), stream.WithUpdatedBars(updated.add, "LATE"))
	at := time.Date(2026, 1, 5, 15, 0, 10, 0, time.UTC)
	line := func(after time.Duration, price, size int) string {
		return fmt.Sprintf(`{"T":"t","S":"LATE","p":%d.5,"s":%d,"x":"D","t":%q}`+"\n", price, size, at.Add(after).Format(time.RFC3339Nano))
	}
	p := spawn(t, strings.NewReader(line(0, 10, 1)+line(20*time.Second, 12, 2)+line(65*time.Second, 11, 1)+line(30*time.Second, 14, 5)), "publish", "--grpc", grpc)
	<-p.done
	eventually(t, "the bar and its correction", func() bool { return bars.len() == 1 && updated.len() == 1 })
	b, u := bars.all()[0], updated.all()[0]
	if b.Open != 10.5 || b.High != 12.5 || b.Close != 12.5 || b.Volume != 3 || b.TradeCount != 2 {
		t.Errorf("bar %+v", b)
	}
	if u.Open != 10.5 || u.High != 14.5 || u.Close != 14.5 || u.Volume != 8 || u.TradeCount != 3 || !u.Timestamp.Equal(at.Truncate(time.Minute)) {
		t.Errorf("updated bar %+v", u)
	}
}
