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
	for name, e := range map[string]Event{
		"no payload":    {Channel: Trades, Symbol: "AAPL"},
		"two payloads":  {Channel: Trades, Symbol: "AAPL", Trade: good.Trade, Quote: &Quote{Time: at}},
		"wrong payload": {Channel: Quotes, Symbol: "AAPL", Trade: good.Trade},
		"no channel":    {Symbol: "AAPL", Trade: good.Trade},
		"bad symbol":    {Channel: Trades, Symbol: "A A", Trade: good.Trade},
		"no time":       {Channel: Trades, Symbol: "AAPL", Trade: &Trade{Price: 1}},
		"year 3000":     {Channel: Trades, Symbol: "AAPL", Trade: &Trade{Time: at.AddDate(976, 0, 0)}},
		"negative size": {Channel: Trades, Symbol: "AAPL", Trade: &Trade{Size: -1, Time: at}},
	} {
		if e.Validate() == nil {
			t.Errorf("%s: accepted", name)
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
