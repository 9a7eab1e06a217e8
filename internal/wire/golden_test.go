package wire

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lzstock/lzstock/market"
)

func price(s string) market.Price {
	p, err := market.ParsePrice(s)
	if err != nil {
		panic(err)
	}
	return p
}

func size(s string) market.Size { return market.Size(price(s)) }

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return t
}

func aTrade() *market.Event {
	return &market.Event{Seq: 77, Channel: market.Trades, Symbol: "AAPL", Trade: &market.Trade{
		ID: 96921, Exchange: "D", Price: price("126.55"), Size: size("1"),
		Time: at("2021-02-22T15:51:44.208Z"), Conditions: []string{"@"}, Tape: "C",
	}}
}

func aQuote() *market.Event {
	return &market.Event{Seq: 78, Channel: market.Quotes, Symbol: "AAPL", Quote: &market.Quote{
		BidExchange: "U", BidPrice: price("87.66"), BidSize: size("1"),
		AskExchange: "Q", AskPrice: price("87.68"), AskSize: size("4"),
		Time: at("2021-02-22T15:51:45.335689322Z"), Conditions: []string{"R"}, Tape: "C",
	}}
}

func aBar(c market.Channel) *market.Event {
	return &market.Event{Seq: 79, Channel: c, Symbol: "SPY", Bar: &market.Bar{
		Open: price("388.9"), High: price("389.1"), Low: price("388.9"), Close: price("389.1"), Volume: size("49378"),
		Trades: 461, VWAP: price("389.06"), Time: at("2021-02-22T19:15:00Z"),
	}}
}

func aStatus() *market.Event {
	return &market.Event{Seq: 80, Channel: market.Statuses, Symbol: "AAPL", Status: &market.Status{
		Code: "H", Message: "Trading Halt", ReasonCode: "T12", ReasonMessage: "Trading Halted; For information requested by NASDAQ",
		Time: at("2021-02-22T19:15:00.5Z"), Tape: "C",
	}}
}

func frame(f Format, t Tail, events ...*market.Event) []byte {
	dst := BeginArray(nil, f)
	for _, e := range events {
		dst = AppendData(dst, f, AppendEvent(nil, f, e), t)
	}
	return EndArray(dst, f, 0, len(events))
}

// TestDataGolden holds the literal examples of the protocol, field for field.
func TestDataGolden(t *testing.T) {
	crypto := &market.Event{Channel: market.Trades, Symbol: "BTC/USD", Trade: &market.Trade{
		ID: 5, Exchange: "X", Price: price("42000.5"), Size: size("0.0001"), Time: at("2024-08-08T23:54:00.000000001Z"),
	}}
	for name, tc := range map[string]struct {
		f    Format
		tail Tail
		e    *market.Event
		want string
	}{
		"trade":        {JSONStock, Tail{Prev: 3, Merged: 9, Snapshot: true}, aTrade(), `[{"T":"t","S":"AAPL","i":96921,"x":"D","p":126.55,"s":1,"t":"2021-02-22T15:51:44.208Z","c":["@"],"z":"C"}]`},
		"quote":        {JSONStock, Tail{}, aQuote(), `[{"T":"q","S":"AAPL","bx":"U","bp":87.66,"bs":1,"ax":"Q","ap":87.68,"as":4,"t":"2021-02-22T15:51:45.335689322Z","c":["R"],"z":"C"}]`},
		"bar":          {JSONStock, Tail{}, aBar(market.Bars), `[{"T":"b","S":"SPY","o":388.9,"h":389.1,"l":388.9,"c":389.1,"v":49378,"n":461,"vw":389.06,"t":"2021-02-22T19:15:00Z"}]`},
		"updated bar":  {JSONStock, Tail{}, aBar(market.UpdatedBars), `[{"T":"u","S":"SPY","o":388.9,"h":389.1,"l":388.9,"c":389.1,"v":49378,"n":461,"vw":389.06,"t":"2021-02-22T19:15:00Z"}]`},
		"daily bar":    {JSONStock, Tail{}, aBar(market.DailyBars), `[{"T":"d","S":"SPY","o":388.9,"h":389.1,"l":388.9,"c":389.1,"v":49378,"n":461,"vw":389.06,"t":"2021-02-22T19:15:00Z"}]`},
		"status":       {JSONStock, Tail{Prev: 3}, aStatus(), `[{"T":"s","S":"AAPL","sc":"H","sm":"Trading Halt","rc":"T12","rm":"Trading Halted; For information requested by NASDAQ","t":"2021-02-22T19:15:00.5Z","z":"C"}]`},
		"halted now":   {JSONNative, Tail{Snapshot: true}, aStatus(), `[{"T":"s","S":"AAPL","sc":"H","sm":"Trading Halt","rc":"T12","rm":"Trading Halted; For information requested by NASDAQ","t":"2021-02-22T19:15:00.5Z","z":"C","q":80,"pq":0,"snap":true}]`},
		"native":       {JSONNative, Tail{Prev: 70, Merged: 1}, aTrade(), `[{"T":"t","S":"AAPL","i":96921,"x":"D","p":126.55,"s":1,"t":"2021-02-22T15:51:44.208Z","c":["@"],"z":"C","q":77,"pq":70}]`},
		"merged":       {JSONNative, Tail{Prev: 70, Merged: 12}, aBar(market.Bars), `[{"T":"b","S":"SPY","o":388.9,"h":389.1,"l":388.9,"c":389.1,"v":49378,"n":461,"vw":389.06,"t":"2021-02-22T19:15:00Z","q":79,"pq":70,"k":12}]`},
		"snapshot":     {JSONNative, Tail{Snapshot: true}, aBar(market.DailyBars), `[{"T":"d","S":"SPY","o":388.9,"h":389.1,"l":388.9,"c":389.1,"v":49378,"n":461,"vw":389.06,"t":"2021-02-22T19:15:00Z","q":79,"pq":0,"snap":true}]`},
		"crypto trade": {JSONCrypto, Tail{}, crypto, `[{"T":"t","S":"BTC/USD","i":5,"p":42000.5,"s":0.0001,"t":"2024-08-08T23:54:00.000000001Z"}]`},
		"crypto quote": {JSONCrypto, Tail{}, aQuote(), `[{"T":"q","S":"AAPL","bp":87.66,"bs":1,"ap":87.68,"as":4,"t":"2021-02-22T15:51:45.335689322Z"}]`},
		"whole sizes":  {JSONStock, Tail{}, crypto, `[{"T":"t","S":"BTC/USD","i":5,"x":"X","p":42000.5,"s":0,"t":"2024-08-08T23:54:00.000000001Z","c":[],"z":""}]`},
	} {
		if got := string(frame(tc.f, tc.tail, tc.e)); got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, tc.want)
		}
	}
	batch := string(frame(JSONNative, Tail{}, aTrade(), aQuote()))
	if !json.Valid([]byte(batch)) || !strings.Contains(batch, `},{"T":"q"`) {
		t.Errorf("a batch is not one array: %s", batch)
	}
	if got := string(frame(JSONNative, Tail{})); got != "[]" {
		t.Errorf("empty: %s", got)
	}
}

func TestControlGolden(t *testing.T) {
	var sub Subscription
	sub.Symbols[market.Trades] = []market.Symbol{"AAPL"}
	sub.Symbols[market.Quotes] = []market.Symbol{"AAPL", "MSFT"}
	sub.Symbols[market.Bars] = []market.Symbol{"*"}
	sub.Symbols[market.Statuses] = []market.Symbol{"*", "AAPL"}
	full := sub
	full.ID, full.Delivery, full.Interval = "1", Latest, 500*time.Millisecond
	full.Rejected = []Rejection{{Topic: market.Topic{Channel: market.Quotes, Symbol: "XXX"}, Code: CodeUnknownSymbol}}
	noon := at("2021-02-22T12:00:00Z")
	gap := &market.Gap{Reason: market.GapEpoch, From: market.Position{Epoch: 1, Seq: 2}, To: market.Position{Epoch: 3, Seq: 4}}
	conn := &Connected{
		Conn: "c1", Epoch: 1700000000000, Ping: 20 * time.Second, MaxAge: time.Hour,
		Limits: Limits{Symbols: 1024, CommandsPerSecond: 10, MessageBytes: 16384},
	}
	for _, tc := range []struct {
		want string
		got  []byte
	}{
		{`[{"T":"success","msg":"connected"}]`, AppendConnected(nil, JSONStock, conn)},
		{`[{"T":"success","msg":"connected","conn":"c1","epoch":1700000000000,"ping_ms":20000,"max_age_ms":3600000,"limits":{"symbols":1024,"commands_per_s":10,"message_bytes":16384}}]`, AppendConnected(nil, JSONNative, conn)},
		{`[{"T":"success","msg":"authenticated"}]`, AppendAuthenticated(nil, JSONNative)},
		{`[{"T":"subscription","trades":["AAPL"],"quotes":["AAPL","MSFT"],"bars":["*"],"updatedBars":[],"dailyBars":[]}]`, AppendSubscription(nil, JSONCrypto, &full)},
		{`[{"T":"subscription","trades":["AAPL"],"quotes":["AAPL","MSFT"],"bars":["*"],"updatedBars":[],"dailyBars":[],"statuses":["*","AAPL"]}]`, AppendSubscription(nil, JSONStock, &full)},
		{`[{"T":"subscription","id":1,"trades":["AAPL"],"quotes":["AAPL","MSFT"],"bars":["*"],"updatedBars":[],"dailyBars":[],"statuses":["*","AAPL"],"delivery":"latest","interval_ms":500,"rejected":[{"ch":"quotes","S":"XXX","code":412,"msg":"unknown symbol"}]}]`, AppendSubscription(nil, JSONNative, &full)},
		{`[{"T":"error","id":1,"code":405,"msg":"symbol limit exceeded","retry":false}]`, AppendError(nil, JSONNative, ErrorMessage{ID: "1", Code: CodeSymbolLimit})},
		{`[{"T":"error","code":400,"msg":"invalid syntax"}]`, AppendError(nil, JSONStock, ErrorMessage{ID: "1", Code: CodeInvalidSyntax, Detail: "there is no action"})},
		{`[{"T":"error","code":503,"msg":"upstream unavailable: say \"when\"","retry":true}]`, AppendError(nil, JSONNative, ErrorMessage{Code: CodeUpstreamUnavailable, Detail: `say "when"`})},
		{`[{"T":"pong","id":7,"t":"2021-02-22T12:00:00Z"}]`, AppendPong(nil, JSONNative, Pong{ID: "7", Time: noon})},
		{`[{"T":"pong","id":"a\u0062","t":"2021-02-22T12:00:00Z"}]`, AppendPong(nil, JSONNative, Pong{ID: `"a\u0062"`, Time: noon})},
		{`[{"T":"hb","t":"2021-02-22T12:00:00Z","q":12}]`, AppendHeartbeat(nil, JSONNative, Heartbeat{noon, 12})},
		{
			`[{"T":"feed","state":"stale","since":"2021-02-22T12:00:00Z","epoch":7,"reason":"lost","sources":[{"name":"sim","state":"stale","since":"2021-02-22T12:00:00Z","reason":"lost"},{"name":"tape","state":"live","since":"2021-02-22T12:00:00Z"}]}]`,
			AppendFeed(nil, JSONNative, market.Feed{State: market.FeedStale, Since: noon, Epoch: 7, Reason: market.FeedLost, Sources: []market.FeedSource{
				{Name: "sim", State: market.FeedStale, Since: noon, Reason: market.FeedLost}, {Name: "tape", State: market.FeedLive, Since: noon},
			}}),
		},
		{`[{"T":"feed","state":"stale","since":"2021-02-22T12:00:00Z"}]`, AppendFeed(nil, JSONNative, market.Feed{State: market.FeedStale, Since: noon})},
		{`[{"T":"gap","reason":"epoch","from":"1-2","to":"3-4"}]`, AppendGap(nil, JSONNative, gap)},
		{`[{"T":"throttle","state":"on"}]`, AppendThrottle(nil, JSONNative, true)},
		{`[{"T":"throttle","state":"off"}]`, AppendThrottle(nil, JSONNative, false)},
		{
			`[{"T":"reconnect","reason":"drain","delay_ms":1250,"deadline_ms":10000,"since":"3-4"}]`,
			AppendReconnect(nil, JSONNative, Reconnect{Reason: Drain, Delay: 1250 * time.Millisecond, Deadline: 10 * time.Second, Since: gap.To}),
		},
		{`[{"T":"reconnect","reason":"max_age","delay_ms":0,"deadline_ms":30000}]`, AppendReconnect(nil, JSONNative, Reconnect{Reason: MaxAge, Deadline: 30 * time.Second})},
		{
			"\x91\x85\xa1T\xa9reconnect\xa6reason\xa5drain\xa8delay_ms\xcd\x04\xe2\xabdeadline_ms\xcd\x27\x10\xa5since\xa33-4",
			AppendReconnect(nil, MsgPackNative, Reconnect{Reason: Drain, Delay: 1250 * time.Millisecond, Deadline: 10 * time.Second, Since: gap.To}),
		},
		{`kept`, AppendReconnect(AppendReconnect([]byte("kept"), JSONStock, Reconnect{Reason: Drain}), MsgPackCrypto, Reconnect{Reason: Drain})},
		{`kept`, AppendGap(AppendFeed(AppendHeartbeat(AppendPong(AppendThrottle([]byte("kept"), JSONStock, true), JSONStock, Pong{}), MsgPackStock, Heartbeat{}), JSONCrypto, market.Feed{}), MsgPackCrypto, gap)},
	} {
		if string(tc.got) != tc.want {
			t.Errorf("\n got %s\nwant %s", tc.got, tc.want)
		}
	}
}

// TestJSONTimes compares with the standard library, which is what clients expect.
func TestJSONTimes(t *testing.T) {
	for _, ts := range []time.Time{
		at("2021-02-22T15:51:44.208Z"), at("1999-12-31T23:59:59.999999999Z"), at("2000-02-29T00:00:00.1Z"),
		at("2100-03-01T00:00:00.000000001Z"), time.Unix(0, 0), at("2021-02-22T15:51:44.5+05:30"), at("1969-12-31T23:59:59.5Z"),
	} {
		want := `"` + ts.UTC().Format(time.RFC3339Nano) + `"`
		if got := string(appendJSONTime(nil, ts)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestJSONStrings(t *testing.T) {
	for _, s := range []string{"", "AAPL", `a"b\c`, "tab\tline\nreturn\rbell\a", "é漢😀", "bad\xffbytes\xc3", "\u2028", "\x7f"} {
		got := appendJSONString(nil, s)
		var back string
		if err := json.Unmarshal(got, &back); err != nil || back != strings.ToValidUTF8(s, "\ufffd") {
			t.Errorf("%q is written as %s, read as %q, %v", s, got, back, err)
		}
		v, err := parse(JSON, got)
		if err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		if mine, err := v.text(); err != nil || mine != back {
			t.Errorf("%s: our reader says %q, %v", got, mine, err)
		}
	}
}

func TestReasons(t *testing.T) {
	labels := map[string]bool{}
	for r := ClientClosed; int(r) < NumReasons; r++ {
		if r.String() == "unknown" || r.Text() == "" || labels[r.String()] {
			t.Errorf("reason %d: label %q, text %q", r, r, r.Text())
		}
		labels[r.String()] = true
		if len(r.Text()) > MaxControl-2 {
			t.Errorf("%s: its text does not fit a close frame", r)
		}
		if r.CloseCode() == 0 && r != ClientGone {
			t.Errorf("%s has no close code", r)
		}
	}
	for code, want := range map[uint16]Advice{
		0: RetryBackoff, 1000: RetryBackoff, 1001: RetryBackoff, 1003: RetryNever, 1007: RetryNever, 1009: RetryNever,
		1006: RetryBackoff, 1011: RetryBackoff, 1012: RetryBackoff, 1013: RetryBackoff, 3000: RetryBackoff,
		4001: RetryNever, 4005: RetryNever, 4099: RetryNever, 4100: RetryBackoff, 4104: RetryBackoff,
		4200: RetryNow, 4203: RetryNow, 4300: RetryBackoff, 65535: RetryBackoff,
	} {
		if got := AdviceFor(code); got != want {
			t.Errorf("close code %d: %s, want %s", code, got, want)
		}
	}
	if diff := cmp.Diff([]Advice{RetryNow, RetryNow, RetryBackoff, RetryNever}, []Advice{Drain.Advice(), MaxAge.Advice(), SlowConsumer.Advice(), AuthFailed.Advice()}); diff != "" {
		t.Error(diff)
	}
}

func TestCodesHaveTexts(t *testing.T) {
	for _, c := range []Code{400, 401, 402, 403, 404, 405, 406, 407, 409, 410, 411, 412, 413, 415, 429, 500, 503} {
		if strings.HasPrefix(c.Text(), "error ") {
			t.Errorf("%d has no text", c)
		}
	}
	if Code(499).Text() != "error 499" || Code(499).Retry() || !Code(504).Retry() {
		t.Error("unknown codes")
	}
}

func TestFormats(t *testing.T) {
	seen := map[string]bool{}
	for f := range Format(NumFormats) {
		if NewFormat(f.Encoding(), f.Dialect()) != f || seen[f.String()] {
			t.Errorf("format %d is %s", f, f)
		}
		seen[f.String()] = true
	}
	if !MsgPackNative.Native() || MsgPackStock.Native() || MsgPackCrypto.Opcode() != OpBinary || JSONCrypto.Opcode() != OpText {
		t.Error("formats are mixed up")
	}
}
