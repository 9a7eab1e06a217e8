package client

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

const (
	writeTimeout = 5 * time.Second  // for one write
	goodbye      = time.Second      // for the gateway to answer our close frame
	defaultPing  = 20 * time.Second // of a gateway that does not say its own
	leastPing    = time.Second
)

// session is one connection: a reader and a writer.
type session struct {
	c      *Client
	conn   net.Conn
	frames frames
	format wire.Format
	ended  chan struct{} // closed when the reader has ended
	wake   chan struct{} // something to write; room for one
	ping   atomic.Int64  // the gateway's ping interval, in nanoseconds; 0 before its greeting

	once sync.Once
	why  *Error // the first reason of the end

	// Owned by the reader.
	last    map[market.Topic]market.Seq // the position that came last
	refused *wire.ErrorMessage          // the last in-band error that no command caused
	begun   bool                        // the gateway takes commands
	restore *request                    // asks for what earlier connections had

	// Guarded by c.mu.
	limits  wire.Limits
	lane    [][]byte // frames of control
	queue   [][]byte // frames of commands, which the gateway limits
	pending map[wire.ID]command
	nextID  int64
}

// connect makes one connection and lives with it until it ends.
func (c *Client) connect(ctx context.Context) *Error {
	dialing, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	deadline, _ := dialing.Deadline()
	conn, r, format, refused := c.dial(dialing)
	if refused != nil {
		return refused
	}
	s := &session{
		c: c, conn: conn, frames: frames{r: r}, format: format,
		ended: make(chan struct{}), wake: make(chan struct{}, 1),
		last: make(map[market.Topic]market.Seq), pending: make(map[wire.ID]command),
	}
	var tasks errgroup.Group
	tasks.Go(func() error { s.read(ctx, deadline); return nil })
	tasks.Go(func() error { s.write(ctx); return nil })
	_ = tasks.Wait()   // the reason is in s.why
	_ = s.conn.Close() // for the second time, unless the gateway has closed
	c.detach(s)
	return s.why
}

// fail records why the connection ends, and ends it. The first reason counts.
func (s *session) fail(err *Error) {
	s.once.Do(func() { s.why = err })
	_ = s.conn.Close() // frees the other task
}

// read handles what the gateway sends until the connection ends.
func (s *session) read(ctx context.Context, greeting time.Time) {
	defer close(s.ended)
	for {
		deadline := greeting
		if ping := s.ping.Load(); s.begun {
			deadline = time.Now().Add(2*time.Duration(ping) + leastPing)
		}
		if err := s.conn.SetReadDeadline(deadline); err != nil {
			s.fail(lost(err))
			return
		}
		op, payload, err := s.frames.next()
		if err != nil {
			s.fail(lost(err))
			return
		}
		now := time.Now()
		s.c.heard.Store(&now)
		switch op {
		case wire.OpPing:
			s.control(wire.OpPong, payload)
		case wire.OpPong:
		case wire.OpClose:
			why := s.closing(payload)
			s.once.Do(func() { s.why = why })
			s.control(wire.OpClose, payload[:min(len(payload), 2)]) // the writer sends it and closes
			return
		default:
			if err := s.message(ctx, op, payload); err != nil {
				s.fail(err)
				return
			}
		}
	}
}

// lost is the reason of a connection that broke, or whose peer fell silent.
func lost(err error) *Error {
	e := &Error{Op: "read", Reason: "connection lost", Retry: RetryBackoff, Err: err}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		e.Reason = "the gateway is silent"
	}
	return e
}

// closing reads the gateway's close frame, and the in-band error before it.
func (s *session) closing(payload []byte) *Error {
	code, text, ok := wire.ParseClose(payload)
	if !ok {
		return &Error{Op: "read", Reason: "a close frame that makes no sense", Retry: RetryBackoff}
	}
	e := &Error{Op: "read", Close: int(code), Reason: text, Retry: Retry(wire.AdviceFor(code))}
	if s.refused != nil {
		e.Code = int(s.refused.Code)
		if e.Reason == "" {
			e.Reason = s.refused.Text()
		}
	}
	if e.Reason == "" {
		e.Reason = "closed by the gateway"
	}
	return e
}

// message handles the messages of one frame.
func (s *session) message(ctx context.Context, op wire.Opcode, payload []byte) *Error {
	enc := wire.JSON
	if op == wire.OpBinary {
		enc = wire.MsgPack
	}
	list, err := wire.DecodeFrame(enc, payload)
	if err != nil {
		return &Error{Op: "read", Reason: "the gateway makes no sense", Retry: RetryBackoff, Err: err}
	}
	for _, m := range list {
		if d, ok := m.(*wire.Data); ok {
			if !s.event(ctx, d) {
				return lost(context.Cause(ctx))
			}
			continue
		}
		if err := s.news(m); err != nil {
			return err
		}
	}
	return nil
}

// event hands an event out. It waits where nobody takes them, which stops the
// reader and with it the gateway.
func (s *session) event(ctx context.Context, d *wire.Data) bool {
	e := Event{Event: d.Event, Snapshot: d.Snapshot}
	topic := d.Topic()
	if last, seen := s.last[topic]; seen && !d.Snapshot && d.Prev != 0 && d.Prev != last {
		e.Broken = true
	}
	s.last[topic] = d.Seq
	s.c.count(func(st *Stats) {
		st.Events++
		st.Merged += uint64(e.Count() - 1)
		if e.Broken {
			st.Broken++
		}
	})
	select {
	case s.c.events <- e:
		return true
	default:
	}
	select {
	case s.c.events <- e:
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
func (s *session) news(m wire.Message) *Error {
	switch m := m.(type) {
	case *wire.Connected:
		return s.greet(m)
	case *wire.Authenticated:
		s.begin()
	case *wire.Subscription:
		return s.answer(m.ID, m.Rejected, nil)
	case *wire.ErrorMessage:
		return s.complain(m)
	case *market.Feed:
		s.c.change(func(st *State) {
			if m.Epoch == 0 {
				m.Epoch = st.Feed.Epoch
			}
			st.Feed = *m
		})
	case *market.Gap:
		s.c.count(func(st *Stats) { st.Gaps++ })
	case *wire.Throttle:
		s.c.change(func(st *State) { st.Throttled = m.On })
	}
	return nil // heartbeats and pongs have done their work by arriving
}

// greet answers the gateway's first message.
func (s *session) greet(m *wire.Connected) *Error {
	if s.ping.Load() != 0 {
		return &Error{Op: "read", Reason: "the gateway greets twice", Retry: RetryBackoff}
	}
	ping := m.Ping
	if ping <= 0 {
		ping = defaultPing
	}
	s.ping.Store(int64(max(ping, leastPing)))
	s.c.mu.Lock()
	s.limits = m.Limits
	s.c.stats.Connections++
	s.c.mu.Unlock()
	s.c.change(func(st *State) {
		st.Conn = m.Conn
		if st.Conn == "" {
			st.Conn = "unnamed"
		}
		if m.Epoch != 0 {
			st.Feed.Epoch = m.Epoch
		}
	})
	cfg := &s.c.cfg
	if cfg.Key+cfg.Secret+cfg.Token != "" {
		auth := wire.Command{Action: wire.Auth, Key: cfg.Key, Secret: cfg.Secret, Token: cfg.Token}
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
	if !s.begun {
		err.Op = "connect"
		return err
	}
	s.refused = m
	return nil
}
