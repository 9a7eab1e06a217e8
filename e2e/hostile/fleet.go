package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// The phases of a measurement.
const (
	idle int32 = iota
	peace
	war
	aftermath // the attackers left
	phases
)

// fleet is the healthy clients: several users, an address each, one topic each.
type fleet struct {
	phase atomic.Int32
	left  atomic.Int64 // when the attackers left; Unix ns
	all   []*healthy
	tasks sync.WaitGroup
	stop  context.CancelFunc
}

// healthy is one client. It wants every event, so it knows of each that it lost.
type healthy struct {
	f    *fleet
	s    *socket
	late bool

	mu    sync.Mutex
	last  int64     // position of its last event
	asked time.Time // when a ping went out that was not answered yet
	seen  [phases]notice
}

// notice is what clients noticed in a phase.
type notice struct {
	ages   []int32 // of prices, µs
	ping   time.Duration
	stale  map[string]int // messages that the feed is stale or down, by reason
	gaps   int
	losses int // events that do not follow the one before
	ends   int // sockets that ended
}

func (n *notice) add(m notice) {
	n.ages = append(n.ages, m.ages...)
	n.ping = max(n.ping, m.ping)
	n.gaps, n.losses, n.ends = n.gaps+m.gaps, n.losses+m.losses, n.ends+m.ends
	for reason, times := range m.stale {
		if n.stale == nil {
			n.stale = map[string]int{}
		}
		n.stale[reason] += times
	}
}

// connect connects n healthy clients. One of ten sees delayed prices.
func connect(ctx context.Context, s *system, n int) (*fleet, error) {
	ctx, stop := context.WithCancel(ctx)
	f := &fleet{stop: stop}
	names := []string{"AAPL", "MSFT", "NVDA", "AMZN", "GOOGL", "META", "TSLA", "AMD"}
	for i := range n {
		c := &healthy{f: f, late: i%10 == 9}
		u := user{s.healthy[i%len(s.healthy)], net.IPv4(127, 1, byte(i>>8), byte(i))}
		if c.late {
			u.key = s.healthyLate
		}
		var err error
		if c.s, err = u.open(ctx, s.target.Gateway, "/v1/stream?delivery=every&snapshot=false&quotes="+names[i%len(names)]); err != nil {
			f.close()
			return nil, fmt.Errorf("client %d: %w", i, err)
		}
		f.all = append(f.all, c)
		f.tasks.Go(func() {
			c.s.read(c.frame)
			c.note(notice{ends: 1})
		})
	}
	f.tasks.Go(func() { f.ping(ctx) })
	return f, nil
}

func (f *fleet) close() {
	f.phase.Store(idle)
	f.stop()
	for _, c := range f.all {
		c.s.reset()
	}
	f.tasks.Wait()
}

// ping has some clients ask for a pong each second. A client whose last one did not come
// waits for it.
func (f *fleet) ping(ctx context.Context) {
	for pause(ctx, time.Second) == nil {
		for _, c := range f.all[:min(20, len(f.all))] {
			c.mu.Lock()
			free := c.asked.IsZero()
			if free {
				c.asked = time.Now()
			}
			c.mu.Unlock()
			if free {
				_ = c.s.send(command{"action": "ping"}) // the reader learns of the end
			}
		}
	}
}

func (c *healthy) note(n notice) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[c.f.phase.Load()].add(n)
}

// frame notes what a frame says.
func (c *healthy) frame(frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	phase := c.f.phase.Load()
	seen := &c.seen[phase]
	switch {
	case bytes.HasPrefix(frame, []byte(`[{"T":"q"`)):
		at, ok := eventTime(frame)
		aged := seen
		if phase == aftermath && at.UnixNano() < c.f.left.Load() {
			aged = &c.seen[war] // the attack held it up
		}
		if ok && !c.late && phase != idle {
			aged.ages = append(aged.ages, int32(time.Since(at).Microseconds()))
		}
		for rest := frame; ; {
			var q, pq int64
			var ok bool
			if q, rest, ok = number(rest, `,"q":`); !ok {
				return
			}
			if pq, rest, ok = number(rest, `,"pq":`); !ok || (c.last != 0 && pq != c.last) {
				seen.losses++
			}
			c.last = q
		}
	case bytes.HasPrefix(frame, []byte(`[{"T":"pong"`)):
		seen.ping = max(seen.ping, time.Since(c.asked))
		c.asked = time.Time{}
	case bytes.HasPrefix(frame, []byte(`[{"T":"gap"`)):
		seen.gaps++
		c.last = 0 // current values follow
	case bytes.HasPrefix(frame, []byte(`[{"T":"feed"`)):
		var m []struct{ State, Reason string }
		switch err := json.Unmarshal(frame, &m); {
		case err != nil || len(m) != 1:
			seen.add(notice{stale: map[string]int{"malformed": 1}})
		case m[0].State != "live":
			seen.add(notice{stale: map[string]int{m[0].Reason: 1}})
		}
	}
}

// number finds the whole number behind a name and returns what follows it.
func number(text []byte, name string) (n int64, rest []byte, ok bool) {
	_, text, ok = bytes.Cut(text, []byte(name))
	end := bytes.IndexAny(text, ",}")
	if !ok || end < 0 {
		return 0, nil, false
	}
	n, err := strconv.ParseInt(string(text[:end]), 10, 64)
	return n, text[end:], err == nil
}

// eventTime returns the time of the last event of a frame of quotes.
func eventTime(frame []byte) (time.Time, bool) {
	const name = `"t":"`
	i := bytes.LastIndex(frame, []byte(name))
	if i < 0 {
		return time.Time{}, false
	}
	text, _, _ := bytes.Cut(frame[i+len(name):], []byte(`"`))
	at, err := time.Parse(time.RFC3339Nano, string(text))
	return at, err == nil
}

// take returns what was noticed in each phase, and forgets it. A ping that waits for its
// pong counts as long as it has waited.
func (f *fleet) take() (all [phases]notice) {
	now := f.phase.Load()
	for _, c := range f.all {
		c.mu.Lock()
		if !c.asked.IsZero() {
			c.seen[now].ping = max(c.seen[now].ping, time.Since(c.asked))
		}
		for p := range all {
			all[p].add(c.seen[p])
		}
		c.seen = [phases]notice{}
		c.mu.Unlock()
	}
	return all
}
