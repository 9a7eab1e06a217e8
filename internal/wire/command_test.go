package wire

import (
	"encoding/json"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/lzstock/lzstock/market"
)

func topics(list ...string) (out []market.Topic) {
	for _, s := range list {
		name, symbol, _ := strings.Cut(s, ":")
		for _, c := range market.Channels() {
			if c.String() == name {
				out = append(out, market.Topic{Channel: c, Symbol: market.Symbol(symbol)})
			}
		}
	}
	return out
}

// pack gives a JSON command as MessagePack.
func pack(tb testing.TB, text string) []byte {
	tb.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		tb.Fatal(err)
	}
	// JSON's numbers are floats; the ones here are whole.
	if m, ok := v.(map[string]any); ok {
		for k, x := range m {
			if n, ok := x.(float64); ok && n == float64(int64(n)) {
				m[k] = int64(n)
			}
		}
	}
	b, err := msgpack.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestParseCommand(t *testing.T) {
	for _, tc := range []struct {
		in     string
		strict bool
		want   Command
	}{
		{in: `{"action":"auth","key":"k","secret":"s"}`, want: Command{Action: Auth, Key: "k", Secret: "s"}},
		{in: `{"action":"auth","token":"jwt","id":3}`, want: Command{Action: Auth, ID: "3", Token: "jwt"}},
		{in: `{"action":"auth","key":"","secret":""}`, want: Command{Action: Auth}},
		{in: `{"action":"auth","key":"k","secret":"s","more":1}`, strict: true, want: Command{Action: Auth, Key: "k", Secret: "s"}},
		{
			in:   `{"action":"subscribe","id":1,"trades":["AAPL"],"quotes":["AAPL","MSFT","AAPL"],"bars":["*"],"updatedBars":null,"dailyBars":[]}`,
			want: Command{Action: Subscribe, ID: "1", Topics: topics("trades:AAPL", "quotes:AAPL", "quotes:MSFT", "bars:*"), Options: Options{Snapshot: true}},
		},
		{
			in:   `{"action":"subscribe","trades":["A"],"delivery":"latest","interval_ms":100,"snapshot":false,"hb_ms":1000}`,
			want: Command{Action: Subscribe, Topics: topics("trades:A"), Options: Options{Delivery: Latest, Interval: new(100 * time.Millisecond), Heartbeat: time.Second}},
		},
		{in: `{"action":"subscribe","interval_ms":0,"delivery":"every"}`, want: Command{Action: Subscribe, Options: Options{Delivery: Every, Interval: new(time.Duration(0)), Snapshot: true}}},
		{
			in: `{"action":"subscribe","trades":["A A","B"]}`,
			want: Command{
				Action: Subscribe, Topics: topics("trades:B"), Options: Options{Snapshot: true},
				Rejected: []Rejection{{Topic: topics("trades:A A")[0], Code: CodeUnknownSymbol, Detail: market.Symbol("A A").Validate().Error()}},
			},
		},
		{in: `{"action":"subscribe","trades":["A"],"delivery":7,"id":{},"x":1}`, strict: true, want: Command{Action: Subscribe, Topics: topics("trades:A"), Options: Options{Snapshot: true}}},
		{in: `{"action":"unsubscribe","trades":["A"],"statuses":[]}`, want: Command{Action: Unsubscribe, Topics: topics("trades:A"), Options: Options{Snapshot: true}}},
		{in: `{"action":"subscribe","statuses":["A","*"]}`, strict: true, want: Command{Action: Subscribe, Topics: topics("statuses:A", "statuses:*"), Options: Options{Snapshot: true}}},
		{in: `{"action":"list","id":null}`, want: Command{Action: List}},
	} {
		for _, enc := range []Encoding{JSON, MsgPack} {
			in, d, want := []byte(tc.in), Native, tc.want
			if enc == MsgPack {
				in = pack(t, tc.in)
				if want.ID != "" {
					want.ID = ID(appendPackInt(nil, int64(want.ID[0]-'0')))
					in = []byte(strings.Replace(string(in), "\xd3\x00\x00\x00\x00\x00\x00\x00"+string(want.ID), string(want.ID), 1))
				}
			}
			if tc.strict {
				d = Stock
			}
			got, err := ParseCommand(NewFormat(enc, d), in)
			if err != nil {
				t.Errorf("%s as %s: %v", tc.in, enc, err)
				continue
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s as %s: %s", tc.in, enc, diff)
			}
		}
	}
}

func TestIDsAreEchoedVerbatim(t *testing.T) {
	for _, id := range []string{`7`, `-1`, `0`, `123456789012345678901234567890`, `"a"`, `"\u00e9\ud800\n"`, `""`} {
		cmd, err := ParseCommand(JSONNative, []byte(`{"id": `+id+` ,"action":"ping"}`))
		if err != nil || string(cmd.ID) != id {
			t.Errorf("id %s is read as %s, %v", id, cmd.ID, err)
		}
		if got := string(AppendPong(nil, JSONNative, Pong{ID: cmd.ID})); !strings.Contains(got, `"id":`+id+`,`) {
			t.Errorf("id %s is echoed in %s", id, got)
		}
	}
	for _, id := range []string{"\x07", "\xff", "\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "\xa1a", "\xd9\x01a"} {
		cmd, err := ParseCommand(MsgPackNative, []byte("\x82\xa2id"+id+"\xa6action\xa4ping"))
		if err != nil || string(cmd.ID) != id {
			t.Errorf("id %x is read as %x, %v", id, cmd.ID, err)
		}
	}
}

func TestParseCommandRefuses(t *testing.T) {
	long := strings.Repeat("x", 200)
	var many strings.Builder
	for i := range 40 {
		many.WriteString(`,"k` + strconv.Itoa(i) + `":1`)
	}
	for _, tc := range []struct {
		in, id string
		code   Code
		detail string // a part of it
		f      Format
	}{
		{in: ``, code: 400, detail: "not complete"},
		{in: `{`, code: 400, detail: "not complete"},
		{in: `nonsense`, code: 400, detail: `unexpected 'n' at byte 0: want null`},
		{in: `[{"action":"list"}]`, code: 400, detail: "want one object with action"},
		{in: `"auth"`, code: 400, detail: "want one object"},
		{in: `{"action":"list"}{}`, code: 400, detail: "2 more bytes after the end"},
		{in: `{"action":"list",}`, code: 400, detail: "want a key in double quotes"},
		{in: `{'action':'list'}`, code: 400, detail: "want a key in double quotes"},
		{in: `{"action":"list" "id":1}`, code: 400, detail: "want a comma or '}'"},
		{in: `{"id":01,"action":"list"}`, code: 400, detail: "want a comma"},
		{in: `{"action":"list","action":"list","id":4}`, id: "4", code: 400, detail: `field "action" comes twice`},
		{in: `{"id":5}`, id: "5", code: 400, detail: "there is no action"},
		{in: `{"id":5,"action":9}`, id: "5", code: 400, detail: "action: want a string, got 9"},
		{in: `{"id":"x","action":"dance"}`, id: `"x"`, code: 400, detail: `action "dance" is not known: want auth, subscribe`},
		{in: `{"action":"` + long + `"}`, code: 400, detail: "…"},
		{in: `{"action":"list"}`, f: JSONStock, code: 400, detail: "not known"},
		{in: `{"action":"ping","id":1.5}`, code: 400, detail: "id: want an integer or a string, got 1.5"},
		{in: `{"action":"ping","id":true}`, code: 400, detail: "id: want an integer or a string, got true"},
		{in: `{"action":"ping","id":"` + long + `"}`, code: 400, detail: "id: it has 202 bytes, more than 128"},
		{in: `{"action":"ping","id":1,"trades":[]}`, id: "1", code: 415, detail: `ping does not know the field "trades"`},
		{in: `{"action":"auth","id":1}`, id: "1", code: 400, detail: "auth needs key and secret, or token"},
		{in: `{"action":"auth","key":"k","secret":"hunter2","token":"t"}`, code: 400, detail: "auth needs"},
		{in: `{"action":"auth","key":"k","secret":["hunter2"]}`, code: 400, detail: "secret: want a string"},
		{in: `{"action":"subscribe","trades":"AAPL","id":2}`, id: "2", code: 400, detail: `trades: want an array, got "AAPL"`},
		{in: `{"action":"subscribe","trades":[1]}`, code: 400, detail: "trades: want a string, got 1"},
		{in: `{"action":"subscribe","trade":["AAPL"],"id":2}`, id: "2", code: 415, detail: `subscribe does not know the field "trade"`},
		{in: `{"action":"subscribe","since":"1:2"}`, code: 400, detail: "since: bad position"},
		{in: `{"action":"unsubscribe","since":"1-2"}`, code: 415, detail: `"since"`},
		{in: `{"action":"subscribe","lulds":["AAPL"]}`, code: 410, detail: "lulds"},
		{in: `{"action":"subscribe","statuses":["BTC/USD"]}`, f: JSONCrypto, code: 410, detail: "there is no channel statuses"},
		{in: `{"action":"subscribe","orderbooks":["BTC/USD"]}`, f: JSONCrypto, code: 410, detail: "orderbooks"},
		{in: `{"action":"subscribe","trades":["A A"]}`, f: JSONStock, code: 400, detail: "bad symbol"},
		{in: `{"action":"subscribe","delivery":"fast"}`, code: 415, detail: "want adaptive, every or latest"},
		{in: `{"action":"subscribe","delivery":1}`, code: 400, detail: "delivery: want a string"},
		{in: `{"action":"subscribe","interval_ms":99}`, code: 415, detail: "between 100 and 10000"},
		{in: `{"action":"subscribe","interval_ms":10001}`, code: 415, detail: "between 100 and 10000"},
		{in: `{"action":"subscribe","interval_ms":18446744073709551615}`, code: 415, detail: "between 100 and 10000"},
		{in: `{"action":"subscribe","interval_ms":1e3}`, code: 400, detail: "interval_ms: want a whole number"},
		{in: `{"action":"subscribe","interval_ms":500,"delivery":"every"}`, code: 415, detail: "delivery latest only"},
		{in: `{"action":"subscribe","hb_ms":0}`, code: 415, detail: "hb_ms must be between 1000 and 60000"},
		{in: `{"action":"subscribe","snapshot":"yes"}`, code: 400, detail: "snapshot: want true or false"},
		{in: `{"action":"unsubscribe","delivery":"every"}`, code: 415, detail: "unsubscribe does not know"},
		{in: `{"action":[[[[[[[[[1]]]]]]]]]}`, code: 400, detail: "more than 8 deep"},
		{in: `{"action":"li` + "\xff" + `st"}`, code: 400, detail: "not UTF-8"},
		{in: "{\"action\":\"li\nst\"}", code: 400, detail: "control character"},
		{in: strings.Repeat(" ", MaxCommand+1), code: 413, detail: "more than 1048576"},
		{in: `{"action":"ping"` + many.String() + `}`, code: 400, detail: "41 fields are more than 32"},
		{in: "\x81\xa6action\x01", f: MsgPackNative, code: 400, detail: "action: want a string"},
		{in: "\x81\x01\x01", f: MsgPackNative, code: 400, detail: "want a string"},
		{in: "\xdf\xff\xff\xff\xff", f: MsgPackNative, code: 400, detail: "not complete"},
		{in: "\x90", f: MsgPackNative, code: 400, detail: "want one object"},
		{in: "\x82\xa2id\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00\xa6action\xa4ping", f: MsgPackNative, code: 400, detail: "id: want an integer"},
	} {
		got, err := ParseCommand(tc.f, []byte(tc.in))
		var ce *CommandError
		if !errors.As(err, &ce) {
			t.Errorf("%s was accepted as %+v", tc.in, got)
			continue
		}
		if ce.Code != tc.code || string(ce.ID) != tc.id || !strings.Contains(ce.Detail, tc.detail) {
			t.Errorf("%.60s: id %q, %v; want id %q, %d …%s…", tc.in, ce.ID, ce, tc.id, tc.code, tc.detail)
		}
		if strings.Contains(ce.Detail, "hunter2") || len(ce.Detail) > 200 {
			t.Errorf("%.60s: says too much: %s", tc.in, ce.Detail)
		}
	}
}

func TestParseQuery(t *testing.T) {
	for query, want := range map[string]Command{
		"":                                       {Action: Subscribe, Options: Options{Snapshot: true}},
		"trades=AAPL,MSFT&trades=AAPL&bars=*":    {Action: Subscribe, Topics: topics("trades:AAPL", "trades:MSFT", "bars:*"), Options: Options{Snapshot: true}},
		"quotes=BTC%2FUSD,&delivery=latest":      {Action: Subscribe, Topics: topics("quotes:BTC/USD"), Options: Options{Delivery: Latest, Snapshot: true}},
		"dailyBars=A&interval_ms=500&hb_ms=5000": {Action: Subscribe, Topics: topics("dailyBars:A"), Options: Options{Interval: new(500 * time.Millisecond), Heartbeat: 5 * time.Second, Snapshot: true}},
		"statuses=*,A":                           {Action: Subscribe, Topics: topics("statuses:*", "statuses:A"), Options: Options{Snapshot: true}},
		"updatedBars=A&snapshot=false":           {Action: Subscribe, Topics: topics("updatedBars:A")},
		"trades=A&since=17-300":                  {Action: Subscribe, Topics: topics("trades:A"), Options: Options{Snapshot: true, Since: market.Position{Epoch: 17, Seq: 300}}},
	} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseQuery(q)
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
	for query, part := range map[string]string{
		"trade=AAPL":                        `query parameter "trade" is not known: want one of delivery`,
		"trades=A&since=12":                 "since: bad position",
		"trades=A&since=":                   "want <epoch>-<q>",
		"delivery=fast":                     "want adaptive",
		"interval_ms=1":                     "between 100 and 10000",
		"interval_ms=x":                     "want a whole number of milliseconds",
		"hb_ms=-1":                          "want a whole number",
		"snapshot=perhaps":                  "want true or false",
		"delivery=every&interval_ms=200":    "latest only",
		"delivery=adaptive&interval_ms=500": "latest only",
	} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseQuery(q); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v; want …%s…", query, err, part)
		}
	}
}

// TestCommandsComeBack writes commands as the client does and reads them as the
// gateway does.
func TestCommandsComeBack(t *testing.T) {
	for _, f := range []Format{JSONNative, MsgPackNative} {
		for _, cmd := range []Command{
			{Action: Auth, Key: "k", Secret: `"s"`},
			{Action: Auth, ID: IntID(f.Encoding(), 1), Token: "t"},
			{Action: Subscribe, ID: IntID(f.Encoding(), 300), Topics: topics("trades:A", "trades:B", "dailyBars:*", "statuses:A"), Options: Options{Snapshot: true}},
			{Action: Subscribe, Topics: topics("quotes:A"), Options: Options{Delivery: Latest, Interval: new(time.Second), Heartbeat: time.Second}},
			{Action: Subscribe, Topics: topics("quotes:A"), Options: Options{Snapshot: true, Since: market.Position{Epoch: 1 << 40, Seq: 19712}}},
			{Action: Unsubscribe, Topics: topics("quotes:A"), Options: Options{Snapshot: true}},
			{Action: List},
			{Action: Ping, ID: IntID(f.Encoding(), -9)},
		} {
			b := AppendCommand(nil, f, &cmd)
			got, err := ParseCommand(f, b)
			if err != nil {
				t.Fatalf("%q: %v", b, err)
			}
			if diff := cmp.Diff(cmd, got); diff != "" {
				t.Error(diff)
			}
		}
	}
}

// FuzzParseCommand feeds the gateway's reader with anything. What it accepts can
// be written and read again, and is the same then.
func FuzzParseCommand(f *testing.F) {
	for _, s := range []string{
		`{"action":"auth","key":"k","secret":"s"}`,
		`{"action":"subscribe","id":1,"trades":["AAPL","A A"],"quotes":["*"],"delivery":"latest","interval_ms":100,"hb_ms":1000,"snapshot":false}`,
		`{"action":"unsubscribe","id":"\u00e9","bars":["SPY"],"statuses":["*"]}`,
		`{"action":"ping","id":-7}`,
	} {
		f.Add(uint8(JSONNative), []byte(s))
		f.Add(uint8(JSONStock), []byte(s))
		f.Add(uint8(MsgPackNative), pack(f, s))
	}
	f.Fuzz(func(t *testing.T, n uint8, b []byte) {
		format := Format(n % uint8(NumFormats))
		cmd, err := ParseCommand(format, b)
		if err != nil {
			var ce *CommandError
			if !errors.As(err, &ce) || ce.Code.Text() == "" {
				t.Fatalf("the error has no code: %v", err)
			}
			AppendError(nil, format, ce.ErrorMessage)
			return
		}
		if format.Encoding() == JSON && !json.Valid(b) {
			t.Fatalf("%q is not JSON", b)
		}
		for _, topic := range cmd.Topics {
			if err := topic.Symbol.Validate(); err != nil && topic.Symbol != market.AllSymbols {
				t.Fatal(err)
			}
		}
		if !format.Native() {
			return
		}
		cmd.Rejected = nil
		again, err := ParseCommand(format, AppendCommand(nil, format, &cmd))
		if err != nil {
			t.Fatalf("%+v does not come back: %v", cmd, err)
		}
		if diff := cmp.Diff(cmd, again); diff != "" {
			t.Fatal(diff)
		}
	})
}
