package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/market"
)

// Sink takes what comes from upstream. All calls come from one goroutine, in the
// order of the stream. A call that waits slows the stream; one that fails ends
// Run with its error.
type Sink interface {
	// Publish brings live events, ascending; the sink owns the slice.
	Publish(ctx context.Context, events []market.Event) error
	// Replace brings the current values of topics, which are carried from now on
	// and may hold "*". A topic without an event has no value yet.
	Replace(ctx context.Context, topics []market.Topic, events []market.Event) error
	// Forget says that topics are not carried any more.
	Forget(ctx context.Context, topics []market.Topic) error
	// Gap says that events of its topics were lost; Replace follows for each.
	// Where the epoch changed, positions begin anew after it.
	Gap(ctx context.Context, gap market.Gap) error
	// Feed tells the state of the feed, at the start and whenever it changes.
	Feed(ctx context.Context, feed market.Feed) error
}

// Client holds the gateway's one Watch stream.
type Client struct {
	cfg      Config
	sink     Sink
	logger   *slog.Logger
	metrics  *metrics
	dial     []grpc.DialOption
	interest *interest
	in       chan happening
	monitor  atomic.Pointer[pb.MarketMonitorClient] // of the stream that goes on; nil while there is none
	replays  chan struct{}                          // a token for each that is under way
	calls    chan struct{}                          // the same for other calls

	mu       sync.Mutex
	position market.Position // what Position gives
	trouble  error           // what Trouble gives

	// Owned by the goroutine of Run.
	at        market.Position // all up to here was passed on
	session   *session        // nil while there is none
	topics    map[market.Topic]*topic
	complete  bool                           // what is known of symbols is all that there were at at
	wild      [market.NumChannels]bool       // the channel's "*" is carried
	wildFrom  [market.NumChannels]market.Seq // topics that "*" carries and that are not in places had nothing by then
	places    map[market.Topic]*place        // of what is carried, "*" spelt out
	holes     map[market.Topic]*place        // those where something is missing
	adds      []market.Topic
	drops     []market.Topic
	requestID uint64
	ticked    time.Time // when supervise looked last
	lostSince time.Time // zero while the session is sound
	used      used      // the last session that was of use
	told      market.Feed
	failing   map[string]string // by monitor, the reason that was logged last, while it goes on
}

// topic is what is known of a topic that somebody wants.
type topic struct {
	asked   bool // in a request of this session
	carried bool // its value has come, and live events follow it
}

// New makes a client, which does nothing before Run. logger and registry may be
// nil.
func New(cfg Config, sink Sink, logger *slog.Logger, registry prometheus.Registerer) (*Client, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if sink == nil {
		return nil, errors.New("upstream: a sink is needed")
	}
	c := &Client{
		cfg: cfg, sink: sink, logger: logger, interest: newInterest(cfg.Limits), in: make(chan happening, 64),
		replays: make(chan struct{}, replaysAtOnce), calls: make(chan struct{}, callsAtOnce),
		topics: map[market.Topic]*topic{}, places: map[market.Topic]*place{}, holes: map[market.Topic]*place{},
		failing: map[string]string{},
	}
	if c.logger == nil {
		c.logger = slog.New(slog.DiscardHandler)
	}
	if c.dial, err = c.cfg.dialOptions(logger); err != nil {
		return nil, err
	}
	if c.metrics, err = newMetrics(registry); err != nil {
		return nil, fmt.Errorf("upstream: %w", err)
	}
	return c, nil
}

// Acquire counts one more of a user's who wants each of the topics, which may hold "*"
// and must be valid. Release must follow for each. Where they would be too many none
// counts, and the error tells the user what is. For any goroutine.
func (c *Client) Acquire(user string, topics []market.Topic) error {
	return c.interest.acquire(user, topics)
}

// Release takes an Acquire back. For any goroutine.
func (c *Client) Release(user string, topics []market.Topic) {
	if foreign := c.interest.release(user, topics); foreign > 0 {
		c.metrics.foreign.Add(float64(foreign))
	}
}

// Position tells how far the feed has been passed on. For any goroutine.
func (c *Client) Position() market.Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.position
}

// Epoch gives the feed's epoch; 0 while it is not known. For any goroutine.
func (c *Client) Epoch() market.Epoch { return c.Position().Epoch }

// Trouble says why the last session with a monitor ended; nil while one goes on, and
// before the first. For any goroutine.
func (c *Client) Trouble() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trouble
}

func (c *Client) troubled(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trouble = err
}

// Run works until ctx ends, and gives its cause, or until the sink fails. It is
// called once.
func (c *Client) Run(ctx context.Context) error {
	inner, cancel := context.WithCancel(ctx)
	var connector sync.WaitGroup
	defer connector.Wait()
	defer cancel()
	connector.Go(func() { c.connect(inner) })
	c.lostSince, c.ticked = time.Now(), time.Now()
	if err := c.loop(ctx); err != nil {
		if why := context.Cause(ctx); why != nil {
			return why
		}
		return fmt.Errorf("upstream: pass on to the sink: %w", err)
	}
	return context.Cause(ctx)
}

// loop is the upstream goroutine. Its errors are the sink's.
func (c *Client) loop(ctx context.Context) error {
	const often = 100 * time.Millisecond
	tick := time.NewTicker(min(often, c.cfg.Silence/4+1))
	defer tick.Stop()
	defer c.metrics.connected.Set(0)
	if err := c.review(ctx, time.Now()); err != nil {
		return err
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case h := <-c.in:
			err = c.handle(ctx, h)
		case <-c.interest.wake:
		case <-tick.C:
			err = c.supervise(ctx)
		}
		if err == nil {
			c.want()
			c.request()
			err = c.review(ctx, time.Now())
		}
		if err != nil {
			return err
		}
	}
}

// supervise drops what has lingered long enough, and gives up a silent stream.
func (c *Client) supervise(ctx context.Context) error {
	now := time.Now()
	// Where this process itself stood still, what came meanwhile is read first.
	awake := now.Sub(c.ticked) < c.cfg.Silence
	c.ticked = now
	if s := c.session; s != nil && s.welcomed && !s.ended && awake {
		limit := c.cfg.Switch
		if s.alone {
			limit = c.cfg.Abandon
		}
		if c.silentFor(now) >= limit {
			c.giveUp(s, errSilent)
		}
	}
	_, waiting := c.interest.counts()
	c.metrics.waiting.Set(float64(waiting))
	c.want() // before anything of it expires
	gone := c.interest.expire(now, c.cfg.Linger, max(c.cfg.Linger, wildLinger), c.unanswered)
	if len(gone) == 0 {
		return nil
	}
	for _, t := range gone {
		if known := c.topics[t]; known != nil && known.asked {
			c.drops = append(c.drops, t)
		}
		delete(c.topics, t)
	}
	for _, t := range gone {
		c.drop(t)
	}
	c.metrics.topics.Set(float64(len(c.topics)))
	return c.sink.Forget(ctx, gone)
}

// unanswered reports whether an answer about the topic is under way, or, of "*", about
// any of its channel.
func (c *Client) unanswered(t market.Topic) bool {
	if t.Symbol == market.AllSymbols {
		for other, known := range c.topics {
			if other.Channel == t.Channel && known.asked && !known.carried {
				return true
			}
		}
	}
	known := c.topics[t]
	return known != nil && known.asked && !known.carried
}

// silentFor tells for how long nothing came, 0 while something waits to be
// handled: then it is we who are slow.
func (c *Client) silentFor(now time.Time) time.Duration {
	if len(c.in) > 0 {
		return 0
	}
	return now.Sub(c.session.heard)
}

// review tells the sink the state of the feed where it has changed.
func (c *Client) review(ctx context.Context, now time.Time) error {
	feed := market.Feed{}
	s := c.session
	switch {
	case s == nil || !s.synced.Load():
		if c.lostSince.IsZero() {
			c.lostSince = c.used.heard
		}
	case c.silentFor(now) > c.cfg.Silence, !c.lostSince.IsZero() && now.Sub(s.heard) > c.cfg.Silence:
		c.lostSince = s.heard // also while something waits: only what was handled makes it live again
	default:
		c.lostSince = time.Time{}
		feed = s.feed
	}
	up := 1.0
	if !c.lostSince.IsZero() {
		up = 0
		if c.told.State == market.FeedLive && c.told.Epoch == c.at.Epoch && now.Sub(c.lostSince) <= c.cfg.Silence {
			c.metrics.connected.Set(up)
			return nil // what was told last is not old yet, and the next monitor may be quick
		}
		feed = market.Feed{State: market.FeedStale, Since: c.lostSince.UTC(), Reason: market.FeedMonitor}
		if down := c.lostSince.Add(c.cfg.Down); !down.After(now) {
			feed.State, feed.Since = market.FeedDown, down.UTC()
		}
	}
	c.metrics.connected.Set(up)
	feed.Epoch = c.at.Epoch
	if feed.Same(c.told) {
		return nil
	}
	c.told = feed
	c.logger.LogAttrs(ctx, slog.LevelInfo, "feed", slog.String("state", feed.State.String()), slog.String("why", why(feed)),
		slog.Time("since", feed.Since), slog.Uint64("epoch", uint64(feed.Epoch)))
	return c.sink.Feed(ctx, feed)
}

// why tells a log what is wrong with a feed, "" where nothing is.
func why(feed market.Feed) string {
	var words []string
	if feed.Reason != 0 {
		words = append(words, feed.Reason.String())
	}
	for _, s := range feed.Sources {
		if s.State != market.FeedLive {
			words = append(words, s.Name+" "+s.Reason.String())
		}
	}
	return strings.Join(words, ", ")
}
