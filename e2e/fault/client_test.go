package fault

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

// client is a subscriber that keeps a ledger, and comes back whenever its socket ends,
// to any gateway. It shares no code with the project's own client.
type client struct {
	fleet *fleet
	id    int
	query string
	wants func(key string) bool
	rnd   *rand.Rand // of the goroutine that dials
	pause time.Duration

	mu      sync.Mutex
	book    *ledger
	current *socket     // whose events are booked
	feeds   []feedWord  // all words on the feed's state
	dials   []time.Time // sockets that were opened
	closes  map[int]int // by code; 1006: without a close frame
	refused map[int]int // upgrades, by status; 0: no answer
	notices int         // "reconnect" notices
	handed  int         // sockets that took over before the old one ended
	alone   int         // times that the only socket ended
	errors  map[string]int

	moves chan move
	tasks sync.WaitGroup
}

// feedWord is what a client was told of the feed.
type feedWord struct {
	at    time.Time
	state string
}

// move is what a socket tells the goroutine of its client.
type move struct {
	socket *socket
	ended  bool
	code   int // of the close frame; 1006: none came
	delay  time.Duration
}

// socket is one connection.
type socket struct {
	client *client
	addr   string
	conn   net.Conn
	in     *bufio.Reader
	since  uint64 // where it resumed; 0: it did not
	write  sync.Mutex
	frame  []byte
	key    []byte
}

// run keeps the client connected until ctx ends.
func (c *client) run(ctx context.Context) {
	defer c.tasks.Wait()
	var live, next *socket
	defer func() {
		for _, s := range []*socket{live, next} {
			if s != nil {
				s.farewell()
			}
		}
	}()
	handing := false
	opened := make(chan *socket, 1)
	hand := func(after time.Duration, not string) {
		handing = true
		c.tasks.Go(func() { opened <- c.connect(ctx, after, not) })
	}
	hand(0, "")
	for {
		select {
		case <-ctx.Done():
			if handing {
				next = <-opened
			}
			return
		case s := <-opened:
			if handing = false; s == nil {
				return
			}
			if live != nil {
				c.count(func() { c.handed++ })
				live.retire()
			}
			live = s
		case m := <-c.moves:
			switch {
			case m.socket != live:
			case m.ended:
				live = nil
				if !handing {
					hand(c.backoff(m), m.socket.addr)
				}
			case !handing: // a notice: the new socket before the old one goes
				hand(m.delay, m.socket.addr)
			}
		}
	}
}

func (c *client) count(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// backoff says how long to wait after an end: where the server says come back, hardly.
func (c *client) backoff(m move) time.Duration {
	if m.code >= 4200 && m.code < 4300 {
		return rand.N(100 * time.Millisecond)
	}
	return rand.N(c.fleet.backoff)
}

// connect dials until a socket is there that is subscribed, or ctx ends. It avoids
// the gateway not, where there is another.
func (c *client) connect(ctx context.Context, after time.Duration, not string) *socket {
	for failures := 0; ; failures++ {
		t := time.NewTimer(after)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
		addr := c.fleet.addrs[c.rnd.IntN(len(c.fleet.addrs))]
		for addr == not && len(c.fleet.addrs) > 1 {
			addr = c.fleet.addrs[c.rnd.IntN(len(c.fleet.addrs))]
		}
		s, err := c.dial(ctx, addr)
		if err == nil {
			return s
		}
		status, _ := errors.AsType[ws.StatusError](err)
		c.count(func() {
			c.refused[int(status)]++
			if status == 0 && ctx.Err() == nil {
				c.errors[kindOf(err)]++
			}
		})
		not = addr
		after = rand.N(min(c.fleet.backoff<<min(failures, 5), 3*time.Second))
	}
}

// dial opens a socket and reads until its subscription is confirmed. From there on
// its events are booked, and no others.
func (c *client) dial(ctx context.Context, addr string) (*socket, error) {
	path := "/v1/stream?" + c.query
	c.mu.Lock()
	since, pos := c.book.since(), c.book.pos
	c.mu.Unlock()
	if since != "" {
		path += "&since=" + since
	}
	d := ws.Dialer{Timeout: c.fleet.silence}
	conn, in, _, err := d.Dial(ctx, "ws://"+addr+path)
	if err != nil {
		return nil, err
	}
	if in == nil {
		in = bufio.NewReaderSize(conn, 2<<10)
	}
	s := &socket{client: c, addr: addr, conn: conn, in: in, since: pos}
	if since == "" {
		s.since = 0
	}
	subscribed := false
	for !subscribed {
		if _, err := s.read(func(m *msg) error {
			switch string(m.typ) {
			case "subscription":
				subscribed = true
				c.mu.Lock()
				c.current = s
				c.dials = append(c.dials, time.Now())
				c.mu.Unlock()
				return nil
			case "success":
				c.mu.Lock()
				defer c.mu.Unlock()
				if e := m.field("epoch"); e != "" && c.book.epoch != "" && e != c.book.epoch && c.book.pos > 0 {
					return nil // the gap tells
				} else if e != "" {
					c.book.epoch = e
				}
				return nil
			case "feed":
				c.count(func() { c.hear(m) })
				return nil
			}
			return s.book(m)
		}); err != nil {
			_ = conn.Close()
			return nil, err
		}
	}
	c.tasks.Go(s.run)
	return s, nil
}

// run reads until the socket ends.
func (s *socket) run() {
	c := s.client
	for {
		code, err := s.read(s.book)
		if err == nil {
			if c.pause > 0 {
				time.Sleep(c.pause) // a slow one
			}
			continue
		}
		_ = s.conn.Close()
		c.mu.Lock()
		mine := c.current == s
		if mine || code != 1006 {
			c.closes[code]++
		}
		if mine {
			c.current = nil
			c.alone++
		}
		if mine && code == 1006 {
			c.errors[kindOf(err)]++
		}
		c.mu.Unlock()
		select {
		case c.moves <- move{socket: s, ended: true, code: code}:
		case <-c.fleet.ctx.Done():
		}
		return
	}
}

var errClosed = errors.New("closed by the server")

// read reads one frame and has each of its messages handled. At the end it gives the
// code.
func (s *socket) read(each func(m *msg) error) (int, error) {
	const gone = 1006
	if err := s.conn.SetReadDeadline(time.Now().Add(s.client.fleet.silence)); err != nil {
		return gone, err
	}
	h, err := ws.ReadHeader(s.in)
	if err != nil {
		return gone, err
	}
	if int(h.Length) > cap(s.frame) {
		s.frame = make([]byte, h.Length)
	}
	s.frame = s.frame[:h.Length]
	if _, err := io.ReadFull(s.in, s.frame); err != nil {
		return gone, err
	}
	switch h.OpCode { //nolint:exhaustive // the rest does not come
	case ws.OpPing:
		return gone, s.send(ws.NewPongFrame(s.frame))
	case ws.OpClose:
		code, _ := ws.ParseCloseFrameData(s.frame)
		_ = s.send(ws.NewCloseFrame(s.frame[:min(2, len(s.frame))]))
		return int(code), errClosed
	case ws.OpText:
		if err := scan(s.frame, each); err != nil {
			s.client.count(func() { s.client.book.mistake("%v", err) })
			return gone, err
		}
		return gone, nil
	}
	return gone, fmt.Errorf("a frame of opcode %d", h.OpCode)
}

func (s *socket) send(f ws.Frame) error {
	s.write.Lock()
	defer s.write.Unlock()
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.client.fleet.silence)); err != nil {
		return err
	}
	f.Payload = append([]byte(nil), f.Payload...)
	return ws.WriteFrame(s.conn, ws.MaskFrameInPlace(f))
}

// book enters a message, unless another socket has taken over.
func (s *socket) book(m *msg) error {
	c := s.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != s {
		return nil
	}
	switch string(m.typ) {
	case "t", "q", "b", "u", "d":
		s.key = append(append(s.key[:0], m.typ...), m.symbol...)
		key, ok := c.fleet.keys[string(s.key)]
		if !ok {
			key = c.fleet.intern(s.key)
		}
		c.book.book(m, key, s.since)
		if !m.snap {
			c.fleet.pulse(time.Now())
		}
	case "feed":
		c.hear(m)
	case "gap":
		c.book.gap(m.field("reason"), fmt.Sprintf("%s at %s: %s", s.addr, time.Now().Format("05.000"), m.raw))
		if e, _, ok := cut(m.field("to")); ok {
			c.book.epoch = e
		}
	case "reconnect":
		c.notices++
		ms, err := strconv.Atoi(m.field("delay_ms"))
		if err != nil {
			c.book.mistake("a notice without its delay: %s", m.raw)
		}
		select {
		case c.moves <- move{socket: s, delay: time.Duration(ms) * time.Millisecond}:
		default: // more than one notice: the first is followed
		}
	case "error":
		c.errors["error "+m.field("code")]++
	}
	return nil
}

// hear notes a word on the feed's state. The client is locked.
func (c *client) hear(m *msg) {
	c.feeds = append(c.feeds, feedWord{time.Now(), m.field("state")})
	if e := m.field("epoch"); e != "" && c.book.epoch == "" {
		c.book.epoch = e
	}
}

// retire lets go of a socket that another has taken over from.
func (s *socket) retire() {
	_ = s.send(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusNormalClosure, "")))
}

// farewell ends a socket at the end of the test.
func (s *socket) farewell() {
	s.retire()
	_ = s.conn.SetReadDeadline(time.Now())
	_ = s.conn.Close()
}

func kindOf(err error) string {
	var sys net.Error
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "end of file"
	case errors.As(err, &sys) && sys.Timeout():
		return "silence"
	}
	inner := err
	for errors.Unwrap(inner) != nil {
		inner = errors.Unwrap(inner)
	}
	return inner.Error()
}

func cut(position string) (epoch, q string, ok bool) {
	for i := range position {
		if position[i] == '-' {
			return position[:i], position[i+1:], true
		}
	}
	return "", "", false
}
