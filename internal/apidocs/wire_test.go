package apidocs_test

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lzstock/lzstock/docs"
	"github.com/lzstock/lzstock/internal/apidocs/schemas"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

var when = time.Date(2026, 1, 5, 15, 4, 5, 600, time.UTC)

// events gives one of each channel.
func events() (out []market.Event) {
	for _, c := range market.Channels() {
		e := market.Event{Seq: 7, Channel: c, Symbol: "AAPL"}
		switch {
		case c == market.Trades:
			e.Trade = &market.Trade{ID: 1, Exchange: "D", Price: 126_550_000_000, Size: market.Scale, Time: when, Conditions: []string{"@"}, Tape: "C"}
		case c == market.Quotes:
			e.Quote = &market.Quote{BidExchange: "U", BidPrice: 1, BidSize: market.Scale, Time: when}
		case c == market.Statuses:
			e.Status = &market.Status{Code: "H", Message: "Trading Halt", ReasonCode: "T12", Time: when, Tape: "C"}
		case c.IsBar():
			e.Bar = &market.Bar{Open: 4, High: 6, Low: 3, Close: 5, Volume: market.Scale, Trades: 2, VWAP: 4, Time: when}
		}
		out = append(out, e)
	}
	return out
}

func frame(f wire.Format, tail wire.Tail, list []market.Event) []byte {
	dst := wire.BeginArray(nil, f)
	for i := range list {
		dst = wire.AppendData(dst, f, wire.AppendEvent(nil, f, &list[i]), tail)
	}
	return wire.EndArray(dst, f, 0, len(list))
}

// TestMessagesAreAsDocumented holds all that the gateway's encoder writes to
// asyncapi.yaml, and to that alone which it is.
func TestMessagesAreAsDocumented(t *testing.T) {
	d, err := schemas.New(docs.AsyncAPI)
	if err != nil {
		t.Fatal(err)
	}
	sub := wire.Subscription{ID: "1", Delivery: wire.Latest, Interval: time.Second, Rejected: []wire.Rejection{
		{Topic: market.Topic{Channel: market.Quotes, Symbol: "X"}, Code: wire.CodeUnknownSymbol, Detail: "why"},
	}}
	for _, c := range market.Channels() {
		sub.Symbols[c] = []market.Symbol{"AAPL", "*"}
	}
	conn := &wire.Connected{Conn: "c", Epoch: 1, Ping: time.Second, MaxAge: time.Hour, Limits: wire.Limits{Symbols: 1, CommandsPerSecond: 2, MessageBytes: 3}}
	feed := market.Feed{State: market.FeedStale, Since: when, Epoch: 7, Reason: market.FeedLost, Sources: []market.FeedSource{
		{Name: "sim", State: market.FeedStale, Since: when, Reason: market.FeedLost}, {Name: "tape", State: market.FeedLive, Since: when},
	}}
	at := market.Position{Epoch: 1, Seq: 2}
	const native, stock, crypto = wire.JSONNative, wire.JSONStock, wire.JSONCrypto
	seen := map[string]bool{}
	for _, m := range []struct {
		message string
		text    []byte
	}{
		{"events", frame(native, wire.Tail{Prev: 3}, events())},
		{"events", frame(native, wire.Tail{Snapshot: true, Merged: 3}, events())},
		{"strictEvents", frame(stock, wire.Tail{Prev: 3, Merged: 3, Snapshot: true}, events())},
		{"cryptoEvents", frame(crypto, wire.Tail{}, cryptoEvents())},
		{"connected", wire.AppendConnected(nil, native, conn)},
		{"connected", wire.AppendConnected(nil, native, &wire.Connected{Conn: "c"})},
		{"strictConnected", wire.AppendConnected(nil, stock, conn)},
		{"authenticated", wire.AppendAuthenticated(nil, native)},
		{"subscription", wire.AppendSubscription(nil, native, &sub)},
		{"subscription", wire.AppendSubscription(nil, native, &wire.Subscription{ID: `"a"`})},
		{"strictSubscription", wire.AppendSubscription(nil, stock, &sub)},
		{"cryptoSubscription", wire.AppendSubscription(nil, crypto, &sub)},
		{"error", wire.AppendError(nil, native, wire.ErrorMessage{ID: "1", Code: wire.CodeSymbolLimit, Detail: "why"})},
		{"strictError", wire.AppendError(nil, stock, wire.ErrorMessage{ID: "1", Code: wire.CodeSymbolLimit})},
		{"pong", wire.AppendPong(nil, native, wire.Pong{ID: "7", Time: when})},
		{"heartbeat", wire.AppendHeartbeat(nil, native, wire.Heartbeat{Time: when, Seq: 12})},
		{"heartbeat", wire.AppendHeartbeat(nil, native, wire.Heartbeat{Time: when})},
		{"feed", wire.AppendFeed(nil, native, feed)},
		{"feed", wire.AppendFeed(nil, native, market.Feed{State: market.FeedLive, Since: when})},
		{"gap", wire.AppendGap(nil, native, &market.Gap{Reason: market.GapEpoch, From: at, To: at})},
		{"throttle", wire.AppendThrottle(nil, native, true)},
		{"throttle", wire.AppendThrottle(nil, native, false)},
		{"reconnect", wire.AppendReconnect(nil, native, wire.Reconnect{Reason: wire.Drain, Delay: 1, Since: at})},
		{"reconnect", wire.AppendReconnect(nil, native, wire.Reconnect{Reason: wire.MaxAge})},
		{"expiring", wire.AppendExpiring(nil, native, when)},
	} {
		seen[m.message] = true
		fits := []string{}
		for name := range d.At("components", "messages").(map[string]any) {
			if check(d, name, m.text) == nil {
				fits = append(fits, name)
			}
		}
		if !slices.Contains(fits, m.message) {
			t.Errorf("%s: %s\n%v", m.message, m.text, check(d, m.message, m.text))
		}
		for i := range fits { // the dialects' forms of one message may be alike
			fits[i] = strings.ToLower(strings.TrimPrefix(strings.TrimPrefix(fits[i], "strict"), "crypto"))
		}
		slices.Sort(fits)
		if fits = slices.Compact(fits); len(fits) > 1 {
			t.Errorf("%s fits %v: the schemas do not tell them apart", m.text, fits)
		}
	}
	for name := range d.At("components", "messages").(map[string]any) {
		command := slices.Contains([]string{"auth", "subscribe", "unsubscribe", "list", "ping"}, name) || slices.Contains([]string{"strictAuth", "strictSubscribe", "strictUnsubscribe"}, name)
		if !command && !seen[name] {
			t.Errorf("nothing writes the message %s", name)
		}
	}
}

// cryptoEvents gives those that the dialect for crypto has.
func cryptoEvents() []market.Event {
	return slices.DeleteFunc(events(), func(e market.Event) bool {
		return e.Channel == market.Statuses
	})
}

func check(d *schemas.Document, message string, text []byte) error {
	ref := d.At("components", "messages", message).(map[string]any)["payload"].(map[string]any)["$ref"].(string)
	return d.Check(strings.TrimPrefix(ref, "#/"), text)
}

// TestCommandsAreAsDocumented has what the encoder of commands writes fit its schema,
// what the document gives as examples be taken, and what does not fit be refused.
func TestCommandsAreAsDocumented(t *testing.T) {
	d, err := schemas.New(docs.AsyncAPI)
	if err != nil {
		t.Fatal(err)
	}
	interval := time.Second
	var topics []market.Topic
	for _, c := range market.Channels() {
		topics = append(topics, market.Topic{Channel: c, Symbol: "AAPL"}, market.Topic{Channel: c, Symbol: "*"})
	}
	for message, commands := range map[string][]wire.Command{
		"auth": {{Action: wire.Auth, ID: "1", Key: "k", Secret: "s"}, {Action: wire.Auth, Token: "t"}},
		"subscribe": {{Action: wire.Subscribe, ID: `"a"`, Topics: topics, Options: wire.Options{
			Delivery: wire.Latest, Interval: &interval, Heartbeat: time.Second, Since: market.Position{Epoch: 1, Seq: 2},
		}}, {Action: wire.Subscribe, Options: wire.Options{Snapshot: true}}},
		"unsubscribe": {{Action: wire.Unsubscribe, Topics: topics}},
		"list":        {{Action: wire.List, ID: "1"}},
		"ping":        {{Action: wire.Ping}},
	} {
		for i := range commands {
			text := wire.AppendCommand(nil, wire.JSONNative, &commands[i])
			if err := check(d, message, text); err != nil {
				t.Errorf("%s: %s\n%v", message, text, err)
			}
		}
		m := d.At("components", "messages", message).(map[string]any)
		examples, _ := m["examples"].([]any)
		for _, e := range examples {
			text, err := json.Marshal(e.(map[string]any)["payload"])
			if err == nil {
				_, err = wire.ParseCommand(wire.JSONNative, text)
			}
			if err != nil || check(d, message, text) != nil {
				t.Errorf("example %s: %v, %v", text, err, check(d, message, text))
			}
		}
	}
	for text, message := range map[string]string{
		`{"action":"subscribe","trades":"AAPL"}`: "subscribe", `{"action":"subscribe","nothing":[]}`: "subscribe",
		`{"action":"subscribe","delivery":"some"}`: "subscribe", `{"action":"subscribe","hb_ms":1}`: "subscribe",
		`{"action":"subscribe","since":"x"}`: "subscribe", `{"action":"auth","key":"k"}`: "auth",
		`{"action":"auth","key":"k","secret":"s","token":"t"}`: "auth", `{"action":"ping","id":{}}`: "ping", `{"action":"list","x":1}`: "list",
	} {
		if _, err := wire.ParseCommand(wire.JSONNative, []byte(text)); err == nil || check(d, message, []byte(text)) == nil {
			t.Errorf("%s: the gateway says %v, the schema %v", text, err, check(d, message, []byte(text)))
		}
	}
}

// TestCodesAreAsDocumented has the tables of close codes and of errors be the
// gateway's.
func TestCodesAreAsDocumented(t *testing.T) {
	d, err := schemas.New(docs.AsyncAPI)
	if err != nil {
		t.Fatal(err)
	}
	table := d.At("x-close-codes").(map[string]any)
	advice := map[wire.Advice]string{wire.RetryNever: "do not retry unchanged", wire.RetryBackoff: "back off", wire.RetryNow: "connect again at once"}
	codes := map[string]bool{}
	for r := wire.ClientClosed; int(r) < wire.NumReasons; r++ {
		if r == wire.ClientGone {
			continue
		}
		code := strconv.Itoa(int(r.CloseCode()))
		codes[code] = true
		row, _ := table[code].(map[string]any)
		reasons, _ := row["reasons"].([]any)
		if !slices.Contains(reasons, any(r.String())) {
			t.Errorf("%s is not among the reasons of %s: %v", r, code, reasons)
		}
		if want := advice[r.Advice()]; row["client"] != want && r != wire.ClientClosed {
			t.Errorf("%s: client %v, want %s", code, row["client"], want)
		}
	}
	if len(codes) != len(table) {
		t.Errorf("the document has %d close codes, the gateway %d", len(table), len(codes))
	}
	enum, _ := d.At("components", "schemas", "Code", "enum").([]any)
	text, _ := d.At("components", "schemas", "Code", "description").(string)
	text = strings.Join(strings.Fields(text), " ")
	for code := range 600 {
		c := wire.Code(code)
		known := !strings.HasPrefix(c.Text(), "error ")
		if listed := slices.Contains(enum, any(float64(code))); listed != known || known && !strings.Contains(text, strconv.Itoa(code)+" "+c.Text()) {
			t.Errorf("code %d (%s) is listed: %v, or its text is another", code, c.Text(), listed)
		}
	}
}
