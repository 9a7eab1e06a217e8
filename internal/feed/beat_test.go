package feed_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lzstock/lzstock/internal/feed"
	"github.com/lzstock/lzstock/internal/feed/sim"
	"github.com/lzstock/lzstock/market"
)

// words writes down what is said, repeats left out, with its time.
type words struct {
	start time.Time
	last  market.FeedReason
	list  []string
}

func (w *words) beat(_ context.Context, r market.FeedReason) error {
	if len(w.list) == 0 || r != w.last {
		word := "sends"
		if r != 0 {
			word = r.String()
		}
		w.list = append(w.list, fmt.Sprint(word, " ", time.Since(w.start).Truncate(time.Second)))
	}
	w.last = r
	return nil
}

func TestSourcesSayHowTheyAre(t *testing.T) {
	broken := errors.New("broken")
	tape := write(t, 0, 500*time.Millisecond, 2*time.Hour)
	for name, c := range map[string]struct {
		source feed.Source
		stop   time.Duration // when it is told to stop; 0: it is not
		block  time.Duration // for which the publisher takes nothing, from the second event on
		err    error
		want   []string
	}{
		"a tape with a pause": {source: feed.Source{Tape: &feed.Tape{File: tape}}, want: []string{"sends 0s", "closed 1s", "sends 1h59m1s", "ended 2h0m0s"}},
		"a tape at once":      {source: feed.Source{Tape: &feed.Tape{File: tape, Speed: feed.MaxSpeed}}, want: []string{"sends 0s", "ended 0s"}},
		"blocked":             {source: feed.Source{Tape: &feed.Tape{File: tape, Speed: 7200}}, block: time.Minute, want: []string{"sends 0s", "silent 6s", "ended 1m0s"}},
		"a failure":           {source: feed.Source{Tape: &feed.Tape{File: tape}}, err: broken, want: []string{"sends 0s", "lost 0s"}},
		"a simulator":         {source: feed.Source{Sim: &sim.Options{Rate: 1}}, stop: time.Hour, want: []string{"sends 0s", "lost 1h0m0s"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.stop > 0 {
					defer time.AfterFunc(c.stop, cancel).Stop()
				}
				w, s := &words{start: time.Now()}, &sink{start: time.Now(), err: c.err}
				s.slow = func() {
					if s.calls == 1 {
						time.Sleep(c.block)
					}
				}
				f := newFeed(t, feed.Config{Source: c.source, Publisher: s, Beat: w.beat})
				if err := f.Run(ctx); !errors.Is(err, c.err) && ctx.Err() == nil {
					t.Error(err)
				}
				if diff := cmp.Diff(c.want, w.list); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			})
		})
	}
}
