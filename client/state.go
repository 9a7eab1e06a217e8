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
	Snapshot     bool // the current value at subscribe, not a live event
	Broken       bool // events before it on the same topic were lost on the way
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
	Conn      string      // the gateway's name for the connection
	Attempt   int         // attempts in a row that failed, or ended soon
	Next      time.Time   // when the next attempt comes, in phase Waiting
	Err       error       // why the last connection ended; nil before
	Feed      market.Feed // as the gateway has said on this connection; its State is 0 before that
	Throttled bool        // the gateway conflates for this client, which is behind
}

// Stats are counts over a client's life.
type Stats struct {
	Events      uint64 // events received
	Merged      uint64 // further events that those stand for
	Broken      uint64 // events that came with something missing before them
	Gaps        uint64 // losses that the gateway announced
	Connections uint64 // connections that the gateway greeted
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

// change changes the state and tells OnState. It is called by Run and by the
// connection's reader, for which Run waits: never by two at once.
func (c *Client) change(f func(*State)) {
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

func topics(c market.Channel, symbols []market.Symbol) []market.Topic {
	out := make([]market.Topic, len(symbols))
	for i, s := range symbols {
		out[i] = market.Topic{Channel: c, Symbol: s}
	}
	return out
}
