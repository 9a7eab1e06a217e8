package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lzstock/lzstock/internal/bus"
	"github.com/lzstock/lzstock/internal/feed/tape"
	"github.com/lzstock/lzstock/market"
)

const (
	// recordFlushEvery is how much of a recording a crash may cost.
	recordFlushEvery = time.Second
	// recordRetry is the pause before a lost bus is read again.
	recordRetry = time.Second
	// recordQueue is how many messages wait for the disk before reading does.
	recordQueue = 64
)

// RecordConfig configures a recording.
type RecordConfig struct {
	File string
	Bus  BusConfig
	// History begins with the oldest event that the bus holds, not with the next
	// one.
	History bool
	// For ends the recording after so long; 0 means that ctx does.
	For time.Duration
}

// Record writes what the bus carries to a tape, until ctx ends or the time is up.
// The file must not exist, and has its name only once it is complete.
func Record(ctx context.Context, p Process, c RecordConfig) error {
	b, err := newBuilder(p)
	if err != nil {
		return err
	}
	return b.run(ctx, func(ctx context.Context) error {
		js, err := b.bus(ctx, c.Bus, "lzstock feed record")
		if err != nil {
			return err
		}
		after := market.Seq(0)
		if !c.History {
			if _, after, err = js.Bounds(ctx); err != nil {
				return fmt.Errorf("find the end of the stream: %w", err)
			}
		}
		w, err := tape.Create(c.File, tape.WriterOptions{})
		if err != nil {
			return err
		}
		b.owns(w)
		r := &recording{bus: js, tape: w, after: after, logger: b.Logger}
		b.add(part{name: "record", last: true, run: func(ctx context.Context) error {
			if c.For > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeoutCause(ctx, c.For, errStopped)
				defer cancel()
			}
			return r.run(ctx)
		}, close: func() error {
			err := w.Close()
			n := w.Counts()
			return errors.Join(err, b.say("%s: %d events; %d too late for their place, %d bars and %d statuses left out\n", c.File, n.Written, n.Late, n.Bars, n.Statuses))
		}})
		return b.say("Recording to %s; stop with Ctrl-C\n", c.File)
	})
}

// recording is a bus on its way to a tape.
type recording struct {
	bus    *bus.JetStream
	tape   *tape.Writer
	after  market.Seq
	logger *slog.Logger
}

// run reads and writes until ctx ends.
func (r *recording) run(ctx context.Context) error {
	messages := make(chan []market.Event, recordQueue)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(messages)
		return r.read(gctx, messages)
	})
	g.Go(func() error { return r.write(messages) })
	if err := g.Wait(); ctx.Err() == nil || !errors.Is(err, context.Cause(ctx)) {
		return err
	}
	return nil
}

// read hands over each message, and says what was lost.
func (r *recording) read(ctx context.Context, to chan<- []market.Event) error {
	for {
		err := r.readOn(ctx, to)
		expired, isExpired := errors.AsType[*bus.ExpiredError](err)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case isExpired:
			r.logger.LogAttrs(ctx, slog.LevelWarn, "the bus no longer holds some events: the tape has a gap", slog.String("error", err.Error()))
			r.after = expired.Resume()
		case errors.Is(err, bus.ErrLost):
			r.logger.LogAttrs(ctx, slog.LevelWarn, "the bus is lost: waiting for its return", slog.String("error", err.Error()))
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(recordRetry):
			}
		default:
			return err
		}
	}
}

func (r *recording) readOn(ctx context.Context, to chan<- []market.Event) error {
	for m, err := range r.bus.Read(ctx, r.after) {
		if err != nil {
			return err
		}
		r.after = market.MakeSeq(m.Batch, 0)
		select {
		case to <- m.Events:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// write writes until there is nothing more, and puts it on the disk in between.
func (r *recording) write(from <-chan []market.Event) error {
	tick := time.NewTicker(recordFlushEvery)
	defer tick.Stop()
	for {
		select {
		case events, ok := <-from:
			if !ok {
				return nil
			}
			if err := r.tape.Write(events...); err != nil {
				return err
			}
		case <-tick.C:
			if err := r.tape.Flush(); err != nil {
				return err
			}
		}
	}
}
