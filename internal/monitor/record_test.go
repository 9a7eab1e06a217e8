package monitor

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/lzstock/lzstock/internal/monitor/bars"
	"github.com/lzstock/lzstock/market"
)

// FuzzDecodeRecord reads foreign bytes as a record of bars.
func FuzzDecodeRecord(f *testing.F) {
	b := bars.New(bars.Config{})
	for i := range 3 {
		b.Add(nil, "x", &market.Event{Seq: market.Seq(i + 1), Channel: market.Trades, Symbol: "A", Trade: &market.Trade{
			Price: 1, Size: 2, Time: time.Unix(int64(60*i), 0),
		}})
	}
	data, err := encodeRecord(7, 9, true, []kept{{at: 3, stored: time.Unix(0, 1), Minute: b.Over()[0]}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeRecord(data)
		if err != nil {
			return
		}
		for _, m := range r.GetMinutes() {
			sum, err := bars.LoadSum(m.GetSum())
			if err != nil {
				continue
			}
			_ = sum.Bar()
			if diff := cmp.Diff(m.GetSum(), sum.Save(), protocmp.Transform(), protocmp.IgnoreUnknown()); diff != "" {
				t.Errorf("saved again it differs:\n%s", diff)
			}
		}
	})
}
