package client

import (
	"context"
	"fmt"

	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// commandRoom is what a command needs beside its topics, at most.
const commandRoom = 300

// defaultMessage is the greatest command that a gateway takes if it does not say.
const defaultMessage = 16 << 10

// request is a Subscribe or Unsubscribe that waits for its answers. All but done
// is guarded by Client.mu until done is closed.
type request struct {
	action   wire.Action
	topics   []market.Topic
	fresh    map[market.Topic]bool // topics that were not wanted before
	open     int                   // commands without an answer
	rejected []Rejection
	err      error
	done     chan struct{}
}

// command is one of a request's commands on its way.
type command struct {
	request *request
	topics  []market.Topic
	since   market.Position // where to resume; zero: anew
}

// Subscribe adds topics to what the client is subscribed to, on this connection
// and all later ones, and waits until the gateway has taken them. The error is a
// *RejectedError where it refused some of them, an *Error where it refused all,
// ErrClosed where the client has ended, and the context's where ctx ended before
// the answer came: the topics are kept then.
//
// Whoever waits here must have Events read at the same time, or have room for
// their snapshots in Config.Buffer.
func (c *Client) Subscribe(ctx context.Context, topics ...market.Topic) error {
	for _, t := range topics {
		if err := checkTopic(t); err != nil {
			return err
		}
	}
	return c.do(ctx, wire.Subscribe, topics)
}

// Unsubscribe takes topics away again and waits for the answer. Events that were
// received before still come. Errors are as those of Subscribe.
func (c *Client) Unsubscribe(ctx context.Context, topics ...market.Topic) error {
	return c.do(ctx, wire.Unsubscribe, topics)
}

// Subscriptions gives the topics that the client is subscribed to, or will be
// when it is connected.
func (c *Client) Subscriptions() []market.Topic {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]market.Topic, 0, len(c.want))
	for t := range c.want {
		out = append(out, t)
	}
	return out
}

func checkTopic(t market.Topic) error {
	if t.Channel < market.Trades || int(t.Channel) >= market.NumChannels {
		return fmt.Errorf("subscribe: %s is not a channel", t.Channel)
	}
	if t.Symbol == market.AllSymbols {
		return nil
	}
	if err := t.Symbol.Validate(); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	return nil
}

func (c *Client) do(ctx context.Context, action wire.Action, topics []market.Topic) error {
	if len(topics) == 0 {
		return nil
	}
	r := &request{action: action, fresh: make(map[market.Topic]bool), done: make(chan struct{})}
	c.mu.Lock()
	if c.closed || c.ended {
		c.mu.Unlock()
		return ErrClosed
	}
	seen := make(map[market.Topic]bool)
	for _, t := range topics {
		if seen[t] {
			continue
		}
		seen[t] = true
		r.topics = append(r.topics, t)
		if action == wire.Unsubscribe {
			delete(c.want, t)
		} else if _, has := c.want[t]; !has {
			c.want[t] = struct{}{}
			r.fresh[t] = true
		}
	}
	s := c.session
	if s != nil {
		s.enqueue(r, r.topics, market.Position{})
	} else {
		c.waiting = append(c.waiting, r)
	}
	c.mu.Unlock()
	if s != nil {
		s.signal()
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if r.err == nil && len(r.rejected) > 0 {
		return &RejectedError{Rejected: r.rejected}
	}
	return r.err
}

// enqueue writes topics as one command or more, each small enough for the
// gateway, whose answers r waits for. With since, the gateway is to go on there.
// c.mu is held.
func (s *session) enqueue(r *request, topics []market.Topic, since market.Position) {
	limit := s.limits.MessageBytes
	if limit <= 0 {
		limit = defaultMessage
	}
	limit -= commandRoom
	for len(topics) > 0 {
		size, n := 0, 0
		for n < len(topics) {
			const around = 5 // quotes and a comma, or a length
			size += len(topics[n].Symbol) + around
			if n > 0 && size > limit {
				break
			}
			n++
		}
		s.nextID++
		id := wire.IntID(s.format.Encoding(), s.nextID)
		cmd := wire.Command{Action: r.action, ID: id, Topics: topics[:n]}
		if r.action == wire.Subscribe {
			cmd.Options = s.c.cfg.options()
			cmd.Since = since
		}
		s.queue = append(s.queue, mask(s.format.Opcode(), wire.AppendCommand(nil, s.format, &cmd)))
		s.pending[id] = command{r, topics[:n], since}
		s.note(r.action, topics[:n], since)
		r.open++
		topics = topics[n:]
	}
}

// note keeps account of what the gateway is asked for. c.mu is held.
func (s *session) note(action wire.Action, topics []market.Topic, since market.Position) {
	var g *group
	if !since.IsZero() {
		g = &group{at: since.Seq}
		s.resume(since)
	}
	for _, t := range topics {
		switch {
		case action == wire.Unsubscribe:
			delete(s.asked, t)
			delete(s.book.tracks, t)
			continue
		case g != nil:
			s.book.tracks[t] = &track{acked: true, settled: true, group: g}
		case s.book.tracks[t] == nil:
			s.book.tracks[t] = &track{}
			s.fresh[t] = true
		}
		s.asked[t] = true
	}
}

// answer takes the answer to a command. A subscription that was held before and
// cannot be had again ends the connection.
func (s *session) answer(id wire.ID, rejected []wire.Rejection, err *Error) *Error {
	c := s.c
	c.mu.Lock()
	cmd, known := s.pending[id]
	delete(s.pending, id)
	if !known {
		c.mu.Unlock()
		return nil
	}
	r := cmd.request
	if err != nil && err.Code == int(wire.CodeUnsupportedOption) && !cmd.since.IsZero() {
		r.open--
		gap := s.unresumed(cmd)
		c.mu.Unlock()
		s.signal()
		c.report(gap)
		return nil
	}
	if c.cfg.Heartbeat > 0 && r.action == wire.Subscribe && err == nil {
		s.beat.Store(int64(c.cfg.Heartbeat))
	}
	for _, x := range rejected {
		delete(c.want, x.Topic)
		delete(s.asked, x.Topic)
		msg := wire.ErrorMessage{Code: x.Code, Detail: x.Detail}
		r.rejected = append(r.rejected, Rejection{Topic: x.Topic, Code: int(x.Code), Reason: msg.Text()})
	}
	kept := err != nil && err.Code == int(wire.CodeUpstreamUnavailable) // as the protocol says
	switch {
	case err != nil:
		r.err = err
		for _, t := range cmd.topics {
			if r.fresh[t] && !kept {
				delete(c.want, t)
				delete(s.asked, t)
			}
		}
	case r.action == wire.Unsubscribe:
		c.ledger.forget(cmd.topics, c.want)
	}
	if (err == nil || kept) && r.action == wire.Subscribe {
		s.taken(cmd)
	}
	r.open--
	last := r.open == 0
	c.mu.Unlock()
	if last {
		close(r.done)
	}
	if r == s.restore && err != nil && !kept {
		return err
	}
	return nil
}

// taken notes that the gateway has a subscription. c.mu is held.
func (s *session) taken(cmd command) {
	for _, t := range cmd.topics {
		k := s.book.tracks[t]
		if k == nil {
			continue // it was unsubscribed meanwhile
		}
		if !k.acked {
			k.acked, k.from = true, s.book.at
		}
		if k.group != nil {
			k.group.acked = true
		}
	}
	if !cmd.since.IsZero() {
		s.countResumed()
	}
}

// detach takes a connection away that has ended, or is not used any more: what it
// has not answered waits for the next one.
func (c *Client) detach(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == s {
		c.session = nil
	}
	seen := map[*request]bool{s.restore: true}
	for id, cmd := range s.pending {
		r := cmd.request
		delete(s.pending, id)
		if !seen[r] {
			seen[r] = true
			r.open, r.err, r.rejected = 0, nil, nil
			c.waiting = append(c.waiting, r)
		}
	}
}
