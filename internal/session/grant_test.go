package session

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lzstock/lzstock/market"
)

func TestGrantAllows(t *testing.T) {
	topic := func(c market.Channel, s market.Symbol) market.Topic { return market.Topic{Channel: c, Symbol: s} }
	some := Grant{Channels: []market.Channel{market.Trades}, Symbols: []Pattern{"AAPL", "BTC*"}}
	for _, c := range []struct {
		grant Grant
		topic market.Topic
		want  bool
	}{
		{Grant{}, topic(market.Quotes, "MSFT"), true},
		{Grant{}, topic(market.Quotes, "*"), true},
		{some, topic(market.Trades, "AAPL"), true},
		{some, topic(market.Trades, "AAPL.B"), false},
		{some, topic(market.Trades, "BTC/USD"), true},
		{some, topic(market.Trades, "BTC"), true},
		{some, topic(market.Trades, "ETH"), false},
		{some, topic(market.Trades, "*"), true},
		{some, topic(market.Quotes, "AAPL"), false},
		{some, topic(market.Quotes, "*"), false},
		{Grant{Symbols: []Pattern{"*"}}, topic(market.Bars, "MSFT"), true},
	} {
		if got := c.grant.Allows(c.topic); got != c.want {
			t.Errorf("%+v allows %v: %v, want %v", c.grant, c.topic, got, c.want)
		}
	}
}

func TestGrantText(t *testing.T) {
	text := `{"channels":["trades","dailyBars"],"symbols":["AAPL","BTC*"],"delay":"15m0s","limits":{"symbols":100,"sockets":2}}`
	want := Grant{
		Channels: []market.Channel{market.Trades, market.DailyBars}, Symbols: []Pattern{"AAPL", "BTC*"},
		Delay: 15 * time.Minute, Limits: Limits{Symbols: 100, Sockets: 2},
	}
	var got Grant
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if back, err := json.Marshal(got); err != nil || string(back) != text {
		t.Errorf("written back as %s, %v", back, err)
	}
}

func TestBadGrants(t *testing.T) {
	for text, want := range map[string]string{
		`{"channels":["ticks"]}`:       `no channel "ticks", want some of [trades quotes`,
		`{"symbols":["A*B"]}`:          `bad pattern "A*B": want a symbol`,
		`{"symbols":[""]}`:             `bad pattern "": want a symbol`,
		`{"delay":"15"}`:               `delay is "15", want a time such as 15m`,
		`{"delay":"-1m"}`:              `delay is "-1m"`,
		`{"limits":{"sockets":-1}}`:    `must not be negative`,
		`{"symbol":["AAPL"]}`:          `unknown field "symbol"`,
		`{"limits":{"connections":1}}`: `unknown field "connections"`,
	} {
		var g Grant
		if err := json.Unmarshal([]byte(text), &g); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
