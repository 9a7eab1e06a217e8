package bench

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lzstock/lzstock/internal/bench/report"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

const accepted = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"

// trade writes a trade's message.
func trade(symbol string, at time.Time, q, pq, k uint64) string {
	return fmt.Sprintf(`{"T":"t","S":%q,"i":1,"x":"D","p":1,"s":1,"t":%q,"c":[],"z":"","q":%d,"pq":%d,"k":%d}`,
		symbol, at.UTC().Format(time.RFC3339Nano), q, pq, k)
}

func frame(messages ...string) string {
	return string(wire.AppendFrame(nil, wire.OpText, []byte("["+strings.Join(messages, ",")+"]")))
}

// feed gives a stream its bytes in pieces of a size, as sockets do.
func feed(r *reader, s *stream, now time.Time, data string, piece int) (reply []byte, err error) {
	var waiting []byte
	for len(data) > 0 {
		n := min(piece, len(data))
		waiting = append(waiting, data[:n]...)
		data = data[n:]
		used, _, err := r.take(s, healthy, now.UnixNano(), waiting)
		reply = append(reply, r.reply...)
		if err != nil {
			return reply, err
		}
		waiting = slices.Clone(waiting[used:])
	}
	if len(waiting) > 0 {
		return reply, fmt.Errorf("%d bytes are left", len(waiting))
	}
	return reply, nil
}

func TestStreamCounts(t *testing.T) {
	now := time.Date(2026, 1, 5, 15, 0, 0, 0, time.UTC)
	old := now.Add(-250 * time.Millisecond)
	snapshot := strings.Replace(trade("AAPL", old, 10, 0, 1), `"k":1`, `"snap":true`, 1)
	data := accepted +
		frame(`{"T":"success","msg":"connected"}`) +
		frame(snapshot) +
		frame(trade("AAPL", old, 11, 10, 1), trade("MSFT", old, 12, 0, 3)) +
		frame(trade("AAPL", old, 20, 15, 1)) + // lost: 11 was the last
		frame(trade("MSFT", old, 12, 12, 1)) + // comes a second time
		frame(`{"T":"throttle","state":"on"}`) + frame(`{"T":"feed","state":"stale","since":"2026-01-05T15:00:00Z"}`) +
		frame(`{"T":"feed","state":"live","since":"2026-01-05T15:00:00Z"}`) + frame(`{"T":"gap","reason":"expired","from":"1-1","to":"1-2"}`) +
		frame(`{"T":"error","code":405,"msg":"symbol limit exceeded","retry":false}`) + frame(`{"T":"b","S":"AAPL","o":1,"h":1,"l":1,"c":1,"v":1,"n":1,"vw":1,"t":"2026-01-05T14:59:00Z","q":30,"pq":0}`) +
		string(wire.AppendFrame(nil, wire.OpPing, []byte("hello"))) +
		"\x01\x05[{\"T\"" + "\x80\x0d:\"hb\",\"q\":5}]" + // in two fragments
		frame("nonsense") +
		string(wire.AppendClose(nil, 4102, "slow client"))
	var want *tally
	for _, piece := range []int{len(data), 1000, 7, 1} {
		r, s := &reader{t: newTally()}, &stream{}
		reply, err := feed(r, s, now, data, piece)
		if err != nil {
			t.Fatalf("pieces of %d: %v", piece, err)
		}
		if s.closed != 4102 {
			t.Errorf("closed with %d", s.closed)
		}
		if got := string(reply); got != "\x8a\x85\x00\x00\x00\x00hello"+"\x88\x82\x00\x00\x00\x00\x10\x06" {
			t.Errorf("replies %q", got)
		}
		c := report.Counts{Events: 5, Snapshots: 1, Merged: 2, Frames: 5, Bytes: uint64(len(data) - len(accepted)), Losses: 1, Disorder: 1, Bad: 1}
		if r.t.counts[healthy] != c {
			t.Errorf("pieces of %d: %+v, want %+v", piece, r.t.counts[healthy], c)
		}
		if r.t.throttle != 1 || r.t.gaps != 1 || r.t.stale != 1 || r.t.errors["405 symbol limit exceeded"] != 1 {
			t.Errorf("%d, %d, %d, %v", r.t.throttle, r.t.gaps, r.t.stale, r.t.errors)
		}
		if a := report.AgesOf(r.t.age[healthy]); a.Count != 4 || a.P50 < 249 || a.P50 > 251 { // of trades, not of the bar and the snapshot
			t.Errorf("ages: %+v", a)
		}
		if want == nil {
			want = r.t
		} else if !reflect.DeepEqual(r.t, want) {
			t.Errorf("pieces of %d count otherwise", piece)
		}
	}
}

func TestStreamRefuses(t *testing.T) {
	for name, data := range map[string]string{
		"masked":         accepted + "\x81\x82\x00\x00\x00\x00[]",
		"reserved bits":  accepted + "\xc1\x02[]",
		"opcode":         accepted + "\x83\x02[]",
		"binary":         accepted + "\x82\x02[]",
		"too long":       accepted + "\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff",
		"bad close":      accepted + "\x88\x01x",
		"no HTTP":        "SSH-2.0\r\n\r\n",
		"endless answer": "HTTP/1.1 101" + strings.Repeat(" ", maxHead),
	} {
		r := &reader{t: newTally()}
		if _, err := feed(r, &stream{}, time.Now(), data, len(data)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	r := &reader{t: newTally()}
	_, err := feed(r, &stream{}, time.Now(), "HTTP/1.1 503 Service Unavailable\r\n\r\n", 9)
	if refused, ok := errors.AsType[*refusal](err); !ok || refused.status != "503 Service Unavailable" {
		t.Errorf("err = %v", err)
	}
}

// FuzzStream holds that no bytes make a client read beyond what it has, and that
// it does not matter how they are cut.
func FuzzStream(f *testing.F) {
	at := time.Unix(1_700_000_000, 0)
	f.Add([]byte(accepted+frame(trade("AAPL", at, 2, 1, 1))), 3)
	f.Add([]byte(accepted+"\x01\x01[\x80\x01]"), 1)
	f.Add([]byte(accepted+"\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x02[]"), 5)
	f.Fuzz(func(t *testing.T, data []byte, piece int) {
		if piece < 1 {
			return
		}
		whole, parts := &reader{t: newTally()}, &reader{t: newTally()}
		a, b := &stream{}, &stream{}
		used, _, _ := whole.take(a, healthy, 0, data)
		if used < 0 || used > len(data) {
			t.Fatalf("used %d of %d bytes", used, len(data))
		}
		_, _ = feed(parts, b, time.Unix(0, 0), string(data), piece)
		if a.closed != b.closed || whole.t.counts != parts.t.counts {
			t.Errorf("whole %d, %+v; in pieces of %d: %d, %+v", a.closed, whole.t.counts, piece, b.closed, parts.t.counts)
		}
	})
}

func TestTopicsRemember(t *testing.T) {
	var l topics
	for i := range uint64(1000) {
		*l.of(i<<56 | 7 + i) = i
	}
	for i := range uint64(1000) {
		if got := *l.of(i<<56 | 7 + i); got != i {
			t.Fatalf("topic %d has %d", i, got)
		}
	}
	if l.used != 1000 {
		t.Errorf("%d topics", l.used)
	}
}

func TestFleetChooses(t *testing.T) {
	cfg, err := Config{URL: "ws://127.0.0.1:1/v1/stream?since=5", Clients: 12_000, Stalled: 0.2, Drip: 0.1, Interval: 500 * time.Millisecond, Delivery: wire.Latest}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	f, err := newFleet(t.Context(), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	var n [3]int
	often := map[market.Symbol]int{}
	for id := range 1000 {
		n[f.temper(id)]++
		mine := f.symbols(id)
		if again := f.symbols(id); !slices.Equal(mine, again) {
			t.Fatalf("client %d wants %v and then %v", id, mine, again)
		}
		seen := map[market.Symbol]bool{}
		for _, s := range mine {
			seen[s] = true
			often[s]++
		}
		if len(seen) != 10 {
			t.Fatalf("client %d wants %v", id, mine)
		}
	}
	for i, want := range []int{700, 200, 100} {
		if n[i] < want-3 || n[i] > want+3 {
			t.Errorf("tempers %v, want 700, 200 and 100", n)
		}
	}
	for _, s := range cfg.Universe {
		if often[s] < 250 || often[s] > 420 {
			t.Errorf("%s was chosen %d times of 1,000, want about 333", s, often[s])
		}
	}
	request, then := f.request(0)
	line, _, _ := strings.Cut(string(request), "\r\n")
	if !strings.HasPrefix(line, "GET /v1/stream?since=5&trades=") || !strings.HasSuffix(line, "&delivery=latest&interval_ms=500 HTTP/1.1") || then != nil {
		t.Errorf("request %q", line)
	}
	if spreads && len(f.sources) != 3 {
		t.Errorf("sources %v, want 3 for 12,000 clients", f.sources)
	}
}
