package client

import (
	"context"
	"time"

	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// events hands out a frame's events. One connection does at a time, so that what
// two of them bring is one stream, in which each topic ascends.
func (s *session) events(ctx context.Context, list []*wire.Data) *Error {
	c := s.c
	select {
	case c.turn <- struct{}{}:
	case <-s.leaving:
		return nil
	case <-ctx.Done():
		return lost(context.Cause(ctx))
	}
	defer func() { <-c.turn }()
	if s.retired() {
		return nil // the newer connection has, or will have, the same
	}
	all := make([]came, 0, len(list))
	for _, d := range list {
		all = append(all, came{d.Topic(), d.Seq})
		c.mu.Lock()
		v := s.admit(d)
		c.mu.Unlock()
		if v.gap != nil {
			c.report(*v.gap)
		}
		if v.err != nil {
			return v.err
		}
		if v.drop {
			continue
		}
		now := time.Now()
		c.dated.Store(&now)
		if !c.hand(ctx, v.event) {
			return lost(context.Cause(ctx))
		}
	}
	c.mu.Lock()
	s.book.frame(all)
	c.mu.Unlock()
	return nil
}

// hand waits where nobody takes events, which stops the reader and with it the
// gateway.
func (c *Client) hand(ctx context.Context, e Event) bool {
	select {
	case c.events <- e:
		return true
	default:
	}
	select {
	case c.events <- e:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *Client) count(f func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.stats)
}

// news handles what is not an event.
func (s *session) news(ctx context.Context, m wire.Message, token string) *Error {
	switch m := m.(type) {
	case *wire.Connected:
		return s.greet(m, token)
	case *wire.Authenticated:
		s.begin()
	case *wire.Subscription:
		return s.answer(m.ID, m.Rejected, nil)
	case *wire.ErrorMessage:
		return s.complain(m)
	case *market.Feed:
		s.fed(m)
	case *market.Gap:
		s.gap(m)
	case *wire.Throttle:
		s.show(func() { s.throttled = m.On }, func(st *State) { st.Throttled = m.On })
	case *wire.Heartbeat:
		if m.Seq != 0 { // else the gateway is still bringing what was missed
			s.c.mu.Lock()
			s.book.beat(m.Seq)
			s.c.mu.Unlock()
		}
	case *wire.Reconnect:
		select {
		case s.notice <- m:
		default: // the first one counts
		}
	case *wire.Expiring:
		s.renew(ctx)
	}
	return nil // pongs have done their work by arriving
}

// show takes note of something under the lock, and tells the user where the
// connection is the one in use.
func (s *session) show(note func(), f func(*State)) {
	s.c.mu.Lock()
	note()
	used := s.c.session == s
	s.c.mu.Unlock()
	if used {
		s.c.change(f)
	}
}

func (s *session) fed(m *market.Feed) {
	s.show(func() {
		if m.Epoch == 0 {
			m.Epoch = s.feed.Epoch
		}
		s.feed = *m
		if s.epoch == 0 && m.Epoch != 0 {
			s.epoch, s.book.epoch = m.Epoch, m.Epoch
			if s.c.ledger.epoch == 0 {
				s.c.ledger.epoch = m.Epoch
			}
		}
	}, func(st *State) { st.Feed = *m })
}

// gap takes note of events that will not come, and of current values that will.
func (s *session) gap(m *market.Gap) {
	c := s.c
	g := Gap{From: m.From, To: m.To, Topics: m.Topics, Reason: Expired}
	if m.Reason == market.GapEpoch {
		g.Reason = Renumbered
	}
	c.mu.Lock()
	if m.To.Epoch != 0 && m.To.Epoch != s.epoch {
		s.epoch, s.book.epoch, s.book.at = m.To.Epoch, m.To.Epoch, 0
		s.feed.Epoch = m.To.Epoch
	}
	clear(s.chain)
	if c.session == nil || c.session == s { // else the one in use may well have had what this one cannot have
		if s.epoch != c.ledger.epoch {
			c.ledger.restart(s.epoch)
		}
		c.ledger.suspect(nil)
		c.ledger.suspect(s.book.topics())
	}
	s.book.lose()
	c.mu.Unlock()
	c.report(g)
}

// greet answers the gateway's first message.
func (s *session) greet(m *wire.Connected, token string) *Error {
	if s.ping.Load() != 0 {
		return &Error{Op: "read", Reason: "the gateway greets twice", Retry: RetryBackoff}
	}
	ping := m.Ping
	if ping <= 0 {
		ping = defaultPing
	}
	s.ping.Store(int64(max(ping, leastPing)))
	c := s.c
	c.mu.Lock()
	s.limits = m.Limits
	s.since = time.Now()
	if s.name = m.Conn; s.name == "" {
		s.name = "unnamed"
	}
	if m.Epoch != 0 {
		s.feed.Epoch, s.epoch, s.book.epoch = m.Epoch, m.Epoch, m.Epoch
	}
	c.stats.Connections++
	c.mu.Unlock()
	cfg := &c.cfg
	if cfg.Key+cfg.Secret+token != "" {
		auth := wire.Command{Action: wire.Auth, Key: cfg.Key, Secret: cfg.Secret, Token: token}
		s.control(s.format.Opcode(), wire.AppendCommand(nil, s.format, &auth))
		return nil
	}
	s.begin()
	return nil
}

// complain handles an in-band error: the answer to a command, or what precedes a
// close frame.
func (s *session) complain(m *wire.ErrorMessage) *Error {
	err := &Error{Op: "subscribe", Code: int(m.Code), Reason: m.Text(), Retry: retryOf(m.Code)}
	if m.ID != "" {
		return s.answer(m.ID, nil, err)
	}
	if !s.hasBegun() {
		err.Op = "connect"
		return err
	}
	s.refused = m
	return nil
}
