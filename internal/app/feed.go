package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lzstock/lzstock/internal/bus"
	"github.com/lzstock/lzstock/internal/feed"
	"github.com/lzstock/lzstock/market"
)

const (
	// flushTimeout is how long what a feed has on its way may take to be stored
	// when the process stops.
	flushTimeout = time.Second
	// progressEvery is the time between a feed's progress records.
	progressEvery = 10 * time.Second
)

// FeedConfig configures a process that brings one source onto an external bus.
type FeedConfig struct {
	Source feed.Source
	Stdin  io.Reader // for a tape named "-"
	Admin  AdminConfig
	Bus    BusConfig
}

// Feed plays a source onto the bus, until ctx ends or the source does.
func Feed(ctx context.Context, p Process, c FeedConfig) error {
	b, err := newBuilder(p)
	if err != nil {
		return err
	}
	return b.run(ctx, func(ctx context.Context) error {
		if _, err := b.admin(ctx, c.Admin, "feed"); err != nil {
			return err
		}
		js, err := b.bus(ctx, c.Bus, "lzstock feed")
		if err != nil {
			return err
		}
		return b.feed(js, c.Source, c.Stdin, true)
	})
}

// feed adds a source that is played onto the bus. With last, its end is the
// process's.
func (b *builder) feed(js *bus.JetStream, source feed.Source, stdin io.Reader, last bool) error {
	batcher, err := bus.NewBatcher(js, source.Name(), bus.BatcherConfig{Logger: b.Logger, Registry: b.registry})
	if err != nil {
		return err
	}
	sender := rand.Text()
	f, err := feed.New(feed.Config{
		Source: source, Publisher: batcher, Stdin: stdin, Logger: b.Logger, Registry: b.registry,
		Beat: func(ctx context.Context, reason market.FeedReason) error {
			return js.Beat(ctx, bus.Pulse{Source: source.Name(), Sender: sender, Reason: reason})
		},
	})
	if err != nil {
		return err
	}
	b.add(part{name: "feed", last: last, run: func(ctx context.Context) error {
		return b.play(ctx, f, batcher, last)
	}})
	return nil
}

// play runs the feed, and gives the batcher time to store what is on its way when
// the feed ends. With progress, it logs how the feed does.
func (b *builder) play(ctx context.Context, f *feed.Feed, batcher *bus.Batcher, progress bool) error {
	publishing, abandon := context.WithCancelCause(context.WithoutCancel(ctx))
	defer abandon(nil)
	playing, ended := context.WithCancel(ctx)
	var g errgroup.Group
	g.Go(func() error { return batcher.Run(publishing) })
	g.Go(func() error {
		defer ended()
		err := f.Run(ctx)
		if ctx.Err() != nil {
			err = nil // it was told to stop
		}
		flush, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), flushTimeout,
			fmt.Errorf("the bus did not store what was on its way within %v", flushTimeout))
		defer cancel()
		if cerr := batcher.Close(flush); cerr != nil && !errors.Is(err, cerr) {
			abandon(cerr)
			err = errors.Join(err, cerr)
		}
		return err
	})
	if progress {
		g.Go(func() error {
			b.progress(playing, f)
			return nil
		})
	}
	return g.Wait()
}

// progress logs how a feed does, until ctx ends.
func (b *builder) progress(ctx context.Context, f *feed.Feed) {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s := f.Stats()
			b.Logger.LogAttrs(ctx, slog.LevelInfo, "feed progress",
				slog.Uint64("events", s.Events()), slog.Float64("rate", s.Rate),
				slog.Duration("position", s.Position), slog.Duration("lag", s.Lag), slog.Uint64("round", s.Round))
		}
	}
}
