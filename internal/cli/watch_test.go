package cli

import (
	"slices"
	"testing"
)

func TestEndpoints(t *testing.T) {
	for _, tc := range []struct{ in, want []string }{
		{[]string{"ws://a"}, []string{"ws://a"}},
		{[]string{"ws://a, wss://b", "http://c"}, []string{"ws://a", "wss://b", "http://c"}},
		{[]string{"ws://a/v1/stream?trades=A,B,ws://b"}, []string{"ws://a/v1/stream?trades=A,B", "ws://b"}},
	} {
		if got := endpoints(tc.in); !slices.Equal(got, tc.want) {
			t.Errorf("%q gives %q, want %q", tc.in, got, tc.want)
		}
	}
}
