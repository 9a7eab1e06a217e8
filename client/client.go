package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lzstock/lzstock/market"
)

// stable is how long a connection must have lasted for the count of failures to
// begin anew.
const stable = 10 * time.Second

// Client is a connection to a gateway that is made again when it ends. Its
// methods may be called from several goroutines.
type Client struct {
	cfg    Config
	events chan Event
	heard  atomic.Pointer[time.Time]

	owner sync.WaitGroup // the goroutine that Dial started
	done  chan struct{}  // closed when Run has ended
	err   error          // why, before done is closed

	mu      sync.Mutex
	closed  bool               // Close was called
	ended   bool               // Run has ended, or will not begin
	started bool               // Run was called, or will not be
	cancel  context.CancelFunc // ends Run; nil before it
	state   State
	stats   Stats
	want    map[market.Topic]struct{} // what is to be subscribed on every connection
	session *session                  // nil while there is no connection that has been greeted
	waiting []*request                // requests that no connection carries yet
}

// New makes a client that does nothing before Run. Its error says what is wrong
// with the Config.
func New(cfg Config) (*Client, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Client{
		cfg: cfg, events: make(chan Event, cfg.Buffer), done: make(chan struct{}), want: make(map[market.Topic]struct{}),
		state: State{Phase: Connecting, Since: time.Now()},
	}, nil
}

// Dial makes a client, runs it and waits for the first connection. Its error is
// an *Error where the first attempt failed, and the context's where that ended
// first; in both cases nothing is left of the client. Later connections do not
// depend on ctx. The caller must Close the client.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	first := make(chan State, 1)
	hook := cfg.OnState
	cfg.OnState = func(s State) {
		if s.Phase != Connecting {
			select {
			case first <- s:
			default:
			}
		}
		if hook != nil {
			hook(s)
		}
	}
	c, err := New(cfg)
	if err != nil {
		return nil, err
	}
	life := context.WithoutCancel(ctx)
	c.owner.Go(func() { _ = c.Run(life) }) // Events yields the error
	select {
	case s := <-first:
		if s.Phase == Connected {
			return c, nil
		}
		err = s.Err
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	_ = c.Close() // never fails
	return nil, err
}

// Run connects, and connects again, until ctx ends, Close is called, or the
// gateway says that there is no use in trying: then it returns the *Error. It may
// be called once, by whoever has made the client with New.
func (c *Client) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !c.start(cancel) {
		return errors.New("client: Run was called twice, or after Close")
	}
	c.err = c.loop(ctx)
	c.finish(c.err)
	return c.err
}

// start tells whether the caller is the first, who must call finish.
func (c *Client) start(cancel context.CancelFunc) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := !c.started
	c.started = true
	if first {
		c.cancel = cancel
	}
	return first
}

// Close ends the client and waits until nothing of it is left. It may be called
// more than once.
func (c *Client) Close() error {
	if c.start(func() {}) {
		c.finish(nil) // Run was never called, and finds nothing to do any more
	} else {
		c.mu.Lock()
		c.closed = true
		cancel := c.cancel
		c.mu.Unlock()
		cancel()
	}
	c.owner.Wait()
	<-c.done
	return nil
}

// loop makes one connection after the other.
func (c *Client) loop(ctx context.Context) error {
	for failures := 0; ; {
		c.change(func(s *State) { s.Phase, s.Attempt, s.Feed = Connecting, failures, market.Feed{} })
		begun := time.Now()
		err := c.connect(ctx)
		switch {
		case ended(ctx):
			return nil
		case err.Retry == RetryNever:
			return err
		}
		if time.Since(begun) >= stable && c.greeted() {
			failures = 0
		}
		wait := c.backoff(err, failures)
		failures++
		c.change(func(s *State) {
			s.Phase, s.Err, s.Attempt, s.Next = Waiting, err, failures, time.Now().Add(wait)
			s.Throttled = false
		})
		if !sleep(ctx, wait) {
			return nil
		}
	}
}

// greeted tells, and forgets, whether the last connection got as far as the
// gateway's greeting.
func (c *Client) greeted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.state.Conn != ""
	c.state.Conn = ""
	return was
}

// backoff gives the wait before the next attempt: full jitter below a limit that
// doubles with each failure in a row. Even where the gateway asks to come back at
// once, that holds from the second time on.
func (c *Client) backoff(err *Error, failures int) time.Duration {
	if err.Retry == RetryNow && failures == 0 {
		return err.After
	}
	limit := c.cfg.MinBackoff
	for range failures {
		if limit > c.cfg.MaxBackoff/2 {
			limit = c.cfg.MaxBackoff
			break
		}
		limit *= 2
	}
	return err.After + rand.N(limit)
}

func ended(ctx context.Context) bool { return ctx.Err() != nil }

// sleep waits, unless ctx ends before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// finish tells everybody that the client has ended.
func (c *Client) finish(err error) {
	c.mu.Lock()
	c.ended = true
	left := c.waiting
	c.waiting = nil
	c.mu.Unlock()
	for _, r := range left {
		r.err = ErrClosed
		close(r.done)
	}
	c.change(func(s *State) {
		s.Phase = Closed
		if err != nil {
			s.Err = err
		}
	})
	close(c.done)
}
