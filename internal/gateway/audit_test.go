package gateway

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A flood of refusals is counted, not written line by line.
func TestRefusalsAreSampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		a := &audit{log: slog.New(slog.NewTextHandler(&out, nil))}
		none := func() []slog.Attr { return nil }
		for range 1000 {
			a.refusal(t.Context(), "request refused", none)
		}
		if n := strings.Count(out.String(), "\n"); n != refusalLines {
			t.Errorf("%d lines, want %d", n, refusalLines)
		}
		time.Sleep(time.Second)
		out.Reset()
		a.refusal(t.Context(), "request refused", none)
		if !strings.Contains(out.String(), "refusals_before_not_written=980") {
			t.Errorf("the next line is %q", &out)
		}
	})
}
