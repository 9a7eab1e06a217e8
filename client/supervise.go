package client

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// stable is how long a connection must have lasted for the count of failures to
// begin anew.
const stable = 10 * time.Second

// supervisor decides when connections are made and which one is in use. One
// goroutine, Run's, owns it.
type supervisor struct {
	c        *Client
	cur      *session    // in use
	next     *session    // is being made, perhaps while cur still delivers
	begun    bool        // next was seen to begin
	timer    *time.Timer // for the next attempt
	planned  bool        // the timer runs
	backing  bool        // it runs because an attempt failed
	endpoint int         // of the next attempt
	failures int         // attempts in a row that failed, or ended soon
	refusals int         // endpoints in a row that refuse for good
	renewed  bool        // a new token was fetched since the last one was good
}

// supervise makes one connection after the other until ctx ends, or there is no
// use in trying.
func (c *Client) supervise(ctx context.Context) error {
	defer c.sessions.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	v := &supervisor{c: c, timer: time.NewTimer(0), endpoint: rand.IntN(len(c.cfg.URLs))}
	defer v.timer.Stop()
	v.planned = true
	for {
		var cur, next session // whose channels nothing ever comes from
		if v.cur != nil {
			cur = session{done: v.cur.done, notice: v.cur.notice}
		}
		if v.next != nil {
			next = session{done: v.next.done, restored: v.next.restored}
			if !v.begun {
				next.beginning = v.next.beginning
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-v.timer.C:
			v.planned, v.backing = false, false
			v.attempt(ctx)
		case <-next.beginning:
			v.begun = true
			if v.cur == nil {
				v.use()
			}
		case <-next.restored:
			v.use()
		case <-next.done:
			if v.cur == nil && !v.begun && v.next.hasBegun() {
				v.use() // it ends next
				continue
			}
			if err := v.failed(); err != nil {
				return err
			}
		case <-cur.done:
			if err := v.dropped(); err != nil {
				return err
			}
		case n := <-cur.notice:
			v.move(n)
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// attempt begins a connection.
func (v *supervisor) attempt(ctx context.Context) {
	c := v.c
	s := newSession(c, c.cfg.URLs[v.endpoint])
	v.next, v.begun = s, false
	c.mu.Lock()
	c.next = s
	c.mu.Unlock()
	if v.cur == nil {
		c.change(func(st *State) {
			st.Phase, st.Attempt, st.Feed, st.URL = Connecting, v.failures, market.Feed{}, s.url
		})
	}
	c.sessions.Go(func() { s.run(ctx) })
}

// use puts the connection that has been made in the place of the one that was in
// use, which leaves politely: what it would still have sent comes from the new
// one.
func (v *supervisor) use() {
	c, old, s := v.c, v.cur, v.next
	v.cur, v.next, v.refusals = s, nil, 0
	settled := c.attach(old, s)
	if old != nil {
		old.retire()
		c.count(func(st *Stats) { st.Moves++ })
	}
	for _, r := range settled {
		close(r.done)
	}
	s.signal()
	c.change(func(st *State) {
		st.Phase, st.Conn, st.URL, st.Feed, st.Throttled, st.Moving, st.Again = Connected, s.name, s.url, s.feed, s.throttled, false, true
	})
}

// failed handles the end of a connection before it came into use.
func (v *supervisor) failed() error {
	c, s := v.c, v.next
	v.next = nil
	c.mu.Lock()
	c.next = nil
	c.mu.Unlock()
	err := s.why
	v.turnTo(err)
	final := v.final(err)
	if final && v.cur == nil {
		return err
	}
	if final { // as long as the old connection lasts, it is used
		c.change(func(st *State) { st.Moving = false })
		return nil
	}
	v.plan(err)
	return nil
}

// dropped handles the end of the connection in use.
func (v *supervisor) dropped() error {
	c, s := v.c, v.cur
	v.cur = nil
	c.detach(s)
	c.count(func(st *Stats) { st.Drops++ })
	err := s.why
	if time.Since(s.since) >= stable {
		v.failures, v.renewed = 0, false
	}
	if v.next != nil && err.missing { // it resumes behind what is missing
		v.next.retire()
		v.next = nil
		c.mu.Lock()
		c.next = nil
		c.mu.Unlock()
	}
	switch {
	case v.next != nil: // it is on its way, and decides
		c.change(func(st *State) {
			st.Phase, st.Err, st.Conn, st.Throttled, st.Moving = Connecting, err, "", false, false
			st.URL = v.next.url
		})
		if v.begun {
			v.use()
		}
		return nil
	case v.backing && err.Retry != RetryNever:
		v.waiting(err)
		return nil
	}
	v.turnTo(err)
	if v.final(err) {
		return err
	}
	v.plan(err)
	return nil
}

// move plans a new connection beside the one in use, which is about to end.
func (v *supervisor) move(n *wire.Reconnect) {
	if v.next != nil || v.planned {
		return
	}
	wait := max(0, n.Delay)
	if time.Since(v.cur.since) >= stable {
		v.failures, v.renewed = 0, false
	} else {
		wait += v.jitter() // who is sent away at once goes on slowly
		v.failures++
	}
	if n.Reason == wire.Drain {
		v.endpoint = (v.endpoint + 1) % len(v.c.cfg.URLs)
	}
	v.schedule(wait)
	v.c.change(func(st *State) { st.Moving = true })
}

// plan plans the next attempt after a failure.
func (v *supervisor) plan(err *Error) {
	wait := v.backoff(err)
	v.failures++
	v.schedule(wait)
	v.backing = true
	if v.cur == nil {
		v.waiting(err)
	}
}

func (v *supervisor) schedule(wait time.Duration) {
	v.timer.Reset(wait)
	v.planned, v.backing = true, false
	v.c.mu.Lock()
	v.c.state.Next = time.Now().Add(wait)
	v.c.mu.Unlock()
}

func (v *supervisor) waiting(err *Error) {
	v.c.change(func(s *State) {
		s.Phase, s.Err, s.Attempt = Waiting, err, v.failures
		s.Throttled, s.Moving, s.Conn = false, false, ""
	})
}

// turnTo chooses the endpoint of the next attempt: another one, unless the
// connection has only to be made anew.
func (v *supervisor) turnTo(err *Error) {
	if err.Retry != RetryNow || err.Close == int(wire.Drain.CloseCode()) {
		v.endpoint = (v.endpoint + 1) % len(v.c.cfg.URLs)
	}
}

// final tells whether there is no use in another attempt. A refusal by HTTP is
// final when all endpoints refuse; credentials, when a new token is refused too.
func (v *supervisor) final(err *Error) bool {
	if err.Retry != RetryNever {
		v.refusals = 0
		return false
	}
	if v.c.cfg.TokenSource != nil && !v.renewed && err.aboutCredentials() {
		v.renewed = true
		return false
	}
	if err.Op == "connect" && err.Close == 0 && !err.aboutCredentials() {
		v.refusals++
		return v.refusals >= len(v.c.cfg.URLs)
	}
	return true
}

// backoff gives the wait before the next attempt: full jitter below a limit that
// doubles with each failure in a row. Even where the gateway asks to come back at
// once, that holds from the second time on.
func (v *supervisor) backoff(err *Error) time.Duration {
	if err.Retry == RetryNow && v.failures == 0 {
		return err.After
	}
	return err.After + v.jitter()
}

// jitter doubles its limit when each endpoint has had its turn.
func (v *supervisor) jitter() time.Duration {
	cfg := &v.c.cfg
	limit := cfg.MinBackoff
	for range v.failures / len(cfg.URLs) {
		if limit > cfg.MaxBackoff/2 {
			limit = cfg.MaxBackoff
			break
		}
		limit *= 2
	}
	return cfg.random(limit)
}
