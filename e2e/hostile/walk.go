package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
)

// walkSymbols is how many symbols exist for the walk.
const walkSymbols = 5000

func walkAttack() attack {
	return attack{
		name: "walk", text: "9 clients, one with delayed prices, one with a narrow grant, one without a key, make up commands within their limits (--seed)",
		symbols: walkSymbols, play: walk,
	}
}

// walk has clients take random steps. Each follows from the seed alone.
func walk(ctx context.Context, t *target, c *tally) error {
	each(9, func(i int) {
		w := &walker{t: t, c: c, rnd: rand.New(rand.NewPCG(t.Seed, uint64(i))), addr: t.Gateway, user: user{t.Users[i], t.address(i)}}
		switch i {
		case 6:
			w.user.key = t.Late
		case 7:
			w.user.key = t.Narrow
		case 8:
			w.user.key, w.addr = key{}, t.Open
		}
		w.http = newClient(w.addr, w.user)
		defer w.http.close()
		for ctx.Err() == nil {
			if err := w.live(ctx); err != nil && ctx.Err() == nil {
				c.count("%s", refused(err))
				_ = pause(ctx, time.Second)
			}
		}
	})
	return nil
}

// walker is one client.
type walker struct {
	t    *target
	c    *tally
	rnd  *rand.Rand
	user user
	addr string
	http *client

	held    []command // what it may be subscribed to
	refused atomic.Int32
	epoch   atomic.Int64
	last    atomic.Int64 // position
}

// live walks on one socket until that ends, or the walk reopens it.
func (w *walker) live(ctx context.Context) error {
	s, reader, err := w.open(ctx, w.url())
	if err != nil {
		return err
	}
	defer reader.Wait()
	defer s.end()
	w.held = nil
	for ctx.Err() == nil && !s.over.Load() {
		switch n := w.refused.Swap(0); {
		case n > 3: // twenty in a row would end the socket
			_ = pause(ctx, 2*time.Second)
			err = s.send(command{"action": "list"})
		case n > 0:
			_ = pause(ctx, time.Second)
		default:
			var reopen bool
			if reopen, err = w.step(ctx, s); reopen {
				return nil
			}
		}
		if err != nil {
			return nil // the reader learns how the socket ended
		}
		_ = pause(ctx, beat)
	}
	return nil
}

// walked is a walker's socket, with how it may end.
type walked struct {
	*socket
	over   atomic.Bool // it ended, or the walker let go of it
	expect atomic.Int32
	closed chan struct{}
}

func (s *walked) end() {
	s.over.Store(true)
	s.reset()
}

// open opens a socket that is read until its end.
func (w *walker) open(ctx context.Context, path string) (*walked, *sync.WaitGroup, error) {
	one, err := w.user.open(ctx, w.addr, path)
	if err != nil {
		if status, ok := errors.AsType[ws.StatusError](err); ok && status >= 500 {
			w.c.fault("GET %.40s: %d", path, int(status))
		}
		return nil, nil, err
	}
	s := &walked{socket: one, closed: make(chan struct{})}
	var reader sync.WaitGroup
	stop := context.AfterFunc(ctx, s.end)
	reader.Go(func() {
		defer stop()
		defer close(s.closed)
		code := s.read(w.check)
		ours := s.over.Swap(true)
		switch {
		case ours || int32(code) == s.expect.Load():
		case code == 4102: // the attacker's process comes last, and may be slow
			w.c.count("closed as slow")
		default:
			w.c.fault("closed with %d", code)
		}
	})
	return s, &reader, nil
}

// step takes one step.
func (w *walker) step(ctx context.Context, s *walked) (reopen bool, err error) {
	n := w.rnd.IntN(100)
	switch {
	case n < 30:
		cmd := w.topics("subscribe")
		w.held = append(w.held[max(0, len(w.held)-20):], cmd)
		if w.rnd.IntN(3) == 0 {
			cmd["snapshot"] = false
		}
		return false, w.send(s, cmd)
	case n < 42 && len(w.held) > 0:
		cmd := command{}
		for k, v := range w.held[w.rnd.IntN(len(w.held))] {
			if _, ok := v.([]string); ok {
				cmd[k] = v
			}
		}
		cmd["action"] = "unsubscribe"
		return false, w.send(s, cmd)
	case n < 48:
		return false, w.send(s, w.some("subscribe", []string{"*"}))
	case n < 54:
		return false, w.send(s, w.some("unsubscribe", []string{"*"}))
	case n < 60:
		cmd := w.topics("subscribe")
		cmd["since"] = w.since()
		return false, w.send(s, cmd)
	case n < 64:
		return false, w.send(s, command{"action": "list"})
	case n < 68:
		return false, w.send(s, command{"action": "ping", "id": n})
	case n < 74:
		cmd := w.topics("subscribe")
		cmd["delivery"] = []string{"latest", "adaptive", "every"}[w.rnd.IntN(3)]
		if cmd["delivery"] == "latest" {
			cmd["interval_ms"] = []int{0, 100, 10_000}[w.rnd.IntN(3)]
		}
		cmd["hb_ms"] = []int{1000, 60_000}[w.rnd.IntN(2)]
		return false, w.send(s, cmd)
	case n < 77:
		return true, nil
	case n < 82:
		w.sessions(ctx)
	case n < 85:
		w.eventStream(ctx)
	default:
		w.rest(ctx)
	}
	return false, nil
}

func (w *walker) send(s *walked, cmd command) error {
	w.c.count("commands: %s", cmd["action"])
	return s.send(cmd)
}

// names makes up a list of symbols, which exist or do not.
func (w *walker) names() []string {
	n := []int{1, 5, 30, 100, realBatch}[w.rnd.IntN(5)]
	if w.rnd.IntN(2) == 0 {
		return invented(w.t, w.rnd.IntN(1_000_000), n)
	}
	var out []string
	for range n {
		out = append(out, w.t.Symbols[w.rnd.IntN(len(w.t.Symbols))])
	}
	return out
}

// some makes a command of symbols on some channels.
func (w *walker) some(action string, symbols []string) command {
	cmd := command{"action": action}
	all := channels()
	for _, i := range w.rnd.Perm(len(all))[:1+w.rnd.IntN(len(all))] {
		cmd[all[i]] = symbols
	}
	return cmd
}

func (w *walker) topics(action string) command { return w.some(action, w.names()) }

// since is a position before or behind the last one, near or far.
func (w *walker) since() string {
	q := w.last.Load() + []int64{0, -1, -256, -100_000, -10_000_000, 1, 256, 1_000_000}[w.rnd.IntN(8)]
	return fmt.Sprintf("%d-%d", w.epoch.Load(), max(1, q))
}

// url asks for some topics, or nothing.
func (w *walker) url() string {
	if w.rnd.IntN(2) == 0 {
		return "/v1/stream"
	}
	path := "/v1/stream?" + query(w.topics(""))
	if w.epoch.Load() > 0 && w.rnd.IntN(2) == 0 {
		path += "&since=" + w.since()
	}
	return path
}

func query(cmd command) string {
	var parts []string
	for name, v := range cmd {
		if list, ok := v.([]string); ok {
			parts = append(parts, name+"="+strings.Join(list, ","))
		}
	}
	return strings.Join(parts, "&")
}

// sessions makes a session, attaches to it twice, so that the second socket takes it
// over, and deletes it.
func (w *walker) sessions(ctx context.Context) {
	body := w.topics("")
	delete(body, "action")
	id := newSession(ctx, w.http, w.c, body)
	if id == "" {
		return
	}
	w.call(ctx, http.MethodGet, "/v1/sessions/"+id)
	w.call(ctx, http.MethodPatch, "/v1/sessions/"+id)
	var before *walked
	for range 2 {
		s, reader, err := w.open(ctx, "/v1/stream?session_id="+id)
		if err != nil {
			w.c.count("%s", refused(err))
			break
		}
		defer reader.Wait()
		defer s.end()
		s.expect.Store(4005)
		if before != nil {
			w.wait(ctx, before, "taken over")
			s.expect.Store(4003)
		}
		before = s
	}
	dropSession(ctx, w.http, w.c, id)
	if before != nil && before.expect.Load() == 4003 {
		w.wait(ctx, before, "deleted")
	}
}

// wait waits for a socket that must end.
func (w *walker) wait(ctx context.Context, s *walked, what string) {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-s.closed:
		w.c.count("sockets whose session was %s", what)
	case <-late.C:
		w.c.fault("a socket whose session was %s goes on", what)
	case <-ctx.Done():
	}
}

func (w *walker) eventStream(ctx context.Context) {
	resp, err := w.http.send(ctx, http.MethodGet, "/v1/events?"+query(w.topics("")), nil)
	if err != nil {
		called(ctx, w.c, "event stream", 0, nil, err)
		return
	}
	called(ctx, w.c, "event stream", resp.StatusCode, nil, errors.Join(pause(ctx, 5*beat), resp.Body.Close()))
}

func (w *walker) rest(ctx context.Context) {
	symbols := strings.Join(w.names(), ",")
	paths := []string{
		"/v2/stocks/snapshots?symbols=", "/v2/stocks/trades/latest?symbols=", "/v2/stocks/quotes/latest?symbols=", "/v2/stocks/bars/latest?symbols=",
		"/v2/stocks/bars?timeframe=1Min&symbols=", "/v2/stocks/bars?timeframe=1Day&limit=10000&sort=desc&symbols=", "/v1/symbols?prefix=",
	}
	i := w.rnd.IntN(len(paths))
	if i == len(paths)-1 {
		symbols = symbols[:1]
	}
	w.call(ctx, http.MethodGet, paths[i]+symbols)
}

// call calls over HTTP; what comes back must be JSON.
func (w *walker) call(ctx context.Context, method, path string) {
	status, body, err := w.http.do(ctx, method, path, nil)
	called(ctx, w.c, method, status, body, err)
	if err == nil && len(body) > 0 && !json.Valid(body) {
		w.c.fault("%s %.60s: malformed answer %.100s", method, path, body)
	}
}

// kindsOfMessages are the values of T.
const kindsOfMessages = " success error subscription t q b u d s hb feed gap throttle pong expiring reconnect "

// check looks at a frame: it is an array of messages that the protocol knows.
func (w *walker) check(frame []byte) {
	var all []struct {
		T     string          `json:"T"`
		Time  json.RawMessage `json:"t"` // or it would be taken for T
		Code  int             `json:"code"`
		Epoch int64           `json:"epoch"`
		Q     int64           `json:"q"`
	}
	if err := json.Unmarshal(frame, &all); err != nil || len(all) == 0 {
		w.c.fault("malformed frame: %.100s", frame)
		return
	}
	for _, m := range all {
		switch {
		case m.T == "" || !strings.Contains(kindsOfMessages, " "+m.T+" "):
			w.c.fault("unknown message: %.100s", frame)
		case m.T == "error":
			w.refused.Add(1)
			w.c.count("error %d", m.Code)
			if !refusal(m.Code) {
				w.c.fault("error %d: %.200s", m.Code, frame)
			}
		case m.T == "feed" && !bytes.HasPrefix(frame, []byte(`[{"T":"feed","state":"live"`)):
			w.c.count("told that the feed is stale or down")
		}
		if m.Epoch > 0 {
			w.epoch.Store(m.Epoch)
		}
		w.last.Store(max(w.last.Load(), m.Q))
	}
}
