package client

import (
	"fmt"
	"iter"
	"time"

	"github.com/lzstock/lzstock/market"
)

// Event is one update of a topic.
type Event struct {
	market.Event      // Seq is the position, Prev the one sent before it on the same topic
	Snapshot     bool // the current value at subscribe or after a gap, not a live event
	Broken       bool // events before it on the same topic were lost, or may have been
}

// Phase is where a client stands with its connection.
type Phase uint8

// The phases.
const (
	Connecting Phase = iota + 1 // an attempt is being made
	Connected                   // connected and subscribed, or about to be
	Waiting                     // the last attempt or connection failed; the next attempt comes at State.Next
	Closed                      // ended for good
)

// String gives "connecting" and so on.
func (p Phase) String() string {
	switch p {
	case Connecting:
		return "connecting"
	case Connected:
		return "connected"
	case Waiting:
		return "waiting"
	case Closed:
		return "closed"
	}
	return fmt.Sprintf("phase(%d)", uint8(p))
}

// State is what a client knows of its connection and of the feed.
type State struct {
	Phase     Phase
	Since     time.Time   // of Phase
	URL       string      // of the gateway in use, or tried
	Again     bool        // there was a connection before: the client is not new to this
	Moving    bool        // the gateway has asked to move, and a new connection is being made beside this one
	Conn      string      // the gateway's name for the connection
	Attempt   int         // attempts in a row that failed, or ended soon
	Next      time.Time   // when the next attempt comes, in phase Waiting
	Err       error       // why the last connection ended, or could not be made; nil before
	Feed      market.Feed // as the gateway has said on this connection; its State is 0 before that
	Throttled bool        // the gateway conflates for this client, which is behind
}

// Status is the answer to the one question that a display has: are prices
// current?
type Status uint8

// The statuses.
const (
	StatusConnecting   Status = iota + 1 // there was no connection yet
	StatusLive                           // prices are current
	StatusStale                          // the gateway has lost the source within the last 10 s, or is catching up
	StatusDown                           // the source has been lost for longer
	StatusReconnecting                   // the connection was lost; the next one goes on where it ended
	StatusClosed                         // ended for good
)

// String gives "connecting" and so on.
func (s Status) String() string {
	switch s {
	case StatusConnecting:
		return "connecting"
	case StatusLive:
		return "live"
	case StatusStale:
		return "stale"
	case StatusDown:
		return "down"
	case StatusReconnecting:
		return "reconnecting"
	case StatusClosed:
		return "closed"
	}
	return fmt.Sprintf("status(%d)", uint8(s))
}

// Status sums up. A gateway that says nothing of its feed is live.
func (s *State) Status() Status {
	switch {
	case s.Phase == Closed:
		return StatusClosed
	case s.Phase != Connected && s.Again:
		return StatusReconnecting
	case s.Phase != Connected:
		return StatusConnecting
	case s.Feed.State == market.FeedStale:
		return StatusStale
	case s.Feed.State == market.FeedDown:
		return StatusDown
	}
	return StatusLive
}

// Stats are counts over a client's life.
type Stats struct {
	Events      uint64 // events handed out
	Merged      uint64 // further events that those stand for
	Duplicates  uint64 // events that came again, and were dropped
	Broken      uint64 // events that were handed out with something missing before them, perhaps
	Missing     uint64 // times that events were found to be missing which nobody had announced; most are mended by resuming
	Gaps        uint64 // losses: Config.OnGap was told
	Connections uint64 // connections that the gateway greeted
	Resumed     uint64 // of those, how many went on where another one had ended
	Moves       uint64 // connections that took the place of one that still worked
	Drops       uint64 // connections that ended before another one was there
}

// State gives the current state.
func (c *Client) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Stats gives the counts.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// Age is how long nothing has been heard of the gateway: no event, no heartbeat,
// no ping. It is 0 before the first connection.
func (c *Client) Age() time.Duration {
	at := c.heard.Load()
	if at == nil {
		return 0
	}
	return time.Since(*at)
}

// EventAge is how long ago the last event came; 0 before the first.
func (c *Client) EventAge() time.Duration {
	at := c.dated.Load()
	if at == nil {
		return 0
	}
	return time.Since(*at)
}

// change changes the state and tells OnState, one after the other.
func (c *Client) change(f func(*State)) {
	c.hook <- struct{}{}
	defer func() { <-c.hook }()
	c.mu.Lock()
	before := c.state
	f(&c.state)
	if c.state.Phase != before.Phase {
		c.state.Since = time.Now()
	}
	after := c.state
	c.mu.Unlock()
	if c.cfg.OnState != nil {
		c.cfg.OnState(after)
	}
}

// Events hands out events until the client ends. Then it yields the *Error that
// ended it, once, or nothing where it was Close. Events that have been received
// come before that. A loop may be left and Events be called again; two at a time
// share the events.
func (c *Client) Events() iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			select {
			case e := <-c.events:
				if !yield(e, nil) {
					return
				}
				continue
			default:
			}
			select {
			case e := <-c.events:
				if !yield(e, nil) {
					return
				}
			case <-c.done:
				if len(c.events) > 0 {
					continue
				}
				if c.err != nil {
					yield(Event{}, c.err)
				}
				return
			}
		}
	}
}

// Trades gives the topics of symbols' trades. "*" stands for all symbols.
func Trades(symbols ...market.Symbol) []market.Topic { return topics(market.Trades, symbols) }

// Quotes gives the topics of symbols' quotes.
func Quotes(symbols ...market.Symbol) []market.Topic { return topics(market.Quotes, symbols) }

// Bars gives the topics of symbols' minute bars.
func Bars(symbols ...market.Symbol) []market.Topic { return topics(market.Bars, symbols) }

// UpdatedBars gives the topics of symbols' corrected minute bars.
func UpdatedBars(symbols ...market.Symbol) []market.Topic { return topics(market.UpdatedBars, symbols) }

// DailyBars gives the topics of symbols' day bars.
func DailyBars(symbols ...market.Symbol) []market.Topic { return topics(market.DailyBars, symbols) }

// Statuses gives the topics of symbols' trading statuses: halts and resumptions.
func Statuses(symbols ...market.Symbol) []market.Topic { return topics(market.Statuses, symbols) }

func topics(c market.Channel, symbols []market.Symbol) []market.Topic {
	out := make([]market.Topic, len(symbols))
	for i, s := range symbols {
		out[i] = market.Topic{Channel: c, Symbol: s}
	}
	return out
}
