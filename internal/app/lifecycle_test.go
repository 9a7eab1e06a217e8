package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lzstock/lzstock/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// record notes what happens, in order.
type record struct {
	mu    sync.Mutex
	lines []string
}

func (r *record) add(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

// runTest runs parts that nobody asks to drain.
func runTest(ctx context.Context, logger *slog.Logger, parts []part) error {
	return runParts(ctx, logger, newDrain(logger), parts)
}

// worker runs until stopped, takes a second to stop, and then ends with err.
func (r *record) worker(name string, err error) part {
	return part{name: name, run: func(ctx context.Context) error {
		<-ctx.Done()
		r.add("stop %s", name)
		time.Sleep(time.Second)
		r.add("stopped %s", name)
		if err != nil {
			return err
		}
		return context.Cause(ctx)
	}, close: func() error {
		r.add("close %s", name)
		return nil
	}}
}

func TestPartsStopInReverseOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r record
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Hour, cancel)
		err := runTest(ctx, slog.New(slog.DiscardHandler), []part{
			r.worker("bus", nil), r.worker("monitor", nil), r.worker("gateway", nil),
			{name: "done early", run: func(context.Context) error { return nil }},
		})
		if err != nil {
			t.Errorf("err = %v", err)
		}
		want := []string{
			"stop gateway", "stopped gateway", "close gateway",
			"stop monitor", "stopped monitor", "close monitor",
			"stop bus", "stopped bus", "close bus",
		}
		if !slices.Equal(r.lines, want) {
			t.Errorf("got %q, want %q", r.lines, want)
		}
	})
}

func TestFirstFailureStopsAllAndStandsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r record
		errBus, errGateway := errors.New("disk full"), errors.New("sockets left")
		err := runTest(t.Context(), slog.New(slog.DiscardHandler), []part{
			{name: "bus", run: func(context.Context) error { time.Sleep(time.Minute); return errBus }},
			r.worker("gateway", errGateway),
		})
		if err == nil || err.Error() != "bus: disk full\ngateway: sockets left" {
			t.Errorf("err = %v", err)
		}
	})
}

func TestLastPartEndsTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r record
		err := runTest(t.Context(), slog.New(slog.DiscardHandler), []part{
			r.worker("bus", nil),
			{name: "feed", last: true, run: func(context.Context) error { return nil }},
		})
		if err != nil || !slices.Equal(r.lines, []string{"stop bus", "stopped bus", "close bus"}) {
			t.Errorf("err = %v, %q", err, r.lines)
		}
	})
}

func TestPanicIsThatPartsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r record
		var out strings.Builder
		err := runTest(t.Context(), slog.New(slog.NewTextHandler(&out, nil)), []part{
			r.worker("bus", nil),
			{name: "feed", run: func(context.Context) error { panic("oh") }, close: func() error { r.add("close feed"); return nil }},
		})
		if err == nil || err.Error() != "feed: panic: oh" {
			t.Errorf("err = %v", err)
		}
		if want := []string{"close feed", "stop bus", "stopped bus", "close bus"}; !slices.Equal(r.lines, want) {
			t.Errorf("got %q, want %q", r.lines, want)
		}
		if !strings.Contains(out.String(), "lifecycle_test.go") {
			t.Errorf("the log has no stack: %s", out.String())
		}
	})
}

func TestPartThatDoesNotStopIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		err := runTest(ctx, slog.New(slog.DiscardHandler), []part{
			{name: "bus", run: func(ctx context.Context) error { <-ctx.Done(); return nil }},
			{name: "gateway", run: func(context.Context) error { <-release; return nil }},
		})
		if err == nil || !strings.Contains(err.Error(), "gateway did not stop within 4.5s") {
			t.Errorf("err = %v", err)
		}
		if took := time.Since(began); took != StopTimeout {
			t.Errorf("took %v, want %v", took, StopTimeout)
		}
		close(release)
		synctest.Wait()
	})
}
