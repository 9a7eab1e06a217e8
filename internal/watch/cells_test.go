package watch

import (
	"testing"
	"time"
)

func TestChange(t *testing.T) {
	for _, tc := range []struct{ from, to, diff, percent string }{
		{"100", "101.5", "+1.50", "+1.50%"},
		{"100", "99", "-1.00", "-1.00%"},
		{"100", "100", "0.00", "0.00%"},
		{"0", "5", "+5.00", ""},
		{"-2", "-1", "+1.00", "+50.00%"},
		{"0.000000001", "9000000000", "+8999999999.999999999", ""},
		{"9000000000", "0.01", "-8999999999.99", "-99.99%"},
	} {
		diff, percent, _ := change(price(tc.from), price(tc.to))
		if diff != tc.diff || percent != tc.percent {
			t.Errorf("%s to %s: %s %s, want %s %s", tc.from, tc.to, diff, percent, tc.diff, tc.percent)
		}
	}
}

func TestAges(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0.0s", 0: "0.0s", 1250 * time.Millisecond: "1.2s", 65 * time.Second: "1m5s", 25*time.Hour + 90*time.Second: "25h1m0s",
	} {
		if got := age(d); got != want {
			t.Errorf("%s is %s, want %s", d, got, want)
		}
	}
	for in, want := range map[string]string{"1": "1", "123": "123", "1234": "1,234", "1234567.25": "1,234,567.25"} {
		if got := thousands(in); got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
}
