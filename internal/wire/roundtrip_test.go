package wire

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vmihailenco/msgpack/v5"
	"pgregory.net/rapid"

	"github.com/lzstock/lzstock/market"
)

// limit is the greatest price whose every billionth a float64 keeps.
const limit = 1<<23*market.Scale - 1

func drawPrice(t *rapid.T, label string) market.Price {
	return market.Price(rapid.Int64Range(-limit, limit).Draw(t, label))
}

func drawSize(t *rapid.T, label string) market.Size {
	return market.Size(rapid.Int64Range(0, limit).Draw(t, label))
}

func drawTime(t *rapid.T) time.Time {
	sec := rapid.Int64Range(0, 7_258_000_000).Draw(t, "sec") // to the year 2199
	nsec := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 999_999_999)).Draw(t, "nsec")
	return time.Unix(sec, nsec).UTC()
}

func drawEvent(t *rapid.T) *market.Event {
	e := &market.Event{
		Seq:     market.Seq(rapid.Uint64().Draw(t, "seq")),
		Channel: rapid.SampledFrom(market.Channels()).Draw(t, "channel"),
		Symbol:  market.Symbol(rapid.StringMatching(`[A-Z./_-]{1,32}`).Draw(t, "symbol")),
	}
	words := rapid.SliceOfN(rapid.String(), 1, 20).Draw(t, "conditions")
	switch e.Channel {
	case market.Trades:
		e.Trade = &market.Trade{
			ID: rapid.Int64().Draw(t, "id"), Exchange: rapid.String().Draw(t, "x"), Price: drawPrice(t, "p"),
			Size: drawSize(t, "s"), Time: drawTime(t), Conditions: words, Tape: rapid.String().Draw(t, "z"),
		}
	case market.Quotes:
		e.Quote = &market.Quote{
			BidExchange: rapid.String().Draw(t, "bx"), BidPrice: drawPrice(t, "bp"), BidSize: drawSize(t, "bs"),
			AskExchange: rapid.String().Draw(t, "ax"), AskPrice: drawPrice(t, "ap"), AskSize: drawSize(t, "as"),
			Time: drawTime(t), Conditions: words, Tape: rapid.String().Draw(t, "z"),
		}
	case market.Statuses:
		e.Status = &market.Status{
			Code: rapid.StringN(1, -1, -1).Draw(t, "sc"), Message: rapid.String().Draw(t, "sm"), ReasonCode: rapid.String().Draw(t, "rc"),
			ReasonMessage: rapid.String().Draw(t, "rm"), Time: drawTime(t), Tape: rapid.String().Draw(t, "z"),
		}
	default:
		e.Bar = &market.Bar{
			Open: drawPrice(t, "o"), High: drawPrice(t, "h"), Low: drawPrice(t, "l"), Close: drawPrice(t, "c"),
			Volume: drawSize(t, "v"), Trades: rapid.Uint64().Draw(t, "n"), VWAP: drawPrice(t, "vw"), Time: drawTime(t),
		}
	}
	return e
}

// expect gives what a client of the dialect can know of an event.
func expect(d Dialect, e *market.Event, t Tail) *Data {
	want := &Data{Event: *e}
	whole := func(s *market.Size) {
		if d == Stock {
			*s -= *s % market.Scale
		}
	}
	switch {
	case e.Trade != nil:
		c := *e.Trade
		want.Trade = &c
		whole(&c.Size)
		if d == Crypto {
			c.Exchange, c.Conditions, c.Tape = "", nil, ""
		}
	case e.Quote != nil:
		c := *e.Quote
		want.Quote = &c
		whole(&c.BidSize)
		whole(&c.AskSize)
		if d == Crypto {
			c.BidExchange, c.AskExchange, c.Conditions, c.Tape = "", "", nil, ""
		}
	case e.Bar != nil:
		c := *e.Bar
		want.Bar = &c
		whole(&c.Volume)
	}
	want.Seq = 0
	if d == Native {
		want.Seq, want.Prev, want.Snapshot = e.Seq, t.Prev, t.Snapshot
		if t.Merged > 1 {
			want.Merged = t.Merged
		}
	}
	return want
}

// TestEventsComeBack encodes and decodes any events in all formats.
func TestEventsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := Format(rapid.IntRange(0, NumFormats-1).Draw(t, "format"))
		dst := BeginArray([]byte("before"), f)
		var want []Message
		for range rapid.IntRange(0, 20).Draw(t, "events") {
			e := drawEvent(t)
			tail := Tail{
				Prev: market.Seq(rapid.Uint64().Draw(t, "prev")), Merged: rapid.Uint32().Draw(t, "merged"), Snapshot: rapid.Bool().Draw(t, "snap"),
			}
			dst = AppendData(dst, f, AppendEvent(nil, f, e), tail)
			want = append(want, expect(f.Dialect(), e, tail))
		}
		dst = EndArray(dst, f, len("before"), len(want))[len("before"):]
		var any any
		var err error
		if f.Encoding() == JSON {
			err = json.Unmarshal(dst, &any)
		} else {
			err = msgpack.Unmarshal(dst, &any)
		}
		if err != nil {
			t.Fatalf("another decoder refuses %q: %v", dst, err)
		}
		got, err := DecodeFrame(f.Encoding(), dst)
		if err != nil {
			t.Fatalf("%q: %v", dst, err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%s: %s", f, diff)
		}
	})
}

// TestPackPrices shows how far float64 carries exact prices.
func TestPackPrices(t *testing.T) {
	for _, s := range []string{
		"0", "189.1", "0.1", "0.3", "1e-9", "-37.63", "100000", "8388607.999999999", "-8388607.999999999",
		"0.000000001", "123456.789012345", "42000.5",
	} {
		p := price(s)
		v, err := parse(MsgPack, appendPackFloat(nil, p.Float64()))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := v.price(); err != nil || got != p {
			t.Errorf("%s comes back as %s, %v", s, got, err)
		}
	}
	for f, want := range map[float64]string{0.1 + 0.2: "0.3", 1.0 / 3: "0.333333333", 1e-12: "0"} {
		v := value{MsgPack, appendPackFloat(nil, f)}
		if got, err := v.price(); err != nil || got.String() != want {
			t.Errorf("%v is read as %s, %v", f, got, err)
		}
	}
}

// TestControlComesBack encodes and decodes what is not data.
func TestControlComesBack(t *testing.T) {
	noon := at("2021-02-22T12:00:00.5Z")
	sub := &Subscription{Delivery: Every, Interval: time.Second, Rejected: []Rejection{
		{Topic: market.Topic{Channel: market.DailyBars, Symbol: "A A"}, Code: CodeUnknownSymbol, Detail: "bad symbol"},
		{Topic: market.Topic{Channel: market.Trades, Symbol: "X"}, Code: CodeInsufficientScope},
	}}
	for i := range 300 {
		sub.Symbols[market.Quotes] = append(sub.Symbols[market.Quotes], market.Symbol(rune('A'+i%26)))
	}
	connected := &Connected{Conn: "c", Epoch: 1 << 40, Ping: time.Second, MaxAge: time.Hour, Limits: Limits{1, 2, 3}}
	sourced := &market.Feed{State: market.FeedLive, Since: noon, Epoch: 7}
	for i, r := range append(market.FeedReasons(), 0) {
		sourced.Sources = append(sourced.Sources, market.FeedSource{
			Name: strings.Repeat("n", i+1), State: market.FeedState(i%3 + 1), Reason: r, Since: noon,
		})
	}
	for _, f := range []Format{JSONNative, MsgPackNative} {
		id := IntID(f.Encoding(), -70000)
		sub.ID = id
		for _, tc := range []struct {
			bytes []byte
			want  Message
		}{
			{AppendConnected(nil, f, connected), connected},
			{AppendAuthenticated(nil, f), &Authenticated{}},
			{AppendSubscription(nil, f, sub), sub},
			{AppendError(nil, f, ErrorMessage{ID: id, Code: CodeInvalidSyntax, Detail: "oh: no"}), &ErrorMessage{ID: id, Code: CodeInvalidSyntax, Detail: "oh: no"}},
			{AppendError(nil, f, ErrorMessage{Code: CodeSlowClient}), &ErrorMessage{Code: CodeSlowClient}},
			{AppendPong(nil, f, Pong{id, noon}), &Pong{id, noon}},
			{AppendHeartbeat(nil, f, Heartbeat{noon, 1 << 60}), &Heartbeat{noon, 1 << 60}},
			{AppendFeed(nil, f, *sourced), sourced},
			{AppendFeed(nil, f, market.Feed{State: market.FeedDown, Since: noon, Epoch: 7}), &market.Feed{State: market.FeedDown, Since: noon, Epoch: 7}},
			{AppendGap(nil, f, &market.Gap{Reason: market.GapExpired, From: market.Position{Epoch: 1}, To: market.Position{Seq: 2}}), &market.Gap{Reason: market.GapExpired, From: market.Position{Epoch: 1}, To: market.Position{Seq: 2}}},
			{AppendThrottle(nil, f, true), &Throttle{On: true}},
			{AppendThrottle(nil, f, false), &Throttle{}},
			{AppendExpiring(nil, f, noon), &Expiring{At: noon}},
			{
				AppendReconnect(nil, f, Reconnect{MaxAge, time.Second, time.Minute, market.Position{Epoch: 1 << 40, Seq: 5}}),
				&Reconnect{MaxAge, time.Second, time.Minute, market.Position{Epoch: 1 << 40, Seq: 5}},
			},
			{AppendReconnect(nil, f, Reconnect{Reason: Drain}), &Reconnect{Reason: Drain}},
			{AppendReconnect(nil, f, Reconnect{Reason: Internal, Delay: time.Second}), &Reconnect{Delay: time.Second}}, // of a later version
		} {
			got, err := DecodeFrame(f.Encoding(), tc.bytes)
			if err != nil {
				t.Fatalf("%s %q: %v", f, tc.bytes, err)
			}
			if diff := cmp.Diff([]Message{tc.want}, got); diff != "" {
				t.Errorf("%s: %s", f, diff)
			}
		}
	}
}

func TestDecodeFrameRefuses(t *testing.T) {
	for _, bad := range []string{
		``, ` `, `{}`, `[`, `[1]`, `[{}]`, `[{"T":1}]`, `[{"T":"t"}]`, `[{"T":"t","S":"A"}]x`, `[{"T":"t","S":"A","p":"1","t":"2021-02-22T12:00:00Z"}]`,
		`[{"T":"t","S":"A","p":NaN,"t":"2021-02-22T12:00:00Z"}]`, `[{"T":"t","S":"A","t":"yesterday"}]`, `[{"T":"t","S":"A","t":"2021-02-22T12:00:00Z","s":-1}]`,
		`[{"T":"q","S":"A","t":"2021-02-22T12:00:00Z","pq":-1}]`, `[{"T":"q","S":"A","t":"2021-02-22T12:00:00Z","k":4294967296}]`,
		`[{"T":"feed","state":"dead"}]`, `[{"T":"gap","from":"1"}]`, `[{"T":"b","S":"A A","t":"2021-02-22T12:00:00Z"}]`,
		`[{"T":"s","S":"A","t":"2021-02-22T12:00:00Z","sm":"no code"}]`, `[{"T":"s","S":"A","sc":1,"t":"2021-02-22T12:00:00Z"}]`, `[{"T":"s","S":"A","sc":"H"}]`,
		`[[[[[[[[[[[[]]]]]]]]]]]]`, `[{"T":"error","code":1.5}]`, "[{\"T\":\"\xff\"}]", `[null]`, `[{"T":"error","id":{}}]`,
	} {
		if got, err := DecodeFrame(JSON, []byte(bad)); err == nil {
			t.Errorf("%s was read as %+v", bad, got[0])
		}
	}
	for _, bad := range []string{
		"", "\x90\x90", "\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff", "\x91\xdb\xff\xff\xff\xff", "\x91\xc1", "\x91\x81\xa1T", "\x91\x81\x01\x01",
		"\x91\x81\xa1T\xa1t", "\x91\x82\xa1T\xa2hb\xa1t\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x91\x82\xa1T\xa2hb\xa1t\xd4\xff\x00", "\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\xc0",
	} {
		if got, err := DecodeFrame(MsgPack, []byte(bad)); err == nil {
			t.Errorf("%x was read as %+v", bad, got)
		}
	}
}

func TestDecodeFrameIsLenient(t *testing.T) {
	got, err := DecodeFrame(JSON, []byte(` [ {"p":1.5,"new":{"a":[1,null,true]},"z":null,"S":"A","T":"t","t":"2021-02-22T13:00:00+01:00"} , {"T":"later","q":{}}, {"T":"success","msg":"more"} ] `))
	want := []Message{
		&Data{Event: market.Event{Channel: market.Trades, Symbol: "A", Trade: &market.Trade{Price: price("1.5"), Time: at("2021-02-22T12:00:00Z")}}},
		&Unknown{Type: "later"}, &Unknown{Type: "success"},
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// FuzzDecodeFrame feeds the client's reader with anything. What it accepts, others
// accept too, and the events can be written and read again.
func FuzzDecodeFrame(f *testing.F) {
	for format := range Format(NumFormats) {
		f.Add(format.Encoding() == MsgPack, frame(format, Tail{Prev: 9, Merged: 2}, aTrade(), aQuote(), aBar(market.Bars), aStatus()))
	}
	f.Add(false, []byte(`[{"T":"success","msg":"connected","limits":{"symbols":1}},{"T":"gap","from":"1-2"}]`))
	f.Add(true, []byte("\x91\x82\xa1T\xa5error\xa4code\xcd\x01\x90"))
	f.Fuzz(func(t *testing.T, pack bool, b []byte) {
		enc := JSON
		if pack {
			enc = MsgPack
		}
		got, err := DecodeFrame(enc, b)
		if err != nil {
			return
		}
		if enc == JSON && !json.Valid(b) {
			t.Fatalf("%q is not JSON", b)
		}
		for _, m := range got {
			d, ok := m.(*Data)
			if !ok {
				continue
			}
			tail := Tail{Prev: d.Prev, Merged: d.Merged, Snapshot: d.Snapshot}
			again, err := DecodeFrame(JSON, frame(JSONNative, tail, &d.Event))
			if err != nil {
				t.Fatalf("%+v does not come back: %v", d.Event, err)
			}
			if d.Merged == 1 {
				d.Merged = 0
			}
			if diff := cmp.Diff(Message(d), again[0], cmpopts.EquateEmpty()); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}

// TestUnknownFeedReason: others may be added, and those who do not know them still
// get the state.
func TestUnknownFeedReason(t *testing.T) {
	got, err := DecodeFrame(JSON, []byte(`[{"T":"feed","state":"stale","since":"2021-02-22T12:00:00Z","reason":"new","sources":[{"name":"a","state":"down","more":[1],"reason":"newer"}]}]`))
	if err != nil {
		t.Fatal(err)
	}
	want := market.Feed{State: market.FeedStale, Sources: []market.FeedSource{{Name: "a", State: market.FeedDown}}}
	if f, ok := got[0].(*market.Feed); !ok || !f.Same(want) {
		t.Errorf("got %+v", got[0])
	}
}
