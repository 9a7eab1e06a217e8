package e2e

import (
	"compress/gzip"
	"fmt"
	"os"
	"testing"
	"time"
)

// publishTape pushes a whole tape through Ingest, as fast as it goes.
func publishTape(t *testing.T, file, grpc string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	p := spawn(t, z, "publish", "--grpc", grpc)
	<-p.done
}

// TestEveryIsExact publishes real days and has clients of every delivery compare
// each of the tape's numbers, as text, with what came over the wire.
func TestEveryIsExact(t *testing.T) {
	for _, tc := range []struct {
		file, query string
		wants       func(k tick) bool
	}{
		{"us-equities.csv.gz", "trades=*", func(tick) bool { return true }},
		{"us-equities.csv.gz", "trades=SPY,INFY,AAPL,MSFT&quotes=SPY", func(k tick) bool {
			return k.symbol == "SPY" || k.symbol == "INFY" || k.symbol == "AAPL" || k.symbol == "MSFT"
		}},
		{"crypto-binance.csv.gz", "trades=BTCUSD_PERP&quotes=BTCUSD_PERP", func(k tick) bool { return k.symbol == "BTCUSD_PERP" }},
	} {
		t.Run(tc.file+" "+tc.query, func(t *testing.T) {
			file := tape(t, tc.file)
			listen, grpc := freeAddr(t), freeAddr(t)
			start(t, "up", "--listen", listen, "--grpc", grpc, "--source", "none")
			c := open(t, listen, "/v1/stream?delivery=every&"+tc.query).listen(0).waitSubscribed()
			publishTape(t, file, grpc)
			var want []string
			for _, k := range readTape(t, file) {
				if tc.wants(k) {
					want = append(want, k.String())
				}
			}
			var got []string
			eventually(t, fmt.Sprintf("%d events", len(want)), func() bool {
				got = got[:0]
				last := map[string]int64{}
				for _, m := range c.messages() {
					if typ := m.text("T"); typ == "t" || typ == "q" {
						got = append(got, fromWire(m).String())
						topic := typ + m.text("S")
						if m.number("pq") != last[topic] || m.number("k") != 0 {
							t.Fatalf("after q %d comes %v", last[topic], m)
						}
						last[topic] = m.number("q")
					}
				}
				return len(got) >= len(want)
			})
			if len(got) != len(want) {
				t.Fatalf("%d events, the tape has %d", len(got), len(want))
			}
			for i := range want {
				if got[i] != want[i] {
					t.Fatalf("event %d:\n got  %s\n want %s", i, got[i], want[i])
				}
			}
		})
	}
}

func (k tick) String() string {
	return fmt.Sprintf("%s %s t %s×%s q %s×%s %s×%s", k.time.Format(time.RFC3339Nano), k.symbol, k.price, k.size, k.bid, k.bidSize, k.ask, k.askSize)
}

func fromWire(m message) tick {
	at, _ := time.Parse(time.RFC3339Nano, m.text("t"))
	return tick{
		time: at, symbol: m.text("S"), price: m.text("p"), size: m.text("s"),
		bid: m.text("bp"), bidSize: m.text("bs"), ask: m.text("ap"), askSize: m.text("as"),
	}
}

// TestSlowAdaptiveAddsUp has a client that reads slowly while a day is played as
// fast as it goes: it must end with each symbol's last value, and its counts
// must add up to what was published.
func TestSlowAdaptiveAddsUp(t *testing.T) {
	file := tape(t, "crypto-binance.csv.gz")
	listen, grpc := freeAddr(t), freeAddr(t)
	p := start(t, "up", "--listen", listen, "--grpc", grpc, "--source", "none")
	c := open(t, listen, "/v1/stream?trades=*&quotes=*").listen(20 * time.Millisecond).waitSubscribed()
	publishTape(t, file, grpc)
	published, last := map[string]int64{}, map[string]tick{}
	for _, k := range readTape(t, file) {
		topic := "t" + k.symbol
		if k.price == "" {
			topic = "q" + k.symbol
		}
		published[topic]++
		last[topic] = k
	}
	var counts map[string]int64
	var ends map[string]tick
	eventually(t, "counts that add up", func() bool {
		counts, ends = map[string]int64{}, map[string]tick{}
		chain := map[string]int64{}
		for _, m := range c.messages() {
			if typ := m.text("T"); typ == "t" || typ == "q" {
				topic := typ + m.text("S")
				counts[topic] += max(1, m.number("k"))
				ends[topic] = fromWire(m)
				if m.number("pq") != chain[topic] {
					t.Fatalf("%s: after q %d comes %v", topic, chain[topic], m)
				}
				chain[topic] = m.number("q")
			}
		}
		return fmt.Sprint(counts) == fmt.Sprint(published)
	})
	if fmt.Sprint(ends) != fmt.Sprint(last) {
		t.Errorf("last values are\n%v, want\n%v", ends, last)
	}
	if p.metric("lzstock_gateway_conflated_total") == 0 || len(c.of("throttle")) < 2 {
		t.Errorf("%v events were conflated, throttle was told %d times: the client was not slow", p.metric("lzstock_gateway_conflated_total"), len(c.of("throttle")))
	}
}
