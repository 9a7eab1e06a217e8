package watch

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lzstock/lzstock/client"
	"github.com/lzstock/lzstock/market"
)

// drawn gives what a table shows, without control sequences other than colours.
func drawn(t *table, now time.Time) string {
	s := string(t.draw(nil, now))
	for _, code := range []string{hideCursor, clearLine, clearDown} {
		s = strings.ReplaceAll(s, code, "")
	}
	if _, rest, ok := strings.Cut(s, "A\r"); ok {
		s = rest
	}
	var out strings.Builder
	for line := range strings.Lines(s) {
		out.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return out.String()
}

func TestTable(t *testing.T) {
	cfg := &Config{URL: "ws://gw", Symbols: []market.Symbol{"MSFT", "AAPL", "*"}, Size: func() (int, int) { return 100, 24 }}
	tab := newTable(cfg)
	now := noon
	feed := func(e market.Event) { tab.event(&client.Event{Event: e}, now) }
	tab.state(client.State{Phase: client.Connected, Feed: market.Feed{State: market.FeedLive}}, now)
	feed(trade("AAPL", "189.12", "1"))
	feed(trade("AAPL", "190.5", "1"))
	feed(trade("AAPL", "190.25", "1"))
	feed(quote("AAPL", "190.2", "190.3"))
	feed(day("AAPL", "1204300.5"))
	feed(trade("BTC/USD", "60000", "0.25"))
	feed(trade("BTC/USD", "59999.5", "0.25"))
	now = now.Add(1500 * time.Millisecond)
	want := `ws://gw  connected  feed live
SYMBOL      LAST  CHANGE            BID   ASK    SIZES           VOLUME   AGE
AAPL      190.25   +1.13  +0.59%  190.2 × 190.3      3 × 1  1,204,300.5  1.5s  simulated
BTC/USD  59999.5    -0.5  -0.00%                                         1.5s
MSFT                                                                           no price yet
`
	if got := drawn(tab, now); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}

	tab.state(client.State{Phase: client.Connected, Feed: market.Feed{State: market.FeedStale, Since: now.Add(-3 * time.Second)}, Throttled: true}, now)
	if got := drawn(tab, now); !strings.Contains(got, "feed stale for 3.0s  throttled") || strings.Count(got, "stale") != 3 || strings.Contains(got, "simulated") {
		t.Errorf("stale:\n%s", got)
	}
	tab.state(client.State{Phase: client.Waiting, Err: &client.Error{Reason: "connection lost", Err: errors.New("EOF")}, Next: now.Add(1234 * time.Millisecond)}, now)
	if got := drawn(tab, now); !strings.HasPrefix(got, "ws://gw  not connected, next attempt in 1.2s: connection lost: EOF\n") || strings.Count(got, "stale") != 2 {
		t.Errorf("disconnected:\n%s", got)
	}
	cfg.URLs = []string{"ws://other"}
	for _, tc := range []struct {
		state client.State
		want  string
	}{
		{client.State{Phase: client.Waiting, Again: true, URL: "ws://other", Err: errors.New("EOF"), Next: now}, "ws://other  reconnecting, next attempt at once: EOF\n"},
		{client.State{Phase: client.Connecting, Again: true, URL: "ws://gw"}, "ws://gw  reconnecting\n"},
		{client.State{Phase: client.Connecting, URL: "ws://gw"}, "ws://gw  connecting\n"},
		{client.State{Phase: client.Connected, URL: "ws://gw", Moving: true, Feed: market.Feed{State: market.FeedLive}}, "ws://gw  connected  moving  feed live\n"},
	} {
		tab.state(tc.state, now)
		if got := drawn(tab, now); !strings.HasPrefix(got, tc.want) || !strings.Contains(got, "190.25") || strings.Contains(got, "stale") == (tc.state.Phase == client.Connected) {
			t.Errorf("got\n%s\nwant %s", got, tc.want)
		}
	}
	tab.gap(client.Gap{}, now)
	if got := drawn(tab, now); !strings.HasPrefix(got, "ws://gw  connected  moving  feed live  gaps 1\n") {
		t.Errorf("after a gap:\n%s", got)
	}
	cfg.URLs = nil

	cfg.Color = true
	tab.state(client.State{Phase: client.Connected}, now)
	if got := drawn(tab, now); !strings.Contains(got, "\x1b[31m") || !strings.Contains(got, "\x1b[32m") {
		t.Errorf("no red and green:\n%q", got)
	}
	cfg.Color = false

	tab.rejected(client.Rejection{Topic: market.Topic{Channel: market.Bars, Symbol: "X"}, Reason: "unknown symbol"}, now)
	cfg.Size = func() (int, int) { return 20, 7 }
	got := drawn(tab, now)
	for line := range strings.Lines(got) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 20 {
			t.Errorf("%d cells in %q", n, line)
		}
	}
	if !strings.Contains(got, "… and 1 more") || !strings.Contains(got, "refused: bars:X") || strings.Count(got, "\n") != 6 {
		t.Errorf("a small terminal:\n%s", got)
	}
}

func TestChange(t *testing.T) {
	for _, tc := range []struct{ from, to, diff, percent string }{
		{"100", "101.5", "+1.5", "+1.50%"},
		{"100", "99", "-1", "-1.00%"},
		{"100", "100", "0", "0.00%"},
		{"0", "5", "+5", ""},
		{"-2", "-1", "+1", "+50.00%"},
		{"0.000000001", "9000000000", "+8999999999.999999999", ""},
		{"9000000000", "0.01", "-8999999999.99", "-99.99%"},
	} {
		diff, percent, _ := change(price(tc.from), price(tc.to))
		if diff != tc.diff || percent != tc.percent {
			t.Errorf("%s to %s: %s %s, want %s %s", tc.from, tc.to, diff, percent, tc.diff, tc.percent)
		}
	}
}

func TestAges(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0.0s", 0: "0.0s", 1250 * time.Millisecond: "1.2s", 65 * time.Second: "1m5s", 25*time.Hour + 90*time.Second: "25h1m0s",
	} {
		if got := age(d); got != want {
			t.Errorf("%s is %s, want %s", d, got, want)
		}
	}
	for in, want := range map[string]string{"1": "1", "123": "123", "1234": "1,234", "1234567.25": "1,234,567.25"} {
		if got := thousands(market.Size(price(in))); got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
}
