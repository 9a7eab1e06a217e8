package market

import (
	"strings"
	"testing"
	"time"
)

func TestSymbolValidate(t *testing.T) {
	for _, ok := range []Symbol{"A", "BRK.B", "BTC/USD", "BTCUSD_PERP", "ES-Z6", "X:Y", "ACP^"} {
		if err := ok.Validate(); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []Symbol{"", "*", "A B", "É", Symbol(strings.Repeat("A", 33)), "A\x00"} {
		if bad.Validate() == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestEventValidate(t *testing.T) {
	at := time.Date(2024, 8, 8, 23, 54, 0, 0, time.UTC)
	good := Event{Channel: Trades, Symbol: "AAPL", Trade: &Trade{Price: 1, Size: 1, Time: at}}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	halt := &Status{Code: "H", Time: at}
	if err := (&Event{Channel: Statuses, Symbol: "AAPL", Status: halt}).Validate(); err != nil {
		t.Fatal(err)
	}
	for name, e := range map[string]Event{
		"no payload":    {Channel: Trades, Symbol: "AAPL"},
		"two payloads":  {Channel: Trades, Symbol: "AAPL", Trade: good.Trade, Quote: &Quote{Time: at}},
		"wrong payload": {Channel: Quotes, Symbol: "AAPL", Trade: good.Trade},
		"no channel":    {Symbol: "AAPL", Trade: good.Trade},
		"bad symbol":    {Channel: Trades, Symbol: "A A", Trade: good.Trade},
		"no time":       {Channel: Trades, Symbol: "AAPL", Trade: &Trade{Price: 1}},
		"year 3000":     {Channel: Trades, Symbol: "AAPL", Trade: &Trade{Time: at.AddDate(976, 0, 0)}},
		"trade, status": {Channel: Trades, Symbol: "AAPL", Trade: good.Trade, Status: halt},
		"not a status":  {Channel: Statuses, Symbol: "AAPL", Trade: good.Trade},
		"not a trade":   {Channel: Trades, Symbol: "AAPL", Status: halt},
		"no code":       {Channel: Statuses, Symbol: "AAPL", Status: &Status{Message: "Trading Halt", Time: at}},
		"halt, no time": {Channel: Statuses, Symbol: "AAPL", Status: &Status{Code: "H"}},
		"negative size": {Channel: Trades, Symbol: "AAPL", Trade: &Trade{Size: -1, Time: at}},
	} {
		if e.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestChannels(t *testing.T) {
	names := map[string]bool{}
	for i, c := range Channels() {
		if int(c) != i+1 || strings.HasPrefix(c.String(), "channel(") || names[c.String()] {
			t.Errorf("channel %d of the list is %d, %s", i, c, c)
		}
		names[c.String()] = true
	}
	if len(names) != NumChannels-1 {
		t.Errorf("%d channels are listed, %d are counted", len(names), NumChannels-1)
	}
}

func TestStatusTrading(t *testing.T) {
	for code, want := range map[string]Trading{
		"H": TradingHalted, "P": TradingHalted, "Q": TradingHalted, "2": TradingHalted,
		"T": TradingResumed, "3": TradingResumed, "5": 0, "E": 0, "": 0, "h": 0,
	} {
		if got := (&Status{Code: code}).Trading(); got != want {
			t.Errorf("code %q: %s, want %s", code, got, want)
		}
	}
}

func TestPosition(t *testing.T) {
	p := Position{Epoch: 1_700_000_000_000, Seq: MakeSeq(77, 255)}
	if p.Seq.Batch() != 77 || p.Seq.Index() != 255 {
		t.Errorf("seq %d is batch %d, index %d", p.Seq, p.Seq.Batch(), p.Seq.Index())
	}
	back, err := ParsePosition(p.String())
	if err != nil || back != p {
		t.Errorf("%s reads back as %v, %v", p, back, err)
	}
	for _, bad := range []string{"", "-", "1", "1-", "-1", "a-1", "1-2-3", "1--2", "18446744073709551616-0"} {
		if _, err := ParsePosition(bad); err == nil {
			t.Errorf("ParsePosition(%q) was accepted", bad)
		}
	}
}

func FuzzParsePosition(f *testing.F) {
	f.Add("1700000000000-19712")
	f.Add("0-0")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePosition(s)
		if err != nil {
			return
		}
		if back, err := ParsePosition(p.String()); err != nil || back != p {
			t.Fatalf("%q: %v became %v, %v", s, p, back, err)
		}
	})
}
