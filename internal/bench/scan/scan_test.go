package scan_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lzstock/lzstock/internal/bench/scan"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// read gives all messages of a frame.
func read(s *scan.Scanner, frame []byte) (out []scan.Message, err error) {
	s.Frame(frame)
	for {
		var m scan.Message
		more, err := s.Next(&m)
		if err != nil || !more {
			return out, err
		}
		out = append(out, m)
	}
}

// oracle gives what wire makes of a frame, as the scanner would say it.
func oracle(frame []byte) (out []scan.Message, ok bool) {
	messages, err := wire.DecodeFrame(wire.JSON, frame)
	if err != nil {
		return nil, false
	}
	for _, m := range messages {
		d, isData := m.(*wire.Data)
		if !isData {
			out = append(out, scan.Message{})
			continue
		}
		out = append(out, scan.Message{
			Channel: d.Channel, Topic: scan.Topic(d.Channel, []byte(d.Symbol)), At: d.Time().UnixNano(),
			Seq: uint64(d.Seq), Prev: uint64(d.Prev), Merged: max(1, d.Merged), Snapshot: d.Snapshot,
		})
	}
	return out, true
}

// same compares what both have found; of control only that it is control.
func same(t *testing.T, frame []byte, got, want []scan.Message) {
	t.Helper()
	for i := range got {
		if got[i].Raw = nil; got[i].Channel == 0 {
			got[i] = scan.Message{}
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("frame %s\ngot  %+v\nwant %+v", frame, got, want)
	}
}

func frameOf(events []market.Event, tails []wire.Tail) []byte {
	f := wire.JSONNative
	out := wire.BeginArray(nil, f)
	for i := range events {
		out = wire.AppendData(out, f, wire.AppendEvent(nil, f, &events[i]), tails[i])
	}
	return wire.EndArray(out, f, 0, len(events))
}

func samples() ([]market.Event, []wire.Tail) {
	at := time.Date(2021, 2, 22, 15, 51, 44, 208e6, time.UTC)
	events := []market.Event{
		{Seq: 96921, Channel: market.Trades, Symbol: "AAPL", Trade: &market.Trade{
			ID: -7, Exchange: "T", Price: 126_550_000_000, Size: market.Scale, Time: at, Conditions: []string{"@", "T"}, Tape: "C",
		}},
		{Seq: 1 << 60, Channel: market.Quotes, Symbol: "BRK.A", Quote: &market.Quote{
			BidExchange: "}", BidPrice: 1, BidSize: 2, AskExchange: `,"t":"`, AskPrice: 3, AskSize: 4,
			Time: at.Add(123456789), Conditions: []string{`\`, `"`}, Tape: "{",
		}},
		{Seq: 96922, Channel: market.Bars, Symbol: "SOMETHINGLONG", Bar: &market.Bar{
			Open: 1, High: 2, Low: 1, Close: 2, Volume: 5, Trades: 3, VWAP: 1, Time: at.Truncate(time.Minute),
		}},
		{Seq: 96923, Channel: market.DailyBars, Symbol: "BTC/USD", Bar: &market.Bar{
			Open: 1, High: 2, Low: 1, Close: 2, Volume: 5, Trades: 3, VWAP: 1, Time: at.Truncate(24 * time.Hour),
		}},
		{Seq: 96924, Channel: market.Statuses, Symbol: "BRK.A", Status: &market.Status{
			Code: "H", Message: `,"t":"`, ReasonCode: "}", ReasonMessage: `\"]}`, Time: at, Tape: "A",
		}},
		{Seq: 96925, Channel: market.Statuses, Symbol: "AAPL", Status: &market.Status{
			Code: "T", Message: "Trading Resumption", ReasonCode: "LUDP", ReasonMessage: "Volatility Trading Pause", Time: at, Tape: "C",
		}},
	}
	return events, []wire.Tail{
		{Prev: 96000, Merged: 12},
		{Snapshot: true},
		{Prev: 1},
		{Prev: 96000, Merged: 2, Snapshot: true},
		{Prev: 5},
		{Snapshot: true},
	}
}

func TestScanAgreesWithWire(t *testing.T) {
	events, tails := samples()
	for name, frame := range map[string]string{
		"written by wire": string(frameOf(events, tails)),
		"none":            `[]`,
		"white space":     " [ ] \n",
		"control":         `[{"T":"hb","t":"2026-01-05T15:00:00Z","q":5}]`,
		"any order": `[ {"pq":3 , "t":"2026-01-05T15:00:00.5Z","z":"C","c":["]","}"],"S":"A\u0041PL","s":1,"p":2,"q":4,"snap":false,"k":9,"T":"t"} ,
			{"T":"t","S":"AAPL","p":1,"s":1,"t":"2026-01-05T15:00:00.25+02:00","new":{"q":8,"t":[1,{"pq":3}]},"q":9,"pq":4}]`,
		"null":              `[{"T":"t","S":"AAPL","p":1,"s":1,"k":null,"t":"2026-01-05T15:00:00Z","q":9,"pq":4,"snap":null}]`,
		"throttle and feed": `[{"T":"throttle","state":"on"},{"T":"feed","state":"stale","since":"2026-01-05T15:00:00Z","epoch":5}]`,
	} {
		want, ok := oracle([]byte(frame))
		if !ok {
			t.Fatalf("%s: wire does not accept the test's own frame", name)
		}
		var s scan.Scanner
		for range 2 { // the second time with the minute in mind
			got, err := read(&s, []byte(frame))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			same(t, []byte(frame), got, want)
		}
	}
}

func TestScanRefuses(t *testing.T) {
	for _, frame := range []string{
		``, `{}`, `[`, `[1]`, `[{]`, `[{"T"}]`, `[{"T":}]`, `[{"T":"t"`, `[{"T":"t"} {"T":"t"}]`, `[{"T":"t"},]`, `[{"T":"t"}]x`,
		`[{"T":"t","q":-1}]`, `[{"T":"t","t":"yesterday"}]`, `[{"T":"t" "S":"A"}]`, `[{"T":1}]`, `[{1:1}]`,
	} {
		var s scan.Scanner
		if got, err := read(&s, []byte(frame)); err == nil {
			t.Errorf("%s: got %+v, want an error", frame, got)
		}
	}
}

func TestTopicsDiffer(t *testing.T) {
	seen := map[uint64]string{}
	for _, c := range market.Channels() {
		for _, s := range []string{"A", "AA", "SIM0031", "SIM00310", "SIM00311", "\x00"} {
			name := c.String() + s
			if other, ok := seen[scan.Topic(c, []byte(s))]; ok {
				t.Errorf("%q and %q have the same number", name, other)
			}
			seen[scan.Topic(c, []byte(s))] = name
		}
	}
}

func TestScanDoesNotAllocate(t *testing.T) {
	frame := frameOf(samples())
	plain := frame[:bytes.Index(frame, []byte(`,{"T":"q"`))]
	plain = append(slices.Clone(plain), ']') // the quote has braces in strings, as no exchange has
	var s scan.Scanner
	var m scan.Message
	if n := testing.AllocsPerRun(100, func() {
		s.Frame(plain)
		for more := true; more; {
			var err error
			if more, err = s.Next(&m); err != nil {
				t.Fatal(err)
			}
		}
	}); n > 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

// canonical tells whether each object of a frame has its keys once, and in the
// order in which the gateway writes them: what the short path relies on.
func canonical(frame []byte) bool {
	var objects []json.RawMessage
	if json.Unmarshal(frame, &objects) != nil {
		return false
	}
	for _, o := range objects {
		dec := json.NewDecoder(bytes.NewReader(o))
		var keys []string
		for depth := 0; ; {
			tok, err := dec.Token()
			if err != nil {
				break
			}
			switch d, isDelim := tok.(json.Delim); {
			case isDelim && (d == '{' || d == '['):
				depth++
			case isDelim:
				depth--
			case depth == 1:
				key, _ := tok.(string)
				keys = append(keys, key)
				if skipValue(dec) != nil {
					return false
				}
			}
		}
		sorted := slices.Clone(keys)
		slices.Sort(sorted)
		if len(slices.Compact(sorted)) != len(keys) {
			return false
		}
		if len(keys) > 0 && keys[0] == "T" && !orderly(keys) {
			return false
		}
	}
	return true
}

func skipValue(dec *json.Decoder) error {
	var v json.RawMessage
	return dec.Decode(&v)
}

// orderly tells whether k and snap, where they are, follow pq.
func orderly(keys []string) bool {
	pq := slices.Index(keys, "pq")
	for _, k := range []string{"k", "snap"} {
		if i := slices.Index(keys, k); i >= 0 && i < pq {
			return false
		}
	}
	return true
}

// FuzzScan holds the scanner against wire: what that accepts is read alike.
func FuzzScan(f *testing.F) {
	events, tails := samples()
	f.Add(frameOf(events, tails))
	for i := range events {
		f.Add(frameOf(events[i:i+1], tails[i:i+1]))
	}
	f.Add([]byte(`[{"T":"t","S":"AAPL","p":1,"s":1,"t":"2026-01-05T15:00:00.25+02:00","new":{"q":8},"q":9,"pq":4}]`))
	f.Add([]byte(`[{"T":"feed","state":"stale","since":"2026-01-05T15:00:00Z"}]`))
	f.Fuzz(func(t *testing.T, frame []byte) {
		var s scan.Scanner
		got, err := read(&s, frame)
		want, ok := oracle(frame)
		if !ok || !canonical(frame) {
			return
		}
		for i := range want {
			if y := want[i].At; want[i].Channel != 0 && (y < -9e18 || y > 9e18) {
				return // nanoseconds do not reach so far
			}
		}
		if err != nil {
			if slices.ContainsFunc(want, func(m scan.Message) bool { return m.Channel == 0 }) {
				return // unknown messages may hold what they like
			}
			t.Fatalf("frame %s: %v", frame, err)
		}
		same(t, frame, got, want)
	})
}

// FuzzScanStrings lets any text stand where an exchange writes its own.
func FuzzScanStrings(f *testing.F) {
	f.Add(`,"t":"2026-01-05T15:00:00Z"`, `},{"T":"t"`, `","q":1,"pq":2}`, int64(1614009104208000000), uint64(7), uint32(3), true)
	f.Add(`\`, `"`, `T`, int64(0), uint64(1), uint32(0), false)
	f.Fuzz(func(t *testing.T, exchange, condition, tape string, at int64, prev uint64, merged uint32, snap bool) {
		trade := market.Event{Seq: market.Seq(prev) + 1, Channel: market.Trades, Symbol: "AAPL", Trade: &market.Trade{
			ID: at, Exchange: exchange, Price: 1, Size: 1, Time: time.Unix(0, at), Conditions: []string{condition, tape}, Tape: tape,
		}}
		quote := market.Event{Seq: trade.Seq, Channel: market.Quotes, Symbol: "BTC/USDT", Quote: &market.Quote{
			BidExchange: exchange, BidPrice: 1, AskExchange: tape, AskPrice: 2, Time: time.Unix(0, at), Conditions: []string{condition}, Tape: tape,
		}}
		tail := wire.Tail{Prev: market.Seq(prev), Merged: merged, Snapshot: snap}
		frame := frameOf([]market.Event{trade, quote, trade}, []wire.Tail{tail, tail, tail})
		want, ok := oracle(frame)
		if !ok {
			return // such as a year that RFC 3339 cannot write
		}
		var s scan.Scanner
		got, err := read(&s, frame)
		if err != nil {
			t.Fatalf("frame %s: %v", frame, err)
		}
		same(t, frame, got, want)
	})
}

func BenchmarkScan(b *testing.B) {
	events, tails := samples()
	trade, quote := events[0], events[1]
	quote.Quote = &market.Quote{
		BidExchange: "U", BidPrice: 87_660_000_000, BidSize: market.Scale, AskExchange: "Q", AskPrice: 87_680_000_000, AskSize: 4 * market.Scale,
		Time: trade.Trade.Time.Add(123_456_789), Conditions: []string{"R"}, Tape: "C",
	}
	for name, e := range map[string]market.Event{"trade": trade, "quote": quote} {
		frame := frameOf(slices.Repeat([]market.Event{e}, 64), slices.Repeat(tails[:1], 64))
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(frame)))
			var s scan.Scanner
			var m scan.Message
			for b.Loop() {
				s.Frame(frame)
				for more := true; more; {
					more, _ = s.Next(&m)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/event")
		})
	}
	if strings.Contains(string(frameOf(events[:1], tails[:1])), " ") {
		b.Fatal("wire writes spaces: the short path would not be taken")
	}
}
