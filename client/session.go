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

// session is one connection: a reader and a writer. Two of them live side by side
// while the client moves from one to the other.
type session struct {
	c      *Client
	url    string
	conn   net.Conn
	frames frames
	format wire.Format
	wake   chan struct{} // something to write; room for one
	ping   atomic.Int64  // the gateway's ping interval, in nanoseconds; 0 before its greeting
	beat   atomic.Int64  // how often a heartbeat is due, where the gateway has been asked; 0 before

	beginning chan struct{}        // closed when the gateway takes commands
	restored  chan struct{}        // closed when it has what earlier connections had: restore.done
	ended     chan struct{}        // closed when the reader has ended
	done      chan struct{}        // closed when all has ended, and why is set
	leaving   chan struct{}        // closed when a newer connection has taken the place
	notice    chan *wire.Reconnect // the gateway asks to move; room for one

	renewing sync.WaitGroup // what fetches a new token
	renewals atomic.Bool    // it is under way

	once sync.Once
	why  *Error // the first reason of the end

	refused *wire.ErrorMessage // the last in-band error that no command caused; owned by the reader
	restore *request           // asks for what earlier connections had

	// Guarded by c.mu.
	since     time.Time // of the greeting
	name      string    // the gateway's, of the connection
	begun     bool      // the gateway takes commands
	feed      market.Feed
	throttled bool
	epoch     market.Epoch                // of the positions that come; 0 while it is not known
	chain     map[market.Topic]market.Seq // the position that came last
	fresh     map[market.Topic]bool       // was asked for anew: positions before it may be 0
	book      *book
	asked     map[market.Topic]bool // what the gateway was asked for
	resumed   bool                  // counted as such
	inURL     bool                  // the URL says where to resume
	limits    wire.Limits
	lane      [][]byte // frames of control
	queue     [][]byte // frames of commands, which the gateway limits
	pending   map[wire.ID]command
	nextID    int64
}

func newSession(c *Client, url string) *session {
	s := &session{
		c: c, url: url, wake: make(chan struct{}, 1), beginning: make(chan struct{}), restored: make(chan struct{}),
		ended: make(chan struct{}), done: make(chan struct{}), leaving: make(chan struct{}), notice: make(chan *wire.Reconnect, 1),
		since: time.Now(), chain: make(map[market.Topic]market.Seq), fresh: make(map[market.Topic]bool),
		book: &book{tracks: make(map[market.Topic]*track)}, asked: make(map[market.Topic]bool), pending: make(map[wire.ID]command),
	}
	s.restore = &request{action: wire.Subscribe, done: s.restored}
	return s
}

// run makes the connection and lives with it until it ends.
func (s *session) run(ctx context.Context) {
	defer close(s.done)
	c := s.c
	dialing, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	deadline, _ := dialing.Deadline()
	token, refused := c.token(dialing)
	if refused == nil {
		s.conn, s.frames.r, s.format, refused = c.dial(dialing, s.address())
	}
	if refused != nil {
		s.forgive(refused)
		s.why = refused
		return
	}
	var tasks errgroup.Group
	tasks.Go(func() error { s.read(ctx, deadline, token); return nil })
	tasks.Go(func() error { s.write(ctx); return nil })
	_ = tasks.Wait()   // the reason is in s.why
	_ = s.conn.Close() // for the second time, unless the gateway has closed
	s.renewing.Wait()
}

// fail records why the connection ends, and ends it. The first reason counts.
func (s *session) fail(err *Error) {
	s.once.Do(func() { s.why = err })
	_ = s.conn.Close() // frees the other task
}

// retire ends a connection whose place another one has taken.
func (s *session) retire() { close(s.leaving) }

func (s *session) retired() bool {
	select {
	case <-s.leaving:
		return true
	default:
		return false
	}
}

// patience is how long the gateway may be silent.
func (s *session) patience() time.Duration {
	most := 2*time.Duration(s.ping.Load()) + leastPing
	if beat := s.beat.Load(); beat > 0 {
		most = min(most, 2*time.Duration(beat)+leastPing)
	}
	return most
}

// read handles what the gateway sends until the connection ends.
func (s *session) read(ctx context.Context, greeting time.Time, token string) {
	defer close(s.ended)
	for {
		deadline := greeting
		if s.hasBegun() {
			deadline = time.Now().Add(s.patience())
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
			if err := s.message(ctx, op, payload, token); err != nil {
				s.fail(err)
				return
			}
		}
	}
}

func (s *session) hasBegun() bool {
	select {
	case <-s.beginning:
		return true
	default:
		return false
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
func (s *session) message(ctx context.Context, op wire.Opcode, payload []byte, token string) *Error {
	enc := wire.JSON
	if op == wire.OpBinary {
		enc = wire.MsgPack
	}
	list, err := wire.DecodeFrame(enc, payload)
	if err != nil {
		return &Error{Op: "read", Reason: "the gateway makes no sense", Retry: RetryBackoff, Err: err}
	}
	var events []*wire.Data
	for _, m := range list {
		if d, ok := m.(*wire.Data); ok {
			events = append(events, d)
			continue
		}
		if err := s.news(ctx, m, token); err != nil {
			return err
		}
	}
	if len(events) == 0 {
		return nil
	}
	return s.events(ctx, events)
}
