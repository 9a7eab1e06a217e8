package fault

import (
	"math"
	"testing"
)

// trend gives the mean of samples, how much they grow from the first to the last by
// the line that fits best, and the standard error of that growth.
func trend(all []sample) (mean, growth, noise float64) {
	n := float64(len(all))
	var x, y float64
	for _, s := range all {
		x += s.at / n
		y += s.value / n
	}
	var xx, xy float64
	for _, s := range all {
		xx += (s.at - x) * (s.at - x)
		xy += (s.at - x) * (s.value - y)
	}
	slope := xy / xx
	var rest float64
	for _, s := range all {
		d := s.value - y - slope*(s.at-x)
		rest += d * d
	}
	span := all[len(all)-1].at - all[0].at
	return y, slope * span, span * math.Sqrt(rest/(n-2)/xx)
}

// TestTrend finds a leak in noise, and none where there is none.
func TestTrend(t *testing.T) {
	flat, leak := make([]sample, 200), make([]sample, 200)
	for i := range flat {
		noise := float64(i*7919%101) - 50
		flat[i] = sample{float64(i), 1000 + noise}
		leak[i] = sample{float64(i), 1000 + noise + float64(i)}
	}
	if mean, growth, noise := trend(flat); math.Abs(mean-1000) > 5 || math.Abs(growth) > 3*noise {
		t.Errorf("what is flat has mean %.1f, and grows by %.1f ± %.1f", mean, growth, noise)
	}
	if _, growth, noise := trend(leak); growth < 180 || growth > 220 || growth < 3*noise {
		t.Errorf("what grows by 200 grows by %.1f ± %.1f", growth, noise)
	}
}
