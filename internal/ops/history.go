package ops

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// Step is the time between two samples.
	Step = time.Second
	// Kept is how many samples a History holds: a quarter of an hour. Older ones go.
	Kept = 900
	// most is how many figures a History holds. A label that had too many values would
	// cost a ring each; what comes later is left out.
	most = 128
)

// series are values of one figure; NaN where there was none. In JSON those are null,
// and all have six digits.
type series []float64

// MarshalJSON writes the values.
func (s series) MarshalJSON() ([]byte, error) {
	out := append(make([]byte, 0, 8*len(s)+2), '[')
	for i, v := range s {
		if i > 0 {
			out = append(out, ',')
		}
		if math.IsNaN(v) || math.IsInf(v, 0) {
			out = append(out, "null"...)
			continue
		}
		if v == math.Trunc(v) && math.Abs(v) < 1e15 {
			out = strconv.AppendInt(out, int64(v), 10)
			continue
		}
		out = strconv.AppendFloat(out, v, 'g', 6, 64)
	}
	return append(out, ']'), nil
}

// History holds the last samples of all figures.
type History struct {
	from prometheus.Gatherer
	log  *slog.Logger

	mu    sync.Mutex
	times []int64 // of samples, Unix milliseconds, ascending
	rings map[string]series

	readings []reading // the last of them; the sampler's own
}

// NewHistory makes a history of a process's metrics.
func NewHistory(from prometheus.Gatherer, log *slog.Logger) (*History, error) {
	if from == nil || log == nil {
		return nil, errors.New("ops: a history needs metrics and a logger")
	}
	return &History{from: from, log: log, rings: map[string]series{}}, nil
}

// Run takes samples until ctx ends.
func (h *History) Run(ctx context.Context) error {
	tick := time.NewTicker(Step)
	defer tick.Stop()
	h.take(ctx, time.Now())
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			h.take(ctx, now)
		}
	}
}

// take reads the metrics, and adds a sample. The first reading makes none: there is
// nothing that it has grown from.
func (h *History) take(ctx context.Context, now time.Time) {
	families, err := h.from.Gather()
	if err != nil { // what could be had is there all the same
		h.log.LogAttrs(ctx, slog.LevelDebug, "metrics could not all be read", slog.Any("error", err))
	}
	h.readings = append(h.readings, read(now, families))
	if len(h.readings) == 1 {
		return
	}
	if n := int(window/Step) + 1; len(h.readings) > n {
		h.readings = append(h.readings[:0], h.readings[len(h.readings)-n:]...)
	}
	last := len(h.readings) - 1
	h.add(now, sample(&h.readings[0], &h.readings[last-1], &h.readings[last]))
}

func (h *History) add(now time.Time, figures map[string]float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.times) == Kept {
		copy(h.times, h.times[1:])
		h.times = h.times[:Kept-1]
		for _, s := range h.rings {
			copy(s, s[1:])
		}
	}
	at := len(h.times)
	h.times = append(h.times, now.UnixMilli())
	for name := range figures {
		if _, ok := h.rings[name]; !ok && len(h.rings) < most {
			h.rings[name] = nil
		}
	}
	for name, s := range h.rings {
		v, ok := figures[name]
		if !ok {
			v = math.NaN()
		}
		s = s[:min(at, len(s))]
		for len(s) < at {
			s = append(s, math.NaN())
		}
		h.rings[name] = append(s, v)
	}
}

// since gives the samples after a time, all where it is 0.
func (h *History) since(after int64) (times []int64, figures map[string]series) {
	h.mu.Lock()
	defer h.mu.Unlock()
	from := len(h.times)
	for from > 0 && h.times[from-1] > after {
		from--
	}
	figures = make(map[string]series, len(h.rings))
	for name, s := range h.rings {
		figures[name] = append(series{}, s[from:]...)
	}
	return append([]int64{}, h.times[from:]...), figures
}
