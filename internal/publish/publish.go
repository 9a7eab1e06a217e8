package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/lzstock/lzstock/market"
)

// Defaults of Config.
const (
	DefaultPublisher = "publish"
	DefaultInFlight  = 32
	DefaultShowBad   = 20
	DefaultGiveUp    = time.Minute
)

const (
	maxInFlight = 4096
	// chunks is how many pieces of input may wait for the sender; then the reader
	// waits, and with it whoever writes the input.
	chunks = 4
)

// Config says what to publish, and where to.
type Config struct {
	// Target is the Ingest service's address, such as "127.0.0.1:7000".
	Target string
	// DialOptions come after our own, which are a connection without TLS and
	// keepalive.
	DialOptions []grpc.DialOption
	// Publisher names the source on the bus; empty means DefaultPublisher.
	Publisher string
	// Input is read to its end. A read of it that blocks ends with the context
	// where it is an *os.File, or an io.Closer.
	Input io.Reader
	// Format is what the input holds; empty means Auto.
	Format Format
	// InFlight is how many batches may be unacknowledged; 0 means DefaultInFlight.
	InFlight int
	// FirstNumber is the first batch's number; 0 means the time in nanoseconds.
	FirstNumber uint64
	// ShowBad is how many bad lines and refusals are reported in full; 0 means
	// DefaultShowBad, less than 0 none.
	ShowBad int
	// Quiet leaves the progress out; bad lines are reported nevertheless.
	Quiet bool
	// GiveUp is for how long to try without an answer before Run fails; 0 means
	// DefaultGiveUp. The service recognises what is sent again for two minutes.
	GiveUp time.Duration
	// Logger is told about connections; it may be nil.
	Logger *slog.Logger
}

func (c *Config) complete() error {
	if c.Target == "" {
		return errors.New("publish: the target is missing: want HOST:PORT of an Ingest service")
	}
	if c.Input == nil {
		return errors.New("publish: there is no input")
	}
	if c.Publisher == "" {
		c.Publisher = DefaultPublisher
	}
	if c.InFlight == 0 {
		c.InFlight = DefaultInFlight
	}
	if c.InFlight < 1 || c.InFlight > maxInFlight {
		return fmt.Errorf("publish: %d batches in flight: want 1 to %d", c.InFlight, maxInFlight)
	}
	if c.FirstNumber == 0 {
		c.FirstNumber = uint64(time.Now().UnixNano())
	}
	if c.ShowBad == 0 {
		c.ShowBad = DefaultShowBad
	}
	if c.GiveUp <= 0 {
		c.GiveUp = DefaultGiveUp
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	var err error
	c.Format, err = ParseFormat(string(c.Format))
	return err
}

func (c *Config) dialOptions() []grpc.DialOption {
	const connectTimeout, pingAfter, pingTimeout = 5 * time.Second, 20 * time.Second, 10 * time.Second
	return append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: connectTimeout}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout}),
	}, c.DialOptions...)
}

// Run publishes the input and returns when all of it is acknowledged, when ctx
// ends (with its cause), when the input cannot be read, or when the service
// cannot be reached or will not have it. The Summary is right in every case.
// Reports go to progress, which may be nil.
func Run(ctx context.Context, cfg Config, progress io.Writer) (Summary, error) {
	if err := cfg.complete(); err != nil {
		return Summary{}, err
	}
	p := &publisher{cfg: cfg, chunks: make(chan chunk, chunks), number: cfg.FirstNumber}
	p.tally.started = time.Now()
	printed := p.print(progress)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.read(gctx) })
	g.Go(func() error { return p.send(gctx) })
	err := g.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if err == nil {
		err = p.readErr
	}
	printed()
	return p.tally.summary(time.Now()), err
}

// publisher is one Run.
type publisher struct {
	cfg    Config
	tally  tally
	chunks chan chunk // from the reader to the sender; closed at the end of input
	// readErr is why the input ended early; to be read once chunks is closed. What
	// was read before it is still published.
	readErr error
	notes   chan string // to the printer; nil where there is none

	// The sender's alone.
	number  uint64   // of the next batch
	rest    chunk    // read, but not yet in a batch
	ended   bool     // chunks is closed
	pending []*batch // not acknowledged, in order
}

// chunk is a piece of the input: events, and the lines that they came from.
type chunk struct {
	events []market.Event
	lines  []int
}

func (c *chunk) add(more chunk) {
	c.events = append(c.events, more.events...)
	c.lines = append(c.lines, more.lines...)
}

// cut takes up to n events from the front.
func (c *chunk) cut(n int) chunk {
	n = min(n, len(c.events))
	front := chunk{events: c.events[:n:n], lines: c.lines[:n:n]}
	c.events, c.lines = c.events[n:], c.lines[n:]
	return front
}

// Summary says what became of the input.
type Summary struct {
	Lines      int           // read, blank ones and the header too
	BadLines   int           // that hold no event, and why was reported
	Mended     int           // numbers with a float's artefact, such as 0.30000000000000004
	Sent       int           // events, each counted once
	Stored     int           // events that the service acknowledged
	Refused    int           // events that it refused
	Duplicates int           // of those stored: known to the service from before
	Unanswered int           // events sent that may or may not be stored
	Reconnects int           // lost connections that were made again
	Took       time.Duration // from start to end
}

// Rate gives stored events a second.
func (s Summary) Rate() float64 {
	if s.Took <= 0 {
		return 0
	}
	return float64(s.Stored) / s.Took.Seconds()
}

// Complete reports whether every line became a stored event: nothing was bad,
// refused or left unanswered.
func (s Summary) Complete() bool { return s.BadLines+s.Refused+s.Unanswered == 0 }

// String gives one line for people.
func (s Summary) String() string {
	parts := []string{fmt.Sprintf("%d sent, %d stored, %d refused, %d duplicates in %s (%.0f/s)",
		s.Sent, s.Stored, s.Refused, s.Duplicates, s.Took.Round(time.Millisecond), s.Rate())}
	for _, more := range []struct {
		n    int
		text string
	}{
		{s.BadLines, "bad lines"},
		{s.Unanswered, "without an answer: they may or may not be stored"},
		{s.Mended, "numbers mended"},
		{s.Reconnects, "reconnects"},
	} {
		if more.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", more.n, more.text))
		}
	}
	return strings.Join(parts, "; ")
}

// tally keeps the summary of a run that goes on.
type tally struct {
	mu      sync.Mutex
	s       Summary
	started time.Time
	shown   int // bad lines and refusals reported in full
}

func (t *tally) change(f func(*Summary)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(&t.s)
}

func (t *tally) summary(now time.Time) Summary {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.s
	s.Took = now.Sub(t.started)
	s.Unanswered = s.Sent - s.Stored - s.Refused
	return s
}

// show reports whether one more bad line is to be reported in full, and whether
// it is the last.
func (t *tally) show(most int) (yes, last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shown++
	return t.shown <= most, t.shown == most
}
