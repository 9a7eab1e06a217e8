package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/lzstock/lzstock/internal/wire"
)

// crew drives a share of the clients with a goroutine each, where there is no
// epoll, or TLS.
type crew struct {
	f         *fleet
	index, of int

	mu     sync.Mutex
	reader reader // guarded by mu; nothing is waited for under it
}

// hand is a client of a crew.
type hand struct {
	id     int
	temper temper
	stop   context.CancelFunc // it is not wanted any more
	mu     sync.Mutex
	drop   context.CancelFunc // of the connection that is there; nil: there is none
}

func driveCrew(ctx context.Context, f *fleet, index, of int) error {
	c := &crew{f: f, index: index, of: of}
	c.reader.t = f.blank()
	var all sync.WaitGroup
	var hands []*hand
	tick := time.NewTicker(busyCrew)
	defer tick.Stop()
	var churn float64
	publish := time.Now()
	for ended := false; !ended; {
		select {
		case <-ctx.Done():
			ended = true
		case <-tick.C:
		}
		want := part(int(f.want.Load()), index, of)
		if order(f.order.Load()) != run {
			want, ended = 0, true
		}
		for len(hands) < want {
			id := index + len(hands)*of
			own, stop := context.WithCancel(ctx)
			h := &hand{id: id, temper: f.temper(id), stop: stop}
			hands = append(hands, h)
			all.Go(func() { c.live(own, h) })
		}
		for len(hands) > want {
			hands[len(hands)-1].stop()
			hands = hands[:len(hands)-1]
		}
		measured := f.measuring.Load()
		if measured { // a ramp is only over when all are there at once
			churn += float64(f.cfg.Churn) / float64(of) * busyCrew.Seconds()
		}
		for ; churn >= 1; churn-- {
			if len(hands) > 0 && hands[rand.IntN(len(hands))].leave() {
				c.count(func(t *tally) { t.churned++ })
			}
		}
		if time.Since(publish) >= publishEvery || c.measured() != measured {
			publish = time.Now()
			c.publish(ctx)
		}
	}
	all.Wait()
	c.publish(ctx)
	return nil
}

const busyCrew = 20 * time.Millisecond

func (c *crew) measured() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reader.t.measured
}

func (c *crew) publish(ctx context.Context) {
	fresh := c.f.blank()
	fresh.measured = c.f.measuring.Load()
	c.mu.Lock()
	full := c.reader.t
	c.reader.t = fresh
	c.mu.Unlock()
	select {
	case c.f.full <- full:
	case <-ctx.Done():
	}
}

func (c *crew) count(f func(t *tally)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c.reader.t)
}

// leave makes the client come back on a new connection.
func (h *hand) leave() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.drop == nil {
		return false
	}
	h.drop()
	return true
}

// live connects again and again, until the client is not wanted any more.
func (c *crew) live(ctx context.Context, h *hand) {
	for fails := 0; ctx.Err() == nil; {
		if c.once(ctx, h) {
			fails = 0
		} else {
			fails++
		}
		select {
		case <-ctx.Done():
		case <-time.After(rest(fails)):
		}
	}
}

// once lives through one connection, and tells whether the client ended it.
func (c *crew) once(ctx context.Context, h *hand) bool {
	begun := time.Now()
	conn, err := c.dial(ctx, h)
	if err != nil {
		if ctx.Err() == nil {
			c.count(func(t *tally) { t.failed[cause(err)]++ })
		}
		return false
	}
	defer conn.Close()
	own, drop := context.WithCancel(ctx)
	defer drop()
	v := &visit{crew: c, hand: h, ctx: own, conn: conn, begun: begun}
	freed := make(chan struct{})
	stop := context.AfterFunc(own, func() {
		_ = conn.SetDeadline(time.Now())
		close(freed)
	})
	defer stop()
	request, then := c.f.request(h.id)
	if _, err = conn.Write(request); err == nil {
		err = v.shake()
	}
	if err != nil {
		v.refused(err)
		return false
	}
	c.f.open.Add(1)
	defer c.f.open.Add(-1)
	h.set(drop)
	defer h.set(nil)
	if _, err = conn.Write(then); err == nil {
		err = v.stay()
	}
	switch {
	case own.Err() == nil:
		v.ended(err)
		return false
	case order(c.f.order.Load()) != vanish:
		if !stop() {
			<-freed // its deadline would cut the farewell short
		}
		v.farewell()
	}
	c.count(func(t *tally) {
		if byServer(v.in.closed) {
			t.closes[closing{v.in.closed, h.temper.group()}]++
		} else {
			t.left++
		}
	})
	return true
}

func (h *hand) set(drop context.CancelFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop = drop
}

func (c *crew) dial(ctx context.Context, h *hand) (net.Conn, error) {
	limited, cancel := context.WithTimeout(ctx, shakeLimit)
	defer cancel()
	var d net.Dialer
	if a := c.f.source(h.id); a.IsValid() {
		d.LocalAddr = &net.TCPAddr{IP: a.AsSlice()}
	}
	conn, err := d.DialContext(limited, "tcp", c.f.target.String())
	if err != nil || c.f.tls == nil {
		return conn, err
	}
	secure := tls.Client(conn, c.f.tls)
	if err := secure.HandshakeContext(limited); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secure, nil
}

// visit is one connection of a hand.
type visit struct {
	ctx   context.Context //nolint:containedctx // the fate of the connection
	crew  *crew
	hand  *hand
	conn  net.Conn
	begun time.Time
	in    stream
	buf   []byte
	had   int // bytes of an incomplete frame, at the beginning of buf
}

// within sets the time by which the next calls must be done; zero is none. The end
// of the visit's context, which sets one that is over, has the last word.
func (v *visit) within(limit time.Time) error {
	err := v.conn.SetDeadline(limit)
	if v.ctx.Err() != nil {
		return v.ctx.Err()
	}
	return err
}

// shake waits for the answer to the upgrade.
func (v *visit) shake() error {
	v.buf = make([]byte, 4<<10)
	if err := v.within(time.Now().Add(shakeLimit)); err != nil {
		return err
	}
	for !v.in.upgraded {
		if err := v.read(len(v.buf)); err != nil {
			return err
		}
	}
	v.crew.count(func(t *tally) {
		t.opened++
		record(t.shake, int64(time.Since(v.begun)))
	})
	return nil
}

// read reads once, at most so many bytes.
func (v *visit) read(most int) error {
	n, err := v.conn.Read(v.buf[v.had:min(v.had+most, len(v.buf))])
	if n == 0 {
		return err
	}
	now := time.Now().UnixNano()
	c := v.crew
	c.mu.Lock()
	used, need, bad := c.reader.take(&v.in, v.hand.temper.group(), now, v.buf[:v.had+n])
	reply := append([]byte(nil), c.reader.reply...)
	c.mu.Unlock()
	left := v.buf[used : v.had+n]
	if need = max(need, len(left)+1); need > len(v.buf) {
		v.buf = make([]byte, need+need/2)
	}
	v.had = copy(v.buf, left)
	if len(reply) > 0 {
		if _, err := v.conn.Write(reply); err != nil {
			return err
		}
	}
	if v.in.closed != 0 {
		return errClosed
	}
	return bad
}

// closedAbnormally is the code of a connection that ended without a close frame.
const closedAbnormally = 1006

var errClosed = errors.New("the server closed the connection")

// stay reads in the client's manner until the connection ends, from either side.
func (v *visit) stay() error {
	if err := v.within(time.Time{}); err != nil {
		return err
	}
	switch v.hand.temper {
	case stalled:
		<-v.ctx.Done()
		return v.ctx.Err()
	case dripping:
		tick := time.NewTicker(dripEvery)
		defer tick.Stop()
		for {
			if err := v.read(dripBytes); err != nil {
				return err
			}
			select {
			case <-v.ctx.Done():
				return v.ctx.Err()
			case <-tick.C:
			}
		}
	case eager:
	}
	for {
		if err := v.read(len(v.buf)); err != nil {
			return err
		}
	}
}

// refused notes why the upgrade was not accepted.
func (v *visit) refused(err error) {
	var r *refusal
	v.crew.count(func(t *tally) {
		switch {
		case errors.As(err, &r):
			t.refused[r.status]++
		case v.ctx.Err() == nil:
			t.failed[cause(err)]++
		}
	})
}

// ended notes how the server ended the connection.
func (v *visit) ended(err error) {
	code := v.in.closed
	if code == 0 {
		code = closedAbnormally
	}
	of := v.hand.temper.group()
	v.crew.count(func(t *tally) {
		if errors.Is(err, errBadFrame) {
			t.counts[of].Bad++
		}
		t.closes[closing{code, of}]++
	})
}

// farewell sends a close frame, and waits for the server's answer for a while.
func (v *visit) farewell() {
	if v.conn.SetDeadline(time.Now().Add(leaveLimit)) != nil {
		return
	}
	_, _ = v.conn.Write(appendMasked(nil, wire.OpClose, []byte{1000 >> 8, 1000 & 0xff})) // the end comes all the same
	for v.in.closed == 0 {
		if v.read(len(v.buf)) != nil {
			return
		}
	}
}
