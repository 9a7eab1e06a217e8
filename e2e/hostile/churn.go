package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gobwas/ws"
)

// few is how many symbols exist where an attack invents its own.
const few = 100

// churns are the attacks by symbols that nobody has ever heard of.
func churns() []attack {
	sockets := func(n int) func(context.Context, *target, *tally) error {
		return func(ctx context.Context, t *target, c *tally) error {
			each(n, func(i int) { churn(ctx, t, c, t.user(i), i) })
			return nil
		}
	}
	return []attack{
		{name: "churn-1", text: "a socket subscribes to 340 invented symbols on all channels and leaves them, 10 commands a second", symbols: few, play: sockets(1)},
		{name: "churn-2", text: "the same by 2 sockets", symbols: few, play: sockets(2)},
		{name: "churn-50", text: "the same by 50 sockets of 10 users", symbols: few, play: sockets(50)},
		{name: "churn-late", text: "the same by 2 sockets of a user who sees delayed prices", symbols: few, play: func(ctx context.Context, t *target, c *tally) error {
			each(2, func(i int) { churn(ctx, t, c, user{t.Late, t.address(i)}, i) })
			return nil
		}},
		{name: "churn-reopen", text: "a client subscribes to 1,020 invented symbols on all channels and drops its socket, 5 times a second", symbols: few, play: churnReopen},
		{name: "churn-rest", text: "10 users ask for prices of invented symbols over REST", symbols: few, play: churnREST},
		{name: "churn-sessions", text: "10 users make sessions with invented symbols, attach to them and delete them", symbols: few, play: churnSessions},
		{name: "churn-events", text: "10 users open event streams of invented symbols and drop them", symbols: few, play: churnEvents},
		{name: "idle", text: "12 idle sockets with 1,024 invented symbols each on all channels", symbols: few, play: idleSockets},
	}
}

// batch is how many symbols on all channels fit into one message.
const batch = 340

// invented makes up n symbols, never the same for different numbers below a million.
func invented(t *target, first, n int) []string {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	out := make([]string, n)
	for i := range out {
		v := (int(t.Seed%1000)*1000 + first + i) % (10 * 62 * 62 * 62)
		out[i] = string([]byte{letters[v/(62*62*62)], letters[v/(62*62)%62], letters[v/62%62], letters[v%62]})
	}
	return out
}

// beat paces commands: a socket may send 10 a second.
const beat = 100 * time.Millisecond

// churn plays one socket. One that is ended comes again.
func churn(ctx context.Context, t *target, c *tally, u user, n int) {
	for first := n * 100_000; ctx.Err() == nil; {
		s, err := u.open(ctx, t.Gateway, "/v1/stream")
		if err != nil {
			c.count("%s", refused(err))
			_ = pause(ctx, time.Second)
			continue
		}
		play(ctx, c, s, func() error {
			names := invented(t, first, batch)
			first += batch
			if err := s.send(about("subscribe", names...)); err != nil {
				return err
			}
			if err := pause(ctx, beat); err != nil {
				return err
			}
			return s.send(about("unsubscribe", names...))
		})
	}
}

// churnReopen sends what a new socket may send at once, and takes the next one.
func churnReopen(ctx context.Context, t *target, c *tally) error {
	for first := 0; ctx.Err() == nil; _ = pause(ctx, beat) {
		s, err := t.user(0).open(ctx, t.Gateway, "/v1/stream")
		if err != nil {
			c.count("%s", refused(err))
			_ = pause(ctx, time.Second)
			continue
		}
		short, cancel := context.WithTimeout(ctx, beat)
		n := 0
		play(short, c, s, func() error {
			for ; n < 3; n++ {
				if err := s.send(about("subscribe", invented(t, first, batch)...)); err != nil {
					return err
				}
				first += batch
			}
			return nil
		})
		cancel()
	}
	return nil
}

// play sends commands on a socket, one or more each beat, until one fails or the
// attack is over, and counts what comes back.
func play(ctx context.Context, c *tally, s *socket, next func() error) {
	playWith(ctx, c, s, func([]byte) {}, next)
}

// playWith is play that hands out what comes back, too.
func playWith(ctx context.Context, c *tally, s *socket, seen func(frame []byte), next func() error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	over := context.AfterFunc(ctx, s.reset)
	defer over()
	each(2, func(i int) {
		if i == 1 {
			for next() == nil && pause(ctx, beat) == nil {
				c.count("commands")
			}
			cancel()
			return
		}
		code := s.read(func(frame []byte) {
			seen(frame)
			answered(c, frame)
		})
		if ctx.Err() == nil {
			closed(c, code)
		}
		cancel()
	})
}

// answered counts an answer to an attacker who keeps within the limits: it may be
// refused, in words.
func answered(c *tally, frame []byte) {
	switch {
	case bytes.HasPrefix(frame, []byte(`[{"T":"error"`)):
		var m []struct {
			Code int
			Msg  string
		}
		if err := json.Unmarshal(frame, &m); err != nil || len(m) != 1 {
			c.fault("malformed error: %.100s", frame)
			return
		}
		c.count("error %d", m[0].Code)
		if !refusal(m[0].Code) {
			c.fault("error %d %s: want 405 or 429", m[0].Code, m[0].Msg)
		}
	case bytes.HasPrefix(frame, []byte(`[{"T":"subscription"`)):
		c.count("acknowledged")
	case bytes.HasPrefix(frame, []byte(`[{"T":"feed"`)) && !bytes.HasPrefix(frame, []byte(`[{"T":"feed","state":"live"`)):
		c.count("told that the feed is stale or down")
	}
}

// refusal reports whether an error is one that an attacker may get: for too much of
// something, or because its process comes last and is slow (407).
func refusal(code int) bool { return code == 405 || code == 406 || code == 407 || code == 429 }

// closed counts the end of an attacker's socket.
func closed(c *tally, code ws.StatusCode) {
	c.count("closed with %d", code)
	switch code {
	case 0, 4004, 4101, 4102, 4103: // cut off, or refused over and over
	default:
		c.fault("closed with %d", code)
	}
}

// called counts the answer to a call over HTTP. 5xx is never right.
func called(ctx context.Context, c *tally, what string, status int, body []byte, err error) {
	switch {
	case ctx.Err() != nil:
	case err != nil:
		c.count("%s: cut off", what)
	case status >= 500:
		c.fault("%s: %d %.200s", what, status, body)
	default:
		c.count("%s: %d", what, status)
	}
}

func churnREST(ctx context.Context, t *target, c *tally) error {
	paths := []string{"snapshots?", "trades/latest?", "quotes/latest?", "bars/latest?", "bars?timeframe=1Min&"}
	each(hostileUsers, func(i int) {
		h := newClient(t.Gateway, t.user(i*5))
		defer h.close()
		for n := i; ctx.Err() == nil; n++ {
			names := strings.Join(invented(t, n*1000, 1000), ",")
			status, body, err := h.do(ctx, http.MethodGet, "/v2/stocks/"+paths[n%len(paths)]+"symbols="+names, nil)
			called(ctx, c, "REST", status, body, err)
			_ = pause(ctx, beat)
		}
	})
	return nil
}

// churnSessions makes sessions, with a socket each for a moment.
func churnSessions(ctx context.Context, t *target, c *tally) error {
	each(hostileUsers, func(i int) {
		h := newClient(t.Gateway, t.user(i*5))
		defer h.close()
		for n := 0; ctx.Err() == nil; n++ {
			body := about("", invented(t, i*100_000+n*batch, batch)...)
			delete(body, "action")
			id := newSession(ctx, h, c, body)
			if id == "" {
				_ = pause(ctx, time.Second)
				continue
			}
			s, err := h.open(ctx, t.Gateway, "/v1/stream?session_id="+id)
			if err != nil {
				c.count("%s", refused(err))
			} else {
				_ = pause(ctx, beat)
				s.reset()
			}
			dropSession(ctx, h, c, id)
			_ = pause(ctx, beat)
		}
	})
	return nil
}

// newSession makes a session and returns its id; "" if it is refused.
func newSession(ctx context.Context, h *client, c *tally, body command) string {
	text, err := json.Marshal(body)
	if err != nil {
		c.fault("%v", err)
		return ""
	}
	status, answer, err := h.do(ctx, http.MethodPost, "/v1/sessions", text)
	called(ctx, c, "session", status, answer, err)
	var made struct {
		ID string `json:"session_id"`
	}
	if err != nil || status != http.StatusCreated {
		return ""
	}
	if err := json.Unmarshal(answer, &made); err != nil || made.ID == "" {
		c.fault("malformed session: %.100s", answer)
	}
	return made.ID
}

// dropSession deletes a session, even if the attack is over.
func dropSession(ctx context.Context, h *client, c *tally, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	for {
		status, body, err := h.do(ctx, http.MethodDelete, "/v1/sessions/"+id, nil)
		called(ctx, c, "session deleted", status, body, err)
		if status != http.StatusTooManyRequests || pause(ctx, time.Second) != nil {
			return
		}
	}
}

func churnEvents(ctx context.Context, t *target, c *tally) error {
	each(hostileUsers, func(i int) {
		h := newClient(t.Gateway, t.user(i*5))
		defer h.close()
		for n := 0; ctx.Err() == nil; n++ {
			names := strings.Join(invented(t, i*100_000+n*500, 500), ",")
			resp, err := h.send(ctx, http.MethodGet, fmt.Sprintf("/v1/events?trades=%s&quotes=%s&bars=%s&statuses=%s", names, names, names, names), nil)
			if err == nil {
				called(ctx, c, "event stream", resp.StatusCode, nil, errors.Join(pause(ctx, beat), resp.Body.Close()))
			} else {
				called(ctx, c, "event stream", 0, nil, err)
			}
			_ = pause(ctx, beat)
		}
	})
	return nil
}

func idleSockets(ctx context.Context, t *target, c *tally) error {
	each(12, func(i int) {
		s, err := t.user(i).open(ctx, t.Gateway, "/v1/stream")
		if err != nil {
			c.count("%s", refused(err))
			return
		}
		n := 0
		play(ctx, c, s, func() error {
			if n++; n > 4 {
				return pause(ctx, time.Hour)
			}
			return s.send(about("subscribe", invented(t, i*1024+(n-1)*256, 256)...))
		})
	})
	return nil
}
