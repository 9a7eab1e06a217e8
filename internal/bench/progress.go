package bench

import (
	"fmt"
	"io"
	"time"

	"golang.org/x/term"

	"github.com/lzstock/lzstock/internal/bench/report"
)

// screen shows how far a run is: a line in place on a terminal, elsewhere lines,
// not too many. What cannot be written is lost: the report has the figures.
type screen struct {
	w        io.Writer
	terminal bool
	drawn    bool
	last     time.Time
}

// plainEvery is between two lines where they are not written in place.
const plainEvery = 5 * time.Second

func newScreen(w io.Writer) *screen {
	if w == nil {
		w = io.Discard
	}
	f, ok := w.(interface{ Fd() uintptr })
	return &screen{w: w, terminal: ok && term.IsTerminal(int(f.Fd()))}
}

func (s *screen) show(now time.Time, p report.Point, stage string, want int, losses uint64, t *tally, server bool) {
	if !s.terminal && now.Sub(s.last) < plainEvery {
		return
	}
	s.last = now
	var closes uint64
	for _, n := range t.closes {
		closes += n
	}
	line := fmt.Sprintf("%4.0f s  %-5s  %d of %d open  %.0f events/s  %.0f conflated/s  age p50 %.4g ms, p99 %.4g ms  %d lost",
		p.At, stage, p.Open, want, p.EventsPerS, p.MergedPerS, p.P50, p.P99, losses)
	if closes > 0 {
		line += fmt.Sprintf("  %d closed", closes)
	}
	var failed uint64
	for _, n := range t.failed {
		failed += n
	}
	if failed > 0 {
		line += fmt.Sprintf("  %d not connected", failed)
	}
	if server {
		line += fmt.Sprintf("  server %.2f processors, %.0f MB", p.Cores, p.RSS/1e6)
	}
	if s.terminal {
		fmt.Fprintf(s.w, "\r\x1b[K%s", line) //nolint:errcheck // see screen
		s.drawn = true
		return
	}
	fmt.Fprintln(s.w, line) //nolint:errcheck // see screen
}

// clear makes room for what comes after the run.
func (s *screen) clear() {
	if s.drawn {
		io.WriteString(s.w, "\r\x1b[K") //nolint:errcheck // see screen
		s.drawn = false
	}
}
