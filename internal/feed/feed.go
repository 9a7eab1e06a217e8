package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lzstock/lzstock/internal/feed/sim"
	"github.com/lzstock/lzstock/internal/feed/tape"
	"github.com/lzstock/lzstock/internal/obs"
	"github.com/lzstock/lzstock/market"
)

// roundGap is the pause between the last event of a tape and its first again.
const roundGap = time.Second

// loggedBad is how many bad lines are logged one by one.
const loggedBad = 10

// Publisher takes a feed's events. Add is called from one goroutine; it copies
// the slice, and waits where it has no room.
type Publisher interface {
	Add(ctx context.Context, events ...market.Event) error
}

// Config says what a Feed is made of.
type Config struct {
	Source    Source
	Publisher Publisher
	// Stdin is read where the tape's file is "-".
	Stdin io.Reader
	// Beat says how the source is, once a second while it is played and once at its
	// end. It must not wait, and may be nil.
	Beat func(context.Context, market.FeedReason) error
	// Logger and Registry may be nil.
	Logger   *slog.Logger
	Registry prometheus.Registerer
}

// Feed plays one source, once.
type Feed struct {
	cfg    Config
	logger *slog.Logger
	stats  meter
	age    prometheus.Histogram
	next   atomic.Int64 // when something is to be given on, Unix nanoseconds; 0: not known
}

// New checks that the source can be played: that a tape's file is there, above
// all.
func New(cfg Config) (*Feed, error) {
	if err := cfg.Source.Validate(); err != nil {
		return nil, err
	}
	if cfg.Publisher == nil {
		return nil, errors.New("feed: a publisher is needed")
	}
	if t := cfg.Source.Tape; t != nil && t.File != tape.Stdin {
		switch info, err := os.Stat(t.File); {
		case err != nil:
			return nil, fmt.Errorf("source tape: %w", err)
		case info.IsDir():
			return nil, fmt.Errorf("source tape: %s is a folder: want a file", t.File)
		}
	}
	f := &Feed{cfg: cfg, logger: cfg.Logger, age: obs.NewAge(prometheus.HistogramOpts{
		Name: "lzstock_feed_age_seconds", ConstLabels: prometheus.Labels{"source": cfg.Source.Name()},
		Help: "Time from when an event was due by its source's times until the feed had given it on; of the last of those given on together.",
	})}
	if f.logger == nil {
		f.logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Registry != nil {
		if err := errors.Join(cfg.Registry.Register(newCollector(f)), cfg.Registry.Register(f.age)); err != nil {
			return nil, fmt.Errorf("feed: register metrics: %w", err)
		}
	}
	return f, nil
}

// Run plays the source. It returns nil at the end of a tape, and else why it
// could not go on.
func (f *Feed) Run(ctx context.Context) error {
	f.stats.begin(time.Now())
	f.logger.LogAttrs(ctx, slog.LevelInfo, "feed starts", slog.String("source", f.cfg.Source.String()))
	return f.beating(ctx, func() error {
		if f.cfg.Source.Tape != nil {
			return f.playTape(ctx, f.cfg.Source.Tape)
		}
		return f.playSim(ctx, *f.cfg.Source.Sim)
	})
}

// Stats says what the feed has done so far. It may be called at any time.
func (f *Feed) Stats() Stats { return f.stats.read(time.Now()) }

func (f *Feed) playSim(ctx context.Context, opts sim.Options) error {
	start := time.Now()
	s, err := sim.New(opts, start)
	if err != nil {
		return err
	}
	p := newPlayer(ctx, f, 1)
	defer p.close()
	p.origin = start
	for {
		e := s.Next()
		if err := p.play(ctx, &e, e.Time().Sub(start)); err != nil {
			return err
		}
	}
}

func (f *Feed) playTape(ctx context.Context, t *Tape) error {
	p := newPlayer(ctx, f, t.Speed)
	defer p.close()
	var shift time.Duration
	for {
		span, err := f.playRound(ctx, t, p, shift)
		if err != nil {
			return err
		}
		s := f.Stats()
		switch {
		case !t.Loop:
			f.logger.LogAttrs(ctx, slog.LevelInfo, "tape has ended", slog.String("file", t.File),
				slog.Uint64("trades", s.Trades), slog.Uint64("quotes", s.Quotes), slog.Duration("took", s.Elapsed),
				slog.Uint64("skipped_lines", s.Skipped), slog.Uint64("mended_numbers", s.Mended))
			return nil
		case span < 0:
			return fmt.Errorf("tape %s holds no events, so it cannot loop", t.File)
		}
		shift += span + roundGap
		f.stats.nextRound()
		f.logger.LogAttrs(ctx, slog.LevelDebug, "tape starts again", slog.String("file", t.File), slog.Uint64("round", s.Round+1))
	}
}

// playRound plays the tape once, its times moved on by shift, and gives the time
// from its first to its last event; less than 0 where it holds none.
func (f *Feed) playRound(ctx context.Context, t *Tape, p *player, shift time.Duration) (time.Duration, error) {
	mended := uint64(0)
	r, err := tape.Open(ctx, t.File, f.cfg.Stdin, tape.Options{SkipBad: t.SkipBad, OnBad: func(bad *tape.LineError) {
		if f.stats.skip() <= loggedBad {
			f.logger.LogAttrs(ctx, slog.LevelWarn, "bad line skipped",
				slog.String("file", bad.File), slog.Int("line", bad.Line), slog.String("reason", bad.Err.Error()))
		}
	}})
	if err != nil {
		return -1, orCause(ctx, err)
	}
	defer r.Close()
	var first, last time.Time
	for e, err := range r.Events() {
		if err != nil { // what came before it is not lost
			return -1, orCause(ctx, errors.Join(err, p.flush(ctx)))
		}
		last = e.Time()
		if first.IsZero() {
			first = last
		}
		if shift == 0 && last.Sub(first) < t.Offset {
			continue
		}
		if shift > 0 {
			if err := move(&e, shift); err != nil {
				return -1, fmt.Errorf("tape %s, started %d times: %w", t.File, f.Stats().Round, err)
			}
		}
		if n := uint64(r.Mended()); n > mended {
			f.stats.mend(n - mended)
			mended = n
		}
		if err := p.play(ctx, &e, last.Sub(first)); err != nil {
			return -1, err
		}
	}
	if err := p.flush(ctx); err != nil {
		return -1, err
	}
	if first.IsZero() {
		return -1, nil
	}
	if span := last.Sub(first); shift > 0 || span >= t.Offset {
		return span, nil
	}
	return -1, fmt.Errorf("tape %s: the offset %s is behind its end: it spans %s", t.File, t.Offset, last.Sub(first))
}

// move changes the time of an event that nobody has seen yet.
func move(e *market.Event, by time.Duration) error {
	at := e.Time().Add(by)
	if at.Year() > 2200 {
		return errors.New("its time has passed the year 2200: start the feed again")
	}
	switch {
	case e.Trade != nil:
		e.Trade.Time = at
	case e.Quote != nil:
		e.Quote.Time = at
	default:
		return fmt.Errorf("event of %s: a tape holds trades and quotes only", e.Topic())
	}
	return nil
}

// orCause gives the context's cause where that has ended, since err is then only
// its echo.
func orCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
