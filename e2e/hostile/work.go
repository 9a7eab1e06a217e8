package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
)

// many is how many symbols exist where an attack has the gateway work for them.
const many = 20_000

// realBatch is how many symbols that exist fit into one message on all channels.
const realBatch = 240

// works are the attacks by commands that are dear, on symbols that exist.
func works() []attack {
	pair := func(next func(t *target, s *attacking, n int) []command) func(context.Context, *target, *tally) error {
		return func(ctx context.Context, t *target, c *tally) error {
			each(2, func(i int) { repeat(ctx, t, c, i, next) })
			return nil
		}
	}
	return []attack{
		{name: "star", text: "2 clients subscribe to * on all channels and leave it again", symbols: many, greatest: true, play: pair(
			func(*target, *attacking, int) []command {
				return []command{about("subscribe", "*"), about("unsubscribe", "*")}
			})},
		{name: "star-delivery", text: "2 clients with * change how they want it delivered", symbols: many, play: pair(
			func(_ *target, _ *attacking, n int) []command {
				cmd := about("subscribe", "*")
				cmd["delivery"] = []string{"latest", "adaptive", "every"}[n%3]
				if n%3 == 0 {
					cmd["interval_ms"] = 100
				}
				return []command{cmd}
			})},
		{name: "resume", text: "2 clients resume 1,000 symbols from the beginning, again and again", symbols: many, play: pair(
			func(t *target, s *attacking, _ int) []command {
				names := t.Symbols[:min(len(t.Symbols), 1000)]
				back := command{"action": "subscribe", "trades": names, "since": fmt.Sprintf("%d-1", s.epoch.Load())}
				return []command{back, {"action": "unsubscribe", "trades": names}}
			})},
		{name: "snapshots", text: "2 clients take the current values of 240 symbols on all channels, again and again", symbols: many, play: pair(
			func(t *target, _ *attacking, n int) []command {
				names := t.Symbols[n*realBatch%max(1, len(t.Symbols)-realBatch):]
				names = names[:min(len(names), realBatch)]
				return []command{about("subscribe", names...), about("unsubscribe", names...)}
			})},
		{name: "rest", text: "10 users ask for snapshots, the latest values and bars of 1,000 symbols over REST", symbols: many, play: askREST},
	}
}

// attacking is an attacker's socket.
type attacking struct {
	*socket
	epoch atomic.Int64 // that the greeting named
}

// repeat plays one socket that sends the commands of each round. One that is ended comes
// again.
func repeat(ctx context.Context, t *target, c *tally, i int, next func(*target, *attacking, int) []command) {
	for n := 0; ctx.Err() == nil; {
		s, err := t.user(i*5).open(ctx, t.Gateway, "/v1/stream")
		if err != nil {
			c.count("%s", refused(err))
			_ = pause(ctx, beat)
			continue
		}
		a := &attacking{socket: s}
		var ready []command
		playWith(ctx, c, s, a.greeting, func() error {
			if a.epoch.Load() == 0 {
				return nil // the greeting is on its way
			}
			if len(ready) == 0 {
				ready = next(t, a, n)
				n++
			}
			cmd := ready[0]
			ready = ready[1:]
			return s.send(cmd)
		})
	}
}

func (a *attacking) greeting(frame []byte) {
	if !bytes.HasPrefix(frame, []byte(`[{"T":"success","msg":"connected"`)) {
		return
	}
	var m []struct{ Epoch int64 }
	if json.Unmarshal(frame, &m) == nil && len(m) == 1 {
		a.epoch.Store(m[0].Epoch)
	}
}

func askREST(ctx context.Context, t *target, c *tally) error {
	paths := []string{"snapshots?", "trades/latest?", "quotes/latest?", "bars/latest?", "bars?timeframe=1Min&limit=10000&"}
	each(hostileUsers, func(i int) {
		h := newClient(t.Gateway, t.user(i*5))
		defer h.close()
		for n := i; ctx.Err() == nil; n++ {
			status, body, err := h.do(ctx, http.MethodGet, "/v2/stocks/"+paths[n%len(paths)]+"symbols="+strings.Join(some(t.Symbols, 1000), ","), nil)
			called(ctx, c, "REST", status, body, err)
			_ = pause(ctx, beat)
		}
	})
	return nil
}

// some returns n symbols in a row, or all.
func some(symbols []string, n int) []string {
	if len(symbols) <= n {
		return symbols
	}
	i := rand.IntN(len(symbols) - n)
	return symbols[i : i+n]
}
