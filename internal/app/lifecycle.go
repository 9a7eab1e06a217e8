package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// StopTimeout is how long all parts together may take to stop.
const StopTimeout = 4500 * time.Millisecond

// errStopped is the cause that a part's context ends with when its turn to stop
// has come.
var errStopped = errors.New("the process stops")

// part is one running thing of a process.
type part struct {
	name string
	// run works until ctx ends, and returns once all that it started has ended.
	// It may return nil earlier, where it has finished its work.
	run func(ctx context.Context) error
	// last makes the process stop when the part has finished its work.
	last bool
	// drain, where set, takes the part out of service before it is stopped. It
	// works until that is done, or ctx ends.
	drain func(ctx context.Context)
	// within is how long drain may take; left tells how many clients there are.
	within time.Duration
	left   func() int
	// close, where set, releases what the part owns after run has returned.
	close func() error
}

// runningPart is a part with its goroutine.
type runningPart struct {
	part
	cancel context.CancelCauseFunc
	done   chan struct{} // closed after err is set
	err    error
}

// runParts starts the parts in order, and runs them until ctx ends, one of them
// fails, or one that is last has finished. Where ctx has ended, or d was asked,
// they are drained first. Then it stops them in reverse order, each after the one
// behind it has ended. The result is what made them stop and
// all that went wrong while they did; nil where ctx ended and all went well.
//
// A part that does not stop is abandoned with an error after StopTimeout: the
// process is about to end, and says why it was not clean.
func runParts(ctx context.Context, logger *slog.Logger, d *drain, parts []part) error {
	d.mind(parts)
	base := context.WithoutCancel(ctx)
	ended := make(chan *runningPart, len(parts)) // has room for all: no part waits here
	running := make([]*runningPart, 0, len(parts))
	var owner sync.WaitGroup
	for _, p := range parts {
		pctx, cancel := context.WithCancelCause(base)
		r := &runningPart{part: p, cancel: cancel, done: make(chan struct{})}
		running = append(running, r)
		owner.Go(func() {
			r.err = runPart(pctx, logger, p)
			close(r.done)
			ended <- r
		})
	}

	var errs []error
	first := d.wait(ctx, ended)
	if first != nil && first.err != nil {
		errs = append(errs, first.err)
	}
	logger.LogAttrs(ctx, slog.LevelInfo, "stopping", slog.String("reason", reasonOf(ctx, first)))
	deadline := time.NewTimer(StopTimeout)
	defer deadline.Stop()
	for _, r := range slices.Backward(running) {
		began := time.Now()
		r.cancel(errStopped)
		select {
		case <-r.done:
		case <-deadline.C:
			for _, r := range running {
				r.cancel(errStopped)
			}
			return errors.Join(append(errs, fmt.Errorf("%s did not stop within %v", r.name, StopTimeout))...)
		}
		if r != first && r.err != nil {
			errs = append(errs, r.err)
		}
		logger.LogAttrs(ctx, slog.LevelDebug, "part stopped",
			slog.String("part", r.name), slog.Duration("took", time.Since(began)))
	}
	owner.Wait()
	return errors.Join(errs...)
}

// reasonOf says why a process stops.
func reasonOf(ctx context.Context, first *runningPart) string {
	switch {
	case first == nil && ctx.Err() == nil:
		return drainRequest
	case first == nil:
		return context.Cause(ctx).Error()
	case first.err != nil:
		return first.err.Error()
	}
	return first.name + " has finished"
}

// runPart runs and closes p. A panic becomes its error, so that the others stop
// in order.
func runPart(ctx context.Context, logger *slog.Logger, p part) (err error) {
	defer func() {
		if p.close == nil {
			return
		}
		if cerr := p.close(); cerr != nil {
			err = errors.Join(err, fmt.Errorf("close %s: %w", p.name, cerr))
		}
	}()
	defer func() {
		if v := recover(); v != nil {
			logger.LogAttrs(ctx, slog.LevelError, "panic",
				slog.String("part", p.name), slog.Any("value", v), slog.String("stack", string(debug.Stack())))
			err = fmt.Errorf("%s: panic: %v", p.name, v)
		}
	}()
	switch err := p.run(ctx); {
	case err == nil:
		return nil
	case ctx.Err() != nil && (errors.Is(err, errStopped) || errors.Is(err, context.Canceled)):
		return nil // the echo of being stopped
	default:
		return fmt.Errorf("%s: %w", p.name, err)
	}
}
