package feed_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/lzstock/lzstock/internal/feed"
	"github.com/lzstock/lzstock/internal/feed/sim"
	"github.com/lzstock/lzstock/internal/leak"
	"github.com/lzstock/lzstock/market"
)

func TestMain(m *testing.M) { leak.Main(m) }

// t0 is the time of the first row of tapes made here.
var t0 = time.Unix(1_700_000_000, 0).UTC()

// write makes a tape with a trade at each of the given times after t0.
func write(t *testing.T, at ...time.Duration) string {
	t.Helper()
	var b strings.Builder
	for i, d := range at {
		fmt.Fprintf(&b, "%d,AAPL,trade,%d,1,,,,\n", t0.Add(d).UnixNano(), i+1)
	}
	path := filepath.Join(t.TempDir(), "tape.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// added is one event as the publisher got it.
type added struct {
	After time.Duration // since the test began
	Time  time.Duration // of the event, since t0
	Call  int
}

// sink is a publisher that remembers.
type sink struct {
	start time.Time
	calls int
	got   []added
	slow  func() // called in each Add
	err   error
}

func (s *sink) Add(_ context.Context, events ...market.Event) error {
	if s.slow != nil {
		s.slow()
	}
	s.calls++
	for _, e := range events {
		s.got = append(s.got, added{time.Since(s.start), e.Time().Sub(t0), s.calls})
	}
	return s.err
}

func newFeed(t *testing.T, cfg feed.Config) *feed.Feed {
	t.Helper()
	f, err := feed.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestEventsComeWhenTheyAreDue(t *testing.T) {
	path := write(t, 0, 300*time.Microsecond, 600*time.Microsecond, time.Second, time.Second, time.Hour)
	synctest.Test(t, func(t *testing.T) {
		s := &sink{start: time.Now()}
		var log bytes.Buffer
		f := newFeed(t, feed.Config{
			Source: feed.Source{Tape: &feed.Tape{File: path}}, Publisher: s,
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err := f.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		ms := time.Millisecond
		want := []added{
			{0, 0, 1},
			{ms, 300 * time.Microsecond, 2},
			{ms, 600 * time.Microsecond, 2},
			{time.Second, time.Second, 3},
			{time.Second, time.Second, 3},
			{time.Hour, time.Hour, 4},
		}
		if diff := cmp.Diff(want, s.got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		stats := f.Stats()
		if stats.Trades != 6 || stats.Position != time.Hour || stats.Lag != 0 || stats.Elapsed != time.Hour || stats.EventTime != t0.Add(time.Hour) {
			t.Errorf("stats: %+v", stats)
		}
		if !strings.Contains(log.String(), "tape has ended") {
			t.Errorf("the end is not in the log:\n%s", &log)
		}
	})
}

func TestSpeedAndOffset(t *testing.T) {
	path := write(t, 0, time.Minute, 2*time.Minute, 62*time.Minute)
	synctest.Test(t, func(t *testing.T) {
		s := &sink{start: time.Now()}
		f := newFeed(t, feed.Config{
			Source:    feed.Source{Tape: &feed.Tape{File: path, Speed: 60, Offset: 90 * time.Second}},
			Publisher: s,
		})
		if err := f.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := []added{{0, 2 * time.Minute, 1}, {time.Minute, 62 * time.Minute, 2}}
		if diff := cmp.Diff(want, s.got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

func TestMaxSpeedDoesNotWait(t *testing.T) {
	at := make([]time.Duration, 1000)
	for i := range at {
		at[i] = time.Duration(i) * time.Hour
	}
	path := write(t, at...)
	synctest.Test(t, func(t *testing.T) {
		s := &sink{start: time.Now()}
		f := newFeed(t, feed.Config{Source: feed.Source{Tape: &feed.Tape{File: path, Speed: feed.MaxSpeed}}, Publisher: s})
		if err := f.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if time.Since(s.start) != 0 || len(s.got) != 1000 || s.calls != 4 {
			t.Errorf("took %s, %d events, %d calls", time.Since(s.start), len(s.got), s.calls)
		}
	})
}

// A publisher that was slow once does not move what comes after.
func TestAFeedCatchesUp(t *testing.T) {
	at := make([]time.Duration, 100)
	for i := range at {
		at[i] = time.Duration(i) * 100 * time.Millisecond
	}
	path := write(t, at...)
	synctest.Test(t, func(t *testing.T) {
		s := &sink{start: time.Now()}
		var f *feed.Feed
		lags := []time.Duration{}
		s.slow = func() {
			lags = append(lags, f.Stats().Lag)
			if s.calls == 10 {
				time.Sleep(3 * time.Second)
			}
		}
		f = newFeed(t, feed.Config{Source: feed.Source{Tape: &feed.Tape{File: path}}, Publisher: s})
		if err := f.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if last := s.got[99]; last.After != 99*100*time.Millisecond || len(s.got) != 100 {
			t.Errorf("the last of %d came after %s", len(s.got), last.After)
		}
		if lags[11] != 3*time.Second || f.Stats().Lag != 0 {
			t.Errorf("lag after the pause %s, at the end %s", lags[11], f.Stats().Lag)
		}
	})
}

func TestALoopNeverRunsBack(t *testing.T) {
	path := write(t, 0, 4*time.Second, 10*time.Second)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 30*time.Second, errors.New("enough"))
		defer cancel()
		s := &sink{start: time.Now()}
		f := newFeed(t, feed.Config{
			Source: feed.Source{Tape: &feed.Tape{File: path, Loop: true, Offset: time.Second}}, Publisher: s,
		})
		if err := f.Run(ctx); err == nil || err.Error() != "enough" {
			t.Errorf("ended with %v, want the context's cause", err)
		}
		sec := time.Second
		want := []added{
			{0, 4 * sec, 1},
			{6 * sec, 10 * sec, 2}, // the offset is for the first round alone
			{7 * sec, 11 * sec, 3},
			{11 * sec, 15 * sec, 4},
			{17 * sec, 21 * sec, 5},
			{18 * sec, 22 * sec, 6},
			{22 * sec, 26 * sec, 7},
			{28 * sec, 32 * sec, 8},
			{29 * sec, 33 * sec, 9},
		}
		if diff := cmp.Diff(want, s.got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if r := f.Stats().Round; r != 4 {
			t.Errorf("round %d", r)
		}
	})
}

func TestRunSaysWhyItCannotGoOn(t *testing.T) {
	good := write(t, 0, time.Second)
	empty := write(t)
	bad := filepath.Join(t.TempDir(), "bad.csv")
	if err := os.WriteFile(bad, []byte("1,A,trade,1,1,,,,\nnonsense\n2,A,trade,1,1,,,,\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	full := errors.New("the bus is full")
	for name, c := range map[string]struct {
		tape   feed.Tape
		err    error
		want   string
		events int
	}{
		"bad line":       {feed.Tape{File: bad}, nil, bad + ": line 2: it has 1 fields", 1},
		"bad, skipped":   {feed.Tape{File: bad, SkipBad: true}, nil, "", 2},
		"offset":         {feed.Tape{File: good, Offset: time.Hour}, nil, "the offset 1h0m0s is behind its end: it spans 1s", 0},
		"offset, looped": {feed.Tape{File: good, Offset: time.Hour, Loop: true}, nil, "is behind its end", 0},
		"empty":          {feed.Tape{File: empty}, nil, "", 0},
		"empty, looped":  {feed.Tape{File: empty, Loop: true}, nil, "holds no events, so it cannot loop", 0},
		"publisher":      {feed.Tape{File: good}, full, "publish: the bus is full", 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sink{start: time.Now(), err: c.err}
				f := newFeed(t, feed.Config{Source: feed.Source{Tape: &c.tape}, Publisher: s})
				err := f.Run(t.Context())
				if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
				if len(s.got) != c.events {
					t.Errorf("%d events, want %d", len(s.got), c.events)
				}
				if skipped := f.Stats().Skipped; (skipped == 1) != c.tape.SkipBad {
					t.Errorf("%d lines skipped", skipped)
				}
			})
		})
	}
}

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		source feed.Source
		pub    feed.Publisher
		want   string
	}{
		"missing file": {feed.Source{Tape: &feed.Tape{File: "nowhere.csv"}}, &sink{}, "no such file"},
		"folder":       {feed.Source{Tape: &feed.Tape{File: "."}}, &sink{}, "is a folder"},
		"nothing":      {feed.Source{}, &sink{}, "exactly one"},
		"no publisher": {feed.Source{Sim: &sim.Options{}}, nil, "a publisher is needed"},
	} {
		if _, err := feed.New(feed.Config{Source: c.source, Publisher: c.pub}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// Standard input blocks for ever; a stop must not wait for it.
func TestAStopFreesStandardInput(t *testing.T) {
	in, out := io.Pipe()
	defer out.Close()
	gone := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	got := make(chan struct{}, 1)
	f := newFeed(t, feed.Config{
		Source: feed.Source{Tape: &feed.Tape{File: "-", Speed: feed.MaxSpeed}}, Stdin: in,
		Publisher: &sink{slow: func() { got <- struct{}{} }},
	})
	ended := make(chan error)
	go func() { ended <- f.Run(ctx) }()
	for range market.BatchLimit {
		if _, err := io.WriteString(out, "1,A,trade,1,1,,,,\n"); err != nil {
			t.Fatal(err)
		}
	}
	<-got
	cancel(gone)
	if err := <-ended; !errors.Is(err, gone) {
		t.Errorf("ended with %v", err)
	}
}

func TestSimRunsOnItsSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("enough"))
		defer cancel()
		s := &sink{start: time.Now()}
		reg := prometheus.NewRegistry()
		f := newFeed(t, feed.Config{Source: feed.Source{Sim: &sim.Options{Seed: 1, Rate: 1000}}, Publisher: s, Registry: reg})
		if err := f.Run(ctx); err == nil || err.Error() != "enough" {
			t.Errorf("ended with %v", err)
		}
		begin := s.start.Sub(t0)
		for _, a := range s.got {
			if late := a.After - (a.Time - begin); late < 0 || late > time.Millisecond {
				t.Fatalf("an event due at %s came %s late", a.Time-begin, late)
			}
		}
		if n := len(s.got); n < 57_000 || n > 63_000 {
			t.Errorf("%d events in a minute, want about 60,000", n)
		}
		stats := f.Stats()
		if stats.Events() != uint64(len(s.got)) || stats.Rate < 300 || stats.Rate > 3000 {
			t.Errorf("stats: %+v", stats)
		}
		if !strings.HasPrefix(stats.String(), fmt.Sprintf("%d events, ", len(s.got))) {
			t.Errorf("stats: %s", stats)
		}
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var total float64
		for _, family := range families {
			if family.GetName() == "lzstock_feed_events_total" {
				for _, m := range family.GetMetric() {
					total += m.GetCounter().GetValue()
				}
			}
		}
		if total != float64(len(s.got)) {
			t.Errorf("metrics count %v events, want %d", total, len(s.got))
		}
	})
}

// The recorded session is six and a half hours long; in a bubble it is not.
func TestARecordedSessionArrivesWhole(t *testing.T) {
	path := filepath.Join("..", "..", "..", "shared", "data", "us-equities.csv.gz")
	if _, err := os.Stat(path); err != nil {
		t.Skip("the recorded tape us-equities.csv.gz is not here")
	}
	synctest.Test(t, func(t *testing.T) {
		s := &sink{start: time.Now()}
		f := newFeed(t, feed.Config{Source: feed.Source{Tape: &feed.Tape{File: path}}, Publisher: s})
		if err := f.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(s.got) != 12_219 {
			t.Errorf("%d events, want 12,219", len(s.got))
		}
		first := s.got[0].Time
		for _, a := range s.got {
			if late := a.After - (a.Time - first); late < 0 || late > time.Millisecond {
				t.Fatalf("an event due at %s came %s late", a.Time-first, late)
			}
		}
		if stats := f.Stats(); stats.Mended != 2 {
			t.Errorf("%d numbers mended, want 2", stats.Mended)
		}
	})
}

func BenchmarkTapeAtMaxSpeed(b *testing.B) {
	var text strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&text, "%d,AAPL,trade,%d.01,1,,,,\n", t0.Add(time.Duration(i)).UnixNano(), i+1)
	}
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		f, err := feed.New(feed.Config{
			Source:    feed.Source{Tape: &feed.Tape{File: "-", Speed: feed.MaxSpeed}},
			Stdin:     strings.NewReader(text.String()),
			Publisher: discard{},
		})
		if err != nil {
			b.Fatal(err)
		}
		if err := f.Run(b.Context()); err != nil {
			b.Fatal(err)
		}
		n += 20_000
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
}

type discard struct{}

func (discard) Add(context.Context, ...market.Event) error { return nil }
