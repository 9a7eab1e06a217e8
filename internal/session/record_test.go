package session

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

func sample() Session {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	return Session{
		Identity: Identity{User: "ann", Method: Token, Credential: "t-1", Issued: at, Grant: Grant{Limits: Limits{Sessions: 2}}},
		Request: Request{
			Topics: []market.Topic{
				{Channel: market.Trades, Symbol: "AAPL"}, {Channel: market.Trades, Symbol: "BTC/USD"}, {Channel: market.Bars, Symbol: "*"},
			},
			Delivery: wire.Latest, Interval: 500 * time.Millisecond, Heartbeat: time.Second, Snapshot: true,
		},
		Created: at, Expires: at.Add(time.Minute),
		Holder: Holder{Gateway: "gw-1", Conn: "c-1", Since: at}, Fence: 3, born: 7,
	}
}

func TestRecord(t *testing.T) {
	want := sample()
	data, err := want.encode()
	if err != nil {
		t.Fatal(err)
	}
	const text = `{"v":1,"identity":{"user":"ann","method":"token","credential":"t-1","issued":"2026-01-02T03:04:05.000000006Z",` +
		`"grant":{"limits":{"sessions":2}}},"request":{"topics":{"bars":["*"],"trades":["AAPL","BTC/USD"]},"delivery":"latest",` +
		`"interval":"500ms","heartbeat":"1s","snapshot":true},"created":"2026-01-02T03:04:05.000000006Z",` +
		`"expires":"2026-01-02T03:05:05.000000006Z","holder":{"gateway":"gw-1","conn":"c-1","since":"2026-01-02T03:04:05.000000006Z"},` +
		`"fence":3,"born":7}`
	if string(data) != text {
		t.Errorf("stored as\n%s\nwant\n%s", data, text)
	}
	got, err := decode(data, 99)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Session{})); diff != "" {
		t.Error(diff)
	}
}

func TestRecordIsBornWhereItWasCreated(t *testing.T) {
	s := sample()
	s.born = 0
	data, err := s.encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode(data, 42)
	if err != nil || got.born != 42 {
		t.Errorf("born at %d, %v: want 42", got.born, err)
	}
}

func TestBadRecords(t *testing.T) {
	for text, want := range map[string]string{
		``:                   "damaged",
		`{}`:                 "of another version: 0, want 1",
		`{"v":2}`:            "of another version: 2, want 1",
		`{"v":1,"fence":-1}`: "damaged",
		`{"v":1,"request":{"topics":{"ticks":["A"]}}}`:  `no channel "ticks"`,
		`{"v":1,"request":{"topics":{"trades":[""]}}}`:  "bad symbol",
		`{"v":1,"request":{"delivery":"slow"}}`:         `delivery "slow" is not known`,
		`{"v":1,"request":{"interval":"5"}}`:            `interval is "5", want a time such as 500ms`,
		`{"v":1,"request":{"heartbeat":"-1s"}}`:         "must not be negative",
		`{"v":1,"x":"` + strings.Repeat("x", maxRecord): "want at most 65536",
	} {
		if s, err := decode([]byte(text), 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %+v, %v, want %s", text, s, err, want)
		}
	}
	s := sample()
	for i := range maxRecord / 8 {
		s.Request.Topics = append(s.Request.Topics, market.Topic{Channel: market.Quotes, Symbol: market.Symbol(fmt.Sprintf("S%06d", i))})
	}
	if _, err := s.encode(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a request of %d topics: %v, want ErrTooLarge", len(s.Request.Topics), err)
	}
}

func TestBadRequests(t *testing.T) {
	for want, r := range map[string]Request{
		"no channel(0)": {Topics: []market.Topic{{Symbol: "A"}}},
		"bad symbol":    {Topics: []market.Topic{{Channel: market.Trades, Symbol: "A B"}}},
		"is not known":  {Delivery: wire.Latest + 1},
		"negative":      {Interval: -1},
	} {
		if err := r.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", r, err, want)
		}
	}
}

// FuzzDecode checks that foreign bytes do no harm, and that what can be read is
// written so that it is read alike.
func FuzzDecode(f *testing.F) {
	s := sample()
	data, err := s.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"v":1}`))
	f.Add([]byte(`{"v":1,"user":"ann","at":"2026-01-02T03:04:05Z"}`))
	f.Add([]byte(`{"v":1,"identity":{"grant":{"symbols":["BTC*"],"delay":"15m"}},"request":{"topics":{"quotes":["*"]}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = decodeMark(data, 1)
		s, err := decode(data, 1)
		if err != nil {
			return
		}
		again, err := s.encode()
		if errors.Is(err, ErrTooLarge) {
			return // text may grow where it is escaped
		}
		if err != nil {
			t.Fatalf("%+v cannot be stored: %v", s, err)
		}
		back, err := decode(again, 2)
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if diff := cmp.Diff(s, back, cmp.AllowUnexported(Session{}), cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestIDsStaySecret(t *testing.T) {
	a, b := newID(), newID()
	if a == b || len(a) != 22 || strings.ContainsAny(string(a), "+/=") {
		t.Fatalf("ids %q and %q: want 22 characters of base64url, never the same", string(a), string(b))
	}
	var out bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("x", slog.Any("id", a), slog.Any("pointer", &a))
	}
	fmt.Fprintf(&out, "%s %v %+v %#v %q %x", a, a, a, a, a, a)
	if text := out.String(); strings.Contains(text, string(a)) || strings.Contains(text, fmt.Sprintf("%x", string(a))) || !strings.Contains(text, a.Name()) {
		t.Errorf("%s\nwant the name %s, and never the id %s", text, a.Name(), string(a))
	}
	// The client that it is for must get it whole.
	if data, err := json.Marshal(a); err != nil || string(data) != `"`+string(a)+`"` {
		t.Errorf("%s, %v", data, err)
	}
	key := hashOf(string(a)).key(sessionKey)
	if strings.Contains(key, string(a)) || !strings.Contains(key, a.Name()) {
		t.Errorf("key %s of %s", key, string(a))
	}
}

func TestKeys(t *testing.T) {
	h := hashOf("ann")
	for _, want := range []string{sessionKey, revocationKey} {
		if kind, got, ok := parseKey(h.key(want)); !ok || kind != want || got != h {
			t.Errorf("%s: %s, %x, %v", h.key(want), kind, got, ok)
		}
	}
	for _, bad := range []string{"", "s.", "s.zz", h.key("x."), strings.Replace(h.key("s."), "a", "z", 1), h.key("s.") + "00"} {
		if _, _, ok := parseKey(bad); ok {
			t.Errorf("%q was taken", bad)
		}
	}
}
