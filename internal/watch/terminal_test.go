package watch

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/gobwas/ws/wsutil"

	"github.com/lzstock/lzstock/client"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// stand is a terminal that nobody looks at.
func stand(cfg Config) *terminal {
	cfg.Terminal = true
	wanted, err := cfg.wanted()
	if err != nil {
		panic(err)
	}
	b := newBoard(cfg.Symbols)
	return newTerminal(&watcher{wanted: wanted, display: b}, &cfg, b)
}

// drawn gives what it shows, without spaces at ends of lines and empty lines.
func (t *terminal) drawn(now time.Time) string {
	var out strings.Builder
	for line := range strings.Lines(t.screen.draw(t.board, t.width, t.height, now)) {
		if line = strings.TrimRight(line, " \n"); line != "" {
			out.WriteString(line + "\n")
		}
	}
	return out.String()
}

// press has keys pressed: names of keys, or text that is typed.
func (t *terminal) press(keys ...string) (quit bool) {
	special := map[string]rune{"up": tea.KeyUp, "down": tea.KeyDown, "enter": tea.KeyEnter, "esc": tea.KeyEscape, "backspace": tea.KeyBackspace, "home": tea.KeyHome, "end": tea.KeyEnd, "pgdown": tea.KeyPgDown}
	for _, k := range keys {
		if code, ok := special[k]; ok {
			t.Update(tea.KeyPressMsg{Code: code})
			continue
		}
		for _, r := range k {
			_, cmd := t.Update(tea.KeyPressMsg{Code: r, Text: string(r)})
			if cmd != nil {
				_, quit = cmd().(tea.QuitMsg)
			}
		}
	}
	return quit
}

func live() client.State {
	return client.State{Phase: client.Connected, Feed: market.Feed{State: market.FeedLive}}
}

func TestTable(t *testing.T) {
	term := stand(Config{URL: "ws://gw", Symbols: []market.Symbol{"MSFT", "AAPL", "*"}})
	term.width = 110
	b, now := term.board, noon
	feed := func(e market.Event) { b.event(&client.Event{Event: e}, now) }
	b.state(live(), now)
	feed(trade("AAPL", "189.12", "1"))
	feed(trade("AAPL", "190.5", "1"))
	feed(trade("AAPL", "190.25", "1"))
	feed(quote("AAPL", "190.2", "190.3"))
	feed(day("AAPL", "1204300.5"))
	feed(trade("BTC/USD", "60000", "0.25"))
	feed(trade("BTC/USD", "59999.5", "0.25"))
	now = now.Add(1500 * time.Millisecond)
	want := `ws://gw  connected  feed live  7 events/s
  SYMBOL▾      LAST  CHANGE                BID   ASK     SPREAD       VOLUME   AGE
  AAPL       190.25   +1.13  +0.59%  ▄  190.20 × 190.30    0.10  1,204,300.5  1.5s  simulated
  BTC/USD  59999.50   -0.50  -0.00%  ▄                                        1.5s
  MSFT                                                                              no price yet
` + keysOfTable + "\n"
	if got := term.drawn(now); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}

	s := live()
	s.Feed = market.Feed{State: market.FeedStale, Since: now.Add(-3 * time.Second), Reason: market.FeedLost, Sources: []market.FeedSource{{Name: "sim", State: market.FeedStale, Reason: market.FeedLost, Since: now.Add(-4 * time.Second)}}}
	s.Throttled = true
	b.state(s, now)
	if got := term.drawn(now); !strings.Contains(got, "feed stale for 3.0s (lost)  throttled") || !strings.Contains(got, "\nsource sim: stale, lost for 4.0s\n") || strings.Count(got, "stale\n") != 2 || strings.Contains(got, "simulated") {
		t.Errorf("stale:\n%s", got)
	}
	now = now.Add(2 * time.Second) // no events for a second
	for _, tc := range []struct {
		state client.State
		want  string
	}{
		{client.State{Phase: client.Waiting, Err: &client.Error{Reason: "connection lost", Err: errors.New("EOF")}, Next: now.Add(1234 * time.Millisecond)}, "ws://gw  not connected, next attempt in 1.2s: connection lost: EOF\n"},
		{client.State{Phase: client.Waiting, Again: true, Err: errors.New("EOF"), Next: now}, "ws://gw  reconnecting, next attempt at once: EOF\n"},
		{client.State{Phase: client.Connecting, Again: true}, "ws://gw  reconnecting\n"},
		{client.State{Phase: client.Connecting}, "ws://gw  connecting\n"},
		{client.State{Phase: client.Closed}, "ws://gw  closed\n"},
		{client.State{Phase: client.Connected, Moving: true, Feed: market.Feed{State: market.FeedLive}}, "ws://gw  connected  moving  feed live  0 events/s\n"},
	} {
		b.state(tc.state, now)
		if got := term.drawn(now); !strings.HasPrefix(got, tc.want) || !strings.Contains(got, "190.25") || strings.Contains(got, "stale") == (tc.state.Phase == client.Connected) {
			t.Errorf("got\n%s\nwant %s", got, tc.want)
		}
	}
	term.screen.urls = []string{"ws://gw", "ws://other"}
	b.state(client.State{Phase: client.Connecting, URL: "ws://other"}, now)
	b.gap(client.Gap{}, now)
	if got := term.drawn(now); !strings.HasPrefix(got, "ws://other  connecting  gaps 1\n") {
		t.Errorf("after a gap:\n%s", got)
	}

	b.rejected(client.Rejection{Topic: market.Topic{Channel: market.Bars, Symbol: "X"}, Reason: "unknown symbol"}, now)
	term.width, term.height = 20, 7
	got := term.drawn(now)
	for line := range strings.Lines(got) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 20 {
			t.Errorf("%d cells in %q", n, line)
		}
	}
	if !strings.Contains(got, "… and 1 more") && !strings.Contains(got, "… and 2 more") || !strings.Contains(got, "refused: bars:X") || strings.Count(got, "\n") > 7 {
		t.Errorf("a small terminal:\n%s", got)
	}
}

// A halted symbol says so until it is traded again, also before its first price.
func TestHaltsAreMarked(t *testing.T) {
	term := stand(Config{URL: "ws://gw", Symbols: []market.Symbol{"AAPL", "MSFT"}})
	term.width = 160
	b := term.board
	feed := func(e market.Event, at time.Time) { b.event(&client.Event{Event: e}, at) }
	b.state(live(), noon)
	line := func(s market.Symbol) string {
		for l := range strings.Lines(term.drawn(noon.Add(10 * time.Second))) {
			if l = strings.TrimSpace(l); strings.HasPrefix(l, string(s)) {
				return l
			}
		}
		return ""
	}
	const halted = "halted: Trading Halt, LUDP Volatility Trading Pause"
	feed(quote("AAPL", "190.2", "190.3"), noon)
	feed(status(4, "AAPL", "H", "Trading Halt", "Volatility Trading Pause"), noon.Add(5*time.Second))
	feed(status(4, "MSFT", "H", "Trading Halt", "Volatility Trading Pause"), noon.Add(5*time.Second))
	feed(status(4, "MSFT", "5", "Price Indication", ""), noon.Add(6*time.Second)) // which says nothing about the halt
	if got := line("AAPL"); !strings.HasSuffix(got, "10s  "+halted) {
		t.Errorf("a halt is shown as %q, want the age of the quote and %q", got, halted)
	}
	if got := line("MSFT"); !strings.HasSuffix(got, halted) {
		t.Errorf("a halt without a price is shown as %q", got)
	}
	b.state(client.State{Phase: client.Connected, Feed: market.Feed{State: market.FeedStale, Since: noon}}, noon)
	if got := line("AAPL"); !strings.HasSuffix(got, "stale, last "+halted) {
		t.Errorf("a halt of a stale feed is shown as %q", got)
	}
	b.state(live(), noon)
	feed(status(4, "AAPL", "T", "Trading Resumption", ""), noon.Add(7*time.Second))
	if got := line("AAPL"); strings.Contains(got, "halted") || !strings.HasSuffix(got, "simulated") {
		t.Errorf("after the resumption: %q", got)
	}
	b.gap(client.Gap{Reason: client.Renumbered}, noon)
	if got := line("MSFT"); !strings.HasSuffix(got, "no price yet") {
		t.Errorf("a halt of the feed before: %q", got)
	}
}

func TestSecretsOfAddressesAreHidden(t *testing.T) {
	const secret = "ws://a:hunter2@gw/v1/stream?session_id=hunter2"
	cfg := Config{URL: secret, URLs: []string{secret}, Symbols: []market.Symbol{"AAPL"}}
	s := stand(cfg)
	state := live()
	state.URL = secret
	now := time.Now()
	s.board.state(state, now)
	failed := state
	failed.Phase, failed.Err = client.Waiting, errors.New("dial "+secret)
	shown := s.drawn(now)
	s.board.state(failed, now)
	shown += s.drawn(now)
	one, more := &lines{url: secret}, &lines{several: true}
	for _, l := range []*lines{one, more} {
		l.state(state, now)
		l.state(failed, now)
	}
	shown += string(one.take()) + string(more.take())
	if strings.Contains(shown, "hunter2") || strings.Count(shown, "ws://a:***@gw/v1/stream?session_id=***") != 6 {
		t.Errorf("%s", shown)
	}
}

func TestColours(t *testing.T) {
	for _, wanted := range []bool{true, false} {
		term := stand(Config{URL: "ws://gw", Color: wanted, Symbols: []market.Symbol{"A"}})
		term.board.state(live(), noon)
		for _, p := range []string{"2", "3", "1"} {
			term.board.event(&client.Event{Event: trade("A", p, "1")}, noon)
		}
		if got := term.drawn(noon); strings.Contains(got, "\x1b[31m  1.00") != wanted || strings.Contains(got, "\x1b[") != wanted {
			t.Errorf("colours wanted: %t\n%q", wanted, got)
		}
	}
}

func TestSort(t *testing.T) {
	term := stand(Config{URL: "ws://gw", Symbols: []market.Symbol{"NONE"}})
	b := term.board
	now := noon
	for _, s := range []struct {
		symbol                       market.Symbol
		first, last, bid, ask, total string
	}{{"A", "10", "12", "11.9", "12.1", "100"}, {"B", "5", "20", "19.9", "20", "300"}, {"C", "30", "29", "28", "30", "200"}} {
		now = now.Add(time.Second)
		b.event(&client.Event{Event: trade(s.symbol, s.first, "1")}, now)
		b.event(&client.Event{Event: trade(s.symbol, s.last, "1")}, now)
		b.event(&client.Event{Event: quote(s.symbol, s.bid, s.ask)}, now)
		b.event(&client.Event{Event: day(s.symbol, s.total)}, now)
	}
	for i, want := range []string{"A B C NONE", "C B A NONE", "B A C NONE", "B A C NONE", "B C A NONE", "C B A NONE"} {
		order := func() string {
			var out []string
			for _, s := range b.sorted(term.screen.by, term.screen.reverse) {
				out = append(out, string(s))
			}
			return strings.Join(out, " ")
		}
		if got := order(); got != want {
			t.Errorf("sorted by %d: %s, want %s", i, got, want)
		}
		term.press("r")
		if got := order(); i > 0 && got == want || i > 0 && !strings.HasSuffix(got, " NONE") || i == 0 && got != "NONE C B A" {
			t.Errorf("sorted by %d in reverse: %s", i, got)
		}
		term.press("r", "s")
	}
	if term.screen.by != bySymbol {
		t.Errorf("after all columns it is sorted by %d", term.screen.by)
	}
}

// TestKeys adds, selects, removes, and opens a symbol's detail: the screen and what
// is subscribed to follow.
func TestKeys(t *testing.T) {
	term := stand(Config{URL: "ws://gw", Symbols: []market.Symbol{"A", "B", "C"}, Channels: []market.Channel{market.Quotes}})
	wants := func(want string) {
		t.Helper()
		got := make(map[string]bool)
		for topic := range term.watcher.wanted.topics() {
			got[topic.String()] = true
		}
		for one := range strings.FieldsSeq(want) {
			if !got[one] {
				t.Errorf("%s is not wanted in %v", one, got)
			}
		}
		if len(got) != len(strings.Fields(want)) {
			t.Errorf("wanted %v, want %s", got, want)
		}
	}
	selected := func(want market.Symbol) {
		t.Helper()
		if term.screen.selected != want {
			t.Errorf("%q is selected, want %q", term.screen.selected, want)
		}
	}
	term.press("down")
	selected("A")
	term.press("down", "down", "down", "up")
	selected("B")
	if got := term.drawn(noon); !strings.Contains(got, "› B") {
		t.Errorf("nothing marks the selected one:\n%s", got)
	}
	term.press("enter")
	wants("quotes:A quotes:B quotes:C trades:B bars:B updatedBars:B")
	term.press("down")
	wants("quotes:A quotes:B quotes:C trades:C bars:C updatedBars:C")
	term.press("esc")
	wants("quotes:A quotes:B quotes:C")
	term.press("d")
	selected("B")
	wants("quotes:A quotes:B")
	term.press("a", "b@d", "enter")
	if got := term.drawn(noon); !strings.Contains(got, `add: b@d   bad symbol "b@d"`) {
		t.Errorf("a bad symbol:\n%s", got)
	}
	wants("quotes:A quotes:B")
	term.press("backspace", "backspace", "backspace", "q s, r", "enter") // letters, not commands
	wants("quotes:A quotes:B quotes:q quotes:s quotes:r")
	selected("q")
	term.press("a", "xyz", "esc")
	wants("quotes:A quotes:B quotes:q quotes:s quotes:r")
	term.press("home")
	selected("A")
	term.press("end")
	selected("s")
	term.press("?")
	if got := term.drawn(noon); !strings.Contains(got, "sort by the next column") {
		t.Errorf("no help:\n%s", got)
	}
	term.press("esc")
	for range 5 {
		term.press("d")
	}
	wants("")
	selected("")
	if got := term.drawn(noon); !strings.Contains(got, "no symbols: press a to add some") {
		t.Errorf("an empty table:\n%s", got)
	}
	term.press("enter", "d", "up") // do nothing
	term.press("a", "*", "enter")
	wants("quotes:*")
	term.board.event(&client.Event{Event: quote("Z", "1", "2")}, noon)
	term.press("down", "d")
	term.board.event(&client.Event{Event: quote("Z", "1", "2")}, noon)
	if got := term.drawn(noon); strings.Contains(got, "Z") {
		t.Errorf("what was removed came back with the next event:\n%s", got)
	}
	if term.press("x") || !term.press("q") {
		t.Error("q quits, and nothing else")
	}
}

func TestDetail(t *testing.T) {
	term := stand(Config{URL: "ws://gw", Symbols: []market.Symbol{"A"}})
	term.width, term.height = 110, 40
	b := term.board
	b.state(live(), noon)
	minute := func(ch market.Channel, at int, o, h, l, c string) {
		b.event(&client.Event{Event: market.Event{Channel: ch, Symbol: "A", Bar: &market.Bar{
			Open: price(o), High: price(h), Low: price(l), Close: price(c), Volume: 1500 * market.Scale, Time: noon.Add(time.Duration(at) * time.Minute),
		}}}, noon)
	}
	term.press("down", "enter")
	if got := term.drawn(noon); !strings.Contains(got, "no complete minute yet") {
		t.Errorf("without minutes:\n%s", got)
	}
	minute(market.Bars, 0, "10", "14", "9", "13")
	minute(market.Bars, 2, "12", "12.5", "11", "11")
	minute(market.Bars, 1, "13", "13", "12", "12")
	minute(market.UpdatedBars, 2, "12", "12.5", "8", "8.5")
	for i := range 100 {
		b.event(&client.Event{Event: trade("A", strconv.Itoa(10+i), "7")}, noon)
	}
	b.event(&client.Event{Event: quote("A", "10", "10.5")}, noon)
	got := term.drawn(noon)
	for _, part := range []string{
		"bid 10.00 × 3   ask 10.50 × 1   spread 0.50 (5.00%)\n",
		"14.00     │\n", "8.00        ┃\n", // the candles' bounds: wick of the first, body of the corrected one
		"12:02   12.00  12.50   8.00   8.50   1,500    12:00:00.000  109.00     7\n",
		"12:01   13.00", "12:00   10.00",
	} {
		if !strings.Contains(got, part) {
			t.Errorf("no %q in\n%s", part, got)
		}
	}
	b.past("A", nil, errors.New("ask for minutes: nobody there"))
	if got := term.drawn(noon); !strings.Contains(got, "\nminutes since this page was opened only: ask for minutes: nobody there\n") {
		t.Errorf("no word of what is missing:\n%s", got)
	}
	b.past("GONE", nil, nil)
	b.past("A", []market.Bar{{Open: price("7"), High: price("7"), Low: price("7"), Close: price("7"), Time: noon.Add(-time.Minute)}, {Open: price("6"), High: price("6"), Low: price("6"), Close: price("6"), Time: noon.Add(2 * time.Minute)}}, nil)
	got = term.drawn(noon)
	for _, part := range []string{"11:59    7.00", "12:02    6.00"} { // an older one, and a correction
		if !strings.Contains(got, part) {
			t.Errorf("no %q in\n%s", part, got)
		}
	}
	if r := b.rows["A"]; len(r.trades) != keptTrades || cap(r.trades) > 4*keptTrades || len(r.bars) != 4 {
		t.Errorf("%d trades and %d minutes are kept, in room for %d", len(r.trades), len(r.bars), cap(r.trades))
	}
}

// TestSpark has a point a second.
func TestSpark(t *testing.T) {
	r := &row{}
	for i := range 100 {
		r.price(market.Price(i), noon.Add(time.Duration(i)*250*time.Millisecond))
	}
	if len(r.spark) != points || r.spark[points-1] != 99 || r.spark[0] != 99-4*(points-1) {
		t.Errorf("%v", r.spark)
	}
	for want, in := range map[string][]market.Price{"": nil, "▄": {5}, "▄▄": {5, 5}, "▁█▄": {-9e18, 9e18, 0}, "▁▂▃▄▅▆▇█": {0, 1, 2, 3, 4, 5, 6, 7}} {
		if got := sparkline(in); got != want {
			t.Errorf("%v gives %q, want %q", in, got, want)
		}
	}
}

// TestTerminal runs the whole program on pipes: it subscribes to what is added,
// unsubscribes from what is removed, quits by a key, and leaves the table behind.
func TestTerminal(t *testing.T) {
	asked := make(chan wire.Command, 10)
	l := gateway(t, func(conn net.Conn, _ int) error {
		if err := open(conn); err != nil {
			return err
		}
		if err := data(conn, trade("AAPL", "126.5", "1")); err != nil {
			return err
		}
		for {
			text, err := wsutil.ReadClientText(conn)
			if err != nil {
				return err
			}
			cmd, err := wire.ParseCommand(wire.JSONNative, text)
			if err != nil {
				return err
			}
			asked <- cmd
			if err := send(conn, wire.AppendSubscription(nil, wire.JSONNative, &wire.Subscription{ID: cmd.ID})); err != nil {
				return err
			}
		}
	})
	keys, typed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	defer typed.Close()
	var out output
	done := make(chan error, 1)
	cfg := Config{
		URL: "ws://gateway", Symbols: []market.Symbol{"AAPL"}, Channels: []market.Channel{market.Trades}, NetDial: l.DialContext,
		Terminal: true, Keys: keys, Environ: []string{"TERM=xterm"},
	}
	go func() { done <- Run(t.Context(), cfg, &out) }()
	press := func(s string) {
		if _, err := io.WriteString(typed, s); err != nil {
			t.Error(err)
		}
	}
	press("aMSFT\r")
	if cmd := <-asked; cmd.Action != wire.Subscribe || len(cmd.Topics) != 1 || cmd.Topics[0].String() != "trades:MSFT" {
		t.Errorf("%+v", cmd)
	}
	press("d")
	if cmd := <-asked; cmd.Action != wire.Unsubscribe || len(cmd.Topics) != 1 || cmd.Topics[0].String() != "trades:MSFT" {
		t.Errorf("%+v", cmd)
	}
	press("q")
	if err := <-done; err != nil {
		t.Error(err)
	}
	got := out.take()
	if _, left, ok := strings.Cut(got, "\x1b[?1049l"); !ok || !strings.Contains(left, "AAPL") || strings.Contains(left, "MSFT") {
		t.Errorf("the table is not left behind: %q", got)
	}
}

// TestTerminalEnds has a gateway that refuses: the program ends, and says why.
func TestTerminalEnds(t *testing.T) {
	l := gateway(t, func(conn net.Conn, _ int) error {
		if err := open(conn); err != nil {
			return err
		}
		_, err := conn.Write(wire.AppendClose(nil, 4004, "behave"))
		return err
	})
	var out output
	err := Run(t.Context(), Config{URL: "ws://gateway", NetDial: l.DialContext, Symbols: []market.Symbol{"AAPL"}, Terminal: true, Environ: []string{"TERM=xterm"}}, &out)
	if e, ok := errors.AsType[*client.Error](err); !ok || e.Close != 4004 {
		t.Errorf("%v", err)
	}
}

// TestHistory asks gateways one after the other, with what the client has to say
// who it is.
func TestHistory(t *testing.T) {
	var asked []*http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r)
		if len(asked) == 2 {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"detail":"not covered"}`)
			return
		}
		_, _ = io.WriteString(w, `{"bars":{"A":[{"t":"2024-08-08T12:01:00Z","o":2,"h":2.5,"l":1.5,"c":2.25,"v":10,"n":3,"vw":2.125},{"t":"2024-08-08T12:00:00Z","o":1,"h":1,"l":1,"c":1,"v":1,"n":1,"vw":1}]},"next_page_token":null}`)
	}))
	defer server.Close()
	closed := httptest.NewServer(nil)
	closed.Close()
	address := "ws" + strings.TrimPrefix(server.URL, "http") + "/v1/stream?x=y"
	h := newHistory(&Config{URL: "ws" + strings.TrimPrefix(closed.URL, "http"), URLs: []string{address}, Key: "k", Secret: "s"})
	bars, err := h.minutes(t.Context(), "A")
	if err != nil || len(bars) != 2 || bars[0].Time != noon || bars[1].High != price("2.5") || bars[1].VWAP != price("2.125") || bars[1].Trades != 3 || bars[1].Volume != 10*market.Scale {
		t.Errorf("%v, %+v", err, bars)
	}
	if _, err = h.minutes(t.Context(), "A"); err == nil || !strings.Contains(err.Error(), "403 Forbidden: not covered") {
		t.Errorf("%v", err)
	}
	if r := asked[0]; r.URL.Path != "/v2/stocks/bars" || r.URL.Query().Get("symbols") != "A" || r.Header.Get("APCA-API-KEY-ID") != "k" || r.Header.Get("APCA-API-SECRET-KEY") != "s" {
		t.Errorf("%s, %v", r.URL, r.Header)
	}
	h = newHistory(&Config{URL: address, Token: "t"})
	if _, err = h.minutes(t.Context(), "A"); err != nil || asked[2].Header.Get("Authorization") != "Bearer t" {
		t.Errorf("%v, %v", err, asked[2].Header)
	}
}
