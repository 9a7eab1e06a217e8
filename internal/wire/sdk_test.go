package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/alpacahq/alpaca-trade-api-go/v3/marketdata"
	"github.com/alpacahq/alpaca-trade-api-go/v3/marketdata/stream"
	"github.com/gobwas/ws"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lzstock/lzstock/market"
)

// script answers each of the client's commands with frames, and greets it with the
// first of them.
func script(t *testing.T, conn net.Conn, f Format, answers [][][]byte) error {
	t.Helper()
	for _, a := range answers {
		for _, payload := range a {
			if _, err := conn.Write(AppendFrame(nil, f.Opcode(), payload)); err != nil {
				return err
			}
		}
		for {
			fr, err := readFrame(conn)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			fr = ws.UnmaskFrameInPlace(fr)
			if fr.Header.OpCode == ws.OpClose {
				return nil
			}
			if fr.Header.OpCode == ws.OpPing {
				continue
			}
			cmd, err := ParseCommand(f, fr.Payload)
			if err != nil {
				return fmt.Errorf("the SDK sent %q: %w", fr.Payload, err)
			}
			t.Logf("the SDK sent %s %v", cmd.Action, cmd.Topics)
			break
		}
	}
	return nil
}

// serve runs a server that follows the script and returns its URL.
func serve(t *testing.T, f Format, answers ...[][]byte) string {
	t.Helper()
	failed := make(chan error, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, _, err := ws.UpgradeHTTP(r, w)
		if err == nil {
			defer conn.Close()
			err = script(t, conn, f, answers)
		}
		failed <- err
	}))
	t.Cleanup(func() {
		if err := <-failed; err != nil {
			t.Error(err)
		}
		srv.Close()
	})
	return srv.URL
}

type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Warnf(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}

// TestAlpacaStocksSDK lets Alpaca's own client read what the format writes.
func TestAlpacaStocksSDK(t *testing.T) {
	f := MsgPackStock
	got := make(chan any, 10)
	sub := &Subscription{}
	sub.Symbols[market.Trades] = []market.Symbol{"AAPL"}
	url := serve(t, f,
		[][]byte{AppendConnected(nil, f, &Connected{Conn: "x"})},
		[][]byte{AppendAuthenticated(nil, f)},
		[][]byte{AppendSubscription(nil, f, sub)},
		[][]byte{
			frame(f, Tail{Prev: 5, Merged: 2}, aTrade(), aQuote(), aBar(market.Bars), aBar(market.UpdatedBars), aBar(market.DailyBars), aStatus()),
			AppendSubscription(nil, f, sub),
		},
	)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := stream.NewStocksClient(marketdata.IEX, stream.WithBaseURL(url), stream.WithCredentials("k", "s"), stream.WithLogger(quiet{}),
		stream.WithProcessors(1), stream.WithReconnectSettings(1, time.Millisecond),
		stream.WithTrades(func(t stream.Trade) { got <- t }, "AAPL"),
		stream.WithQuotes(func(q stream.Quote) { got <- q }, "AAPL"),
		stream.WithBars(func(b stream.Bar) { got <- b }, "SPY"),
		stream.WithUpdatedBars(func(b stream.Bar) { got <- b }, "SPY"),
		stream.WithDailyBars(func(b stream.Bar) { got <- b }, "SPY"),
		stream.WithStatuses(func(s stream.TradingStatus) { got <- s }, "AAPL"))
	if err := c.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.UnsubscribeFromTrades("AAPL"); err != nil {
		t.Error(err)
	}
	bar := stream.Bar{Symbol: "SPY", Open: 388.9, High: 389.1, Low: 388.9, Close: 389.1, Volume: 49378, TradeCount: 461, VWAP: 389.06, Timestamp: at("2021-02-22T19:15:00Z")}
	for _, want := range []any{
		stream.Trade{ID: 96921, Symbol: "AAPL", Exchange: "D", Price: 126.55, Size: 1, Timestamp: at("2021-02-22T15:51:44.208Z"), Conditions: []string{"@"}, Tape: "C"},
		stream.Quote{Symbol: "AAPL", BidExchange: "U", BidPrice: 87.66, BidSize: 1, AskExchange: "Q", AskPrice: 87.68, AskSize: 4, Timestamp: at("2021-02-22T15:51:45.335689322Z"), Conditions: []string{"R"}, Tape: "C"},
		bar, bar, bar,
		stream.TradingStatus{
			Symbol: "AAPL", StatusCode: "H", StatusMsg: "Trading Halt", ReasonCode: "T12",
			ReasonMsg: "Trading Halted; For information requested by NASDAQ", Timestamp: at("2021-02-22T19:15:00.5Z"), Tape: "C",
		},
	} {
		if diff := cmp.Diff(want, <-got, cmpopts.IgnoreUnexported(stream.Trade{}, stream.Quote{}), cmpopts.EquateApproxTime(0)); diff != "" {
			t.Error(diff)
		}
	}
}

// TestAlpacaCryptoSDK is the same for crypto, and for its typed errors.
func TestAlpacaCryptoSDK(t *testing.T) {
	f := MsgPackCrypto
	got := make(chan any, 10)
	trade, quote, bar := aTrade(), aQuote(), aBar(market.Bars)
	trade.Symbol, quote.Symbol, bar.Symbol = "BTC/USD", "BTC/USD", "BTC/USD"
	trade.Trade.Size, quote.Quote.AskSize, bar.Bar.Volume = size("0.00012"), size("3.5"), size("7.25")
	url := serve(t, f,
		[][]byte{AppendConnected(nil, f, &Connected{})},
		[][]byte{AppendAuthenticated(nil, f)},
		[][]byte{AppendSubscription(nil, f, &Subscription{})},
		[][]byte{
			frame(f, Tail{}, trade, quote, bar),
			AppendError(nil, f, ErrorMessage{Code: CodeSymbolLimit, Detail: "1025 of 1024"}),
		},
	)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := stream.NewCryptoClient(marketdata.US, stream.WithBaseURL(url), stream.WithCredentials("k", "s"), stream.WithLogger(quiet{}),
		stream.WithProcessors(1), stream.WithReconnectSettings(1, time.Millisecond),
		stream.WithCryptoTrades(func(t stream.CryptoTrade) { got <- t }, "BTC/USD"),
		stream.WithCryptoQuotes(func(q stream.CryptoQuote) { got <- q }, "BTC/USD"),
		stream.WithCryptoBars(func(b stream.CryptoBar) { got <- b }, "BTC/USD"))
	if err := c.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.SubscribeToTrades(func(t stream.CryptoTrade) { got <- t }, "ETH/USD"); err != stream.ErrSymbolLimitExceeded { //nolint:errorlint // the SDK promises the value
		t.Errorf("symbol limit: %v", err)
	}
	for _, want := range []any{
		stream.CryptoTrade{ID: 96921, Symbol: "BTC/USD", Price: 126.55, Size: 0.00012, Timestamp: at("2021-02-22T15:51:44.208Z")},
		stream.CryptoQuote{Symbol: "BTC/USD", BidPrice: 87.66, BidSize: 1, AskPrice: 87.68, AskSize: 3.5, Timestamp: at("2021-02-22T15:51:45.335689322Z")},
		stream.CryptoBar{Symbol: "BTC/USD", Open: 388.9, High: 389.1, Low: 388.9, Close: 389.1, Volume: 7.25, TradeCount: 461, VWAP: 389.06, Timestamp: at("2021-02-22T19:15:00Z")},
	} {
		if diff := cmp.Diff(want, <-got, cmpopts.EquateApproxTime(0)); diff != "" {
			t.Error(diff)
		}
	}
}
