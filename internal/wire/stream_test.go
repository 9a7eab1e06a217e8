package wire

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/lzstock/lzstock/market"
)

func TestEventStream(t *testing.T) {
	at := market.Position{Epoch: 1_700_000_000_000, Seq: 19969}
	for want, got := range map[string][]byte{
		"data: [1]\nid: 1700000000000-19969\n\n": EndEvent(append(BeginEvent(nil), "[1]"...), at),
		"data: [1]\n\n":                          EndEvent(append(BeginEvent(nil), "[1]"...), market.Position{}),
		":\n\n":                                  AppendEventPing(nil),
		"retry: 1500\n\n":                        AppendEventRetry(nil, 1500*time.Millisecond),
		"event: close\ndata: {\"code\":4102,\"reason\":\"slow_consumer\",\"msg\":\"slow client\",\"retry\":\"backoff\",\"retry_ms\":2000}\nretry: 2000\n\n": AppendEventClose(nil, SlowConsumer, 2*time.Second),
	} {
		if string(got) != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

// TestEventStreamEnds: each reason for which something can be sent has its last
// event, which keeps browsers away where they are not to come again.
func TestEventStreamEnds(t *testing.T) {
	for r := ClientClosed; int(r) < NumReasons; r++ {
		got := string(AppendEventClose(nil, r, time.Second))
		data, rest, _ := strings.Cut(strings.TrimPrefix(got, "event: close\ndata: "), "\n")
		var m struct {
			Code    uint16
			Retry   string
			RetryMS *int `json:"retry_ms"`
		}
		if err := json.Unmarshal([]byte(data), &m); err != nil || m.Code != r.CloseCode() || m.Retry != r.Advice().String() {
			t.Errorf("%s: %v in %q", r, err, got)
		}
		if never := r.Advice() == RetryNever; never != (m.RetryMS == nil) || never != (rest == "id: end\n\n") || !strings.HasSuffix(got, "\n\n") {
			t.Errorf("%s: %q", r, got)
		}
	}
}

// TestEventStreamHasNoBreakInside: whatever clients and sources write, a message is
// one line.
func TestEventStreamHasNoBreakInside(t *testing.T) {
	e := aTrade()
	e.Trade.Exchange, e.Symbol = "a\rb\nc\u2028d", "S\r\n"
	body := AppendEvent(nil, JSONNative, e)
	control := AppendSubscription(nil, JSONNative, &Subscription{Rejected: []Rejection{{Topic: market.Topic{Symbol: "x\r\ny"}, Detail: "\n\r"}}})
	if out := string(body) + string(control); strings.ContainsAny(out, "\r\n") {
		t.Errorf("%q", out)
	}
}
