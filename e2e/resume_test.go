package e2e

import (
	"fmt"
	"testing"
)

// TestResume publishes a real day while nobody is connected, then has clients come
// back to places all over it, on a gateway that was there and on one that has just
// begun: what they get is the tape from there on.
func TestResume(t *testing.T) {
	file := tape(t, "us-equities.csv.gz")
	listen, grpc, other := freeAddr(t), freeAddr(t), freeAddr(t)
	start(t, "up", "--listen", listen, "--grpc", grpc, "--source", "none")
	start(t, "gateway", "--listen", other, "--monitor", grpc, "--admin", "off")
	publishTape(t, file, grpc)
	var want []string
	for _, k := range readTape(t, file) {
		want = append(want, k.String())
	}

	type place struct {
		q    int64
		left int // events behind it
	}
	places := []place{{left: len(want)}}
	var epoch int64
	for i, gateway := range []string{listen, other, other, listen} {
		from := places[min(i, len(places)-1)]
		if i == 0 {
			c := open(t, gateway, "/v1/stream?trades=A").listen(0).waitSubscribed()
			epoch = c.messages()[0].number("epoch")
		}
		c := open(t, gateway, fmt.Sprintf("/v1/stream?delivery=every&trades=*&quotes=*&since=%d-%d", epoch, from.q)).listen(0)
		var got []string
		var at []place
		eventually(t, fmt.Sprintf("%d events behind %d", from.left, from.q), func() bool {
			got, at = got[:0], at[:0]
			last := map[string]int64{}
			for _, m := range c.messages() {
				typ := m.text("T")
				if typ == "gap" || typ == "error" {
					t.Fatalf("%v", m)
				}
				if typ != "t" && typ != "q" {
					continue
				}
				q, topic := m.number("q"), typ+m.text("S")
				if pq, seen := last[topic]; (seen && m.number("pq") != pq) || (!seen && m.number("pq") > from.q) || m.text("snap") != "" {
					t.Fatalf("after q %d comes %v", pq, m)
				}
				last[topic] = q
				got = append(got, fromWire(m).String())
				at = append(at, place{q, from.left - len(got)})
			}
			return len(got) >= from.left
		})
		if fmt.Sprint(got) != fmt.Sprint(want[len(want)-from.left:]) {
			t.Fatalf("%d events behind %d are not the tape's", len(got), from.q)
		}
		if i == 0 { // places near the middle, and near the end
			places = append(places, at[len(at)/2], at[len(at)-300], at[len(at)-1])
		}
	}
}
