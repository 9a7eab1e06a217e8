package gateway

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/obs"
)

// TestAgeHistogram: the buckets add up, and are those of the other hops.
func TestAgeHistogram(t *testing.T) {
	s := bridge.Stats{Aged: 90 * time.Second}
	s.Shown[0], s.Shown[2], s.Shown[len(s.Shown)-1] = 1, 2, 4
	var m dto.Metric
	if err := ages(prometheus.NewDesc("x", "x", nil, nil), &s).Write(&m); err != nil {
		t.Fatal(err)
	}
	h, limits := m.GetHistogram(), obs.AgeBuckets()
	if h.GetSampleCount() != 7 || h.GetSampleSum() != 90 || len(h.GetBucket()) != len(limits) {
		t.Fatalf("%v", h)
	}
	for i, b := range h.GetBucket() {
		if b.GetUpperBound() != limits[i] {
			t.Errorf("bucket %d is up to %v, want %v", i, b.GetUpperBound(), limits[i])
		}
	}
	if got := []uint64{h.GetBucket()[0].GetCumulativeCount(), h.GetBucket()[1].GetCumulativeCount(), h.GetBucket()[15].GetCumulativeCount()}; got[0] != 1 || got[1] != 1 || got[2] != 3 {
		t.Errorf("%v", got)
	}
}
