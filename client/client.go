package client

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lzstock/lzstock/market"
)

// Client is a connection to a gateway that is made again when it ends. Its
// methods may be called from several goroutines.
type Client struct {
	cfg    Config
	events chan Event
	heard  atomic.Pointer[time.Time] // when anything came last
	dated  atomic.Pointer[time.Time] // when an event came last

	turn chan struct{} // whoever has it hands out the events of one frame; room for one
	hook chan struct{} // whoever has it calls one of the user's functions; room for one

	owner    sync.WaitGroup // the goroutine that Dial started
	sessions sync.WaitGroup // the connections
	done     chan struct{}  // closed when Run has ended
	err      error          // why, before done is closed

	mu      sync.Mutex
	closed  bool               // Close was called
	ended   bool               // Run has ended, or will not begin
	started bool               // Run was called, or will not be
	cancel  context.CancelFunc // ends Run; nil before it
	state   State
	stats   Stats
	ledger  ledger                    // what has been handed out
	want    map[market.Topic]struct{} // what is to be subscribed on every connection
	book    *book                     // of the connection that is, or was last, in use: where the next one resumes
	session *session                  // in use; nil while there is none
	next    *session                  // the one that is being made
	waiting []*request                // requests that no connection carries yet
	plain   bool                      // the gateway takes no position in the URL
	healed  time.Time                 // when a connection was last given up for the sake of lost events
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
		turn: make(chan struct{}, 1), hook: make(chan struct{}, 1), ledger: newLedger(),
		state: State{Phase: Connecting, Since: time.Now()},
	}, nil
}

// Dial makes a client, runs it and waits for the first connection. Its error is
// an *Error where no endpoint was to be had at the first attempt, and the
// context's where that ended first; in both cases nothing is left of the client.
// Later connections do not depend on ctx. The caller must Close the client.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	first := make(chan State, 1)
	hook, endpoints := cfg.OnState, len(cfg.URLs)
	if cfg.URL != "" {
		endpoints++
	}
	cfg.OnState = func(s State) {
		if s.Phase != Connecting && (s.Phase != Waiting || s.Attempt >= endpoints) {
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
	c.err = c.supervise(ctx)
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
		s.Phase, s.Moving = Closed, false
		if err != nil {
			s.Err = err
		}
	})
	close(c.done)
}
