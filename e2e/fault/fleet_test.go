package fault

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// fleet is many clients of all deliveries.
type fleet struct {
	t       *testing.T
	addrs   []string // of gateways
	silence time.Duration
	backoff time.Duration
	clients []*client

	ctx    context.Context //nolint:containedctx // its end is that of all clients
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	keys map[string]string

	last  atomic.Int64 // when an event came to any of them, Unix nanoseconds
	pause atomic.Int64 // the longest time between two of those, since calm
}

// calm has longest begin anew.
func (f *fleet) calm() {
	f.pulse(time.Now())
	f.pause.Store(0)
}

// longest gives the longest time since calm in which nobody got an event.
func (f *fleet) longest() time.Duration {
	return max(time.Duration(f.pause.Load()), time.Since(time.Unix(0, f.last.Load())))
}

// flow waits for some time, and until events come.
func (f *fleet) flow(least time.Duration) {
	f.t.Helper()
	time.Sleep(least)
	f.await("events again", func(*client) bool { return time.Since(time.Unix(0, f.last.Load())) < 300*time.Millisecond })
}

// pulse notes that an event has come.
func (f *fleet) pulse(now time.Time) {
	n := now.UnixNano()
	if d := n - f.last.Swap(n); d > f.pause.Load() {
		f.pause.Store(d) // two at once would be of one pause
	}
}

// plan says what a fleet's clients want.
type plan struct {
	clients int
	symbols []string // to choose from
	each    int      // symbols of a client
	every   bool     // all of them want every event
	slow    int      // one of so many reads slowly; 0: none
	wild    int      // one of so many wants all there is; 0: none
}

// newFleet makes the clients, which connect to the gateways at addrs. Their life ends
// with the test's.
func newFleet(t *testing.T, seed uint64, addrs []string, p plan) *fleet {
	t.Helper()
	f := &fleet{t: t, addrs: addrs, silence: 4 * time.Second, backoff: 100 * time.Millisecond, keys: map[string]string{}}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	t.Cleanup(f.stop)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for _, s := range p.symbols {
		for _, typ := range []string{"t", "q", "b", "u", "d"} {
			f.keys[typ+s] = typ + s
		}
	}
	for i := range p.clients {
		c := &client{
			fleet: f, id: i, rnd: rand.New(rand.NewPCG(seed, uint64(i)+2)), moves: make(chan move, 4),
			closes: map[int]int{}, refused: map[int]int{}, errors: map[string]int{},
		}
		how := []delivery{every, adaptive, latest}[i%3]
		if p.every {
			how = every
		}
		c.book = newLedger(how)
		q := url.Values{"delivery": {string(how)}}
		if how == latest && i%2 == 0 {
			q.Set("interval_ms", "250")
		}
		if p.wild > 0 && i%p.wild == p.wild-1 {
			q.Set("trades", "*")
			c.wants = func(key string) bool { return key[0] == 't' }
		} else {
			mine := map[string]bool{}
			var list []string
			for _, n := range rnd.Perm(len(p.symbols))[:min(p.each, len(p.symbols))] {
				mine["t"+p.symbols[n]], mine["q"+p.symbols[n]] = true, true
				list = append(list, p.symbols[n])
			}
			q.Set("trades", strings.Join(list, ","))
			q.Set("quotes", strings.Join(list, ","))
			c.wants = func(key string) bool { return mine[key] }
		}
		if p.slow > 0 && i%p.slow == p.slow-1 && how == adaptive {
			c.pause = 100 * time.Millisecond
		}
		c.query = q.Encode()
		f.clients = append(f.clients, c)
	}
	return f
}

// intern keeps a topic's key once for all.
func (f *fleet) intern(key []byte) string { return string(key) }

// start has all clients come within a time, and waits until they are there.
func (f *fleet) start(within time.Duration) *fleet {
	f.t.Helper()
	for i, c := range f.clients {
		f.tasks.Go(func() {
			select {
			case <-time.After(within * time.Duration(i) / time.Duration(len(f.clients))):
				c.run(f.ctx)
			case <-f.ctx.Done():
			}
		})
	}
	f.await("a socket", func(c *client) bool { return c.current != nil })
	return f
}

// stop ends all clients.
func (f *fleet) stop() {
	f.cancel()
	f.tasks.Wait()
}

// await waits until it holds of every client; it is called with the client locked.
func (f *fleet) await(what string, ok func(c *client) bool) {
	f.t.Helper()
	f.within(patience, what, ok)
}

func (f *fleet) within(limit time.Duration, what string, ok func(c *client) bool) {
	f.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		missing := f.counting(func(c *client) bool { return !ok(c) })
		if missing == 0 {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("waited %s: %d of %d clients have not got %s\n%s", limit, missing, len(f.clients), what, f.report())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// counting counts the clients of which it holds.
func (f *fleet) counting(is func(c *client) bool) (n int) {
	for _, c := range f.clients {
		c.mu.Lock()
		if is(c) {
			n++
		}
		c.mu.Unlock()
	}
	return n
}

// sum adds up a number of every client.
func (f *fleet) sum(of func(c *client) int) (n int) {
	for _, c := range f.clients {
		c.mu.Lock()
		n += of(c)
		c.mu.Unlock()
	}
	return n
}

// told gives how long after a moment each client was told a state of the feed, which
// may have to follow others; and how many were not told.
func (f *fleet) told(from time.Time, states ...string) (times spread, missing int) {
	for _, c := range f.clients {
		c.mu.Lock()
		at, step := time.Time{}, 0
		for _, w := range c.feeds {
			if !w.at.Before(from) && w.state == states[step] {
				if step++; step == len(states) {
					at = w.at
					break
				}
			}
		}
		c.mu.Unlock()
		if at.IsZero() {
			missing++
			continue
		}
		times = append(times, at.Sub(from))
	}
	return times.sorted(), missing
}

// spread is how long something took, sorted.
type spread []time.Duration

func (s spread) sorted() spread {
	slices.Sort(s)
	return s
}

func (s spread) at(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	return s[int(q*float64(len(s)-1))]
}

func (s spread) String() string {
	return fmt.Sprintf("p50 %s, p99 %s, max %s of %d", round(s.at(0.5)), round(s.at(0.99)), round(s.at(1)), len(s))
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// balance waits until every ledger has come to the truth's end, and fails the test
// for all that are not as the truth is.
func (f *fleet) balance(tr *truth) {
	f.t.Helper()
	deadline := time.Now().Add(patience)
	for f.counting(func(c *client) bool { return !c.book.reached(tr, c.wants) }) > 0 && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond)
	}
	bad := 0
	events := map[delivery]uint64{}
	for _, c := range f.clients {
		c.mu.Lock()
		found := c.book.balance(tr, c.wants)
		for _, a := range c.book.lines {
			events[c.book.how] += a.sum
		}
		if len(found) > 0 {
			if bad++; bad <= 5 {
				f.t.Errorf("client %d (%s, %s) does not balance: %d findings, the first: %s\n%s", c.id, c.book.how, c.query,
					len(found), strings.Join(found[:min(3, len(found))], "\n    "), c.report())
			}
		}
		c.mu.Unlock()
	}
	if bad > 0 {
		f.t.Errorf("%d of %d ledgers do not balance against %s", bad, len(f.clients), tr)
		return
	}
	for _, c := range f.clients {
		for _, text := range c.book.told {
			f.t.Logf("client %d (%s) was told of a gap by %s", c.id, c.book.how, text)
		}
	}
	f.t.Logf("%d ledgers balance against %s: every %d, adaptive %d, latest %d events; %s", len(f.clients), tr,
		events[every], events[adaptive], events[latest], f.report())
}

// report sums up what clients went through.
func (f *fleet) report() string {
	closes, refused, kinds := map[int]int{}, map[int]int{}, map[string]int{}
	var dials, handed, notices, gaps, twice, connected int
	for _, c := range f.clients {
		c.mu.Lock()
		add(closes, c.closes)
		add(refused, c.refused)
		add(kinds, c.errors)
		dials += len(c.dials)
		handed += c.handed
		notices += c.notices
		gaps += c.book.gaps
		twice += c.book.twice
		if c.current != nil {
			connected++
		}
		c.mu.Unlock()
	}
	return fmt.Sprintf("%d clients opened %d sockets, %d of them before the old one was gone after %d notices; closes %s, refused %s, errors %s; %d gaps announced, %d events came again at seams",
		connected, dials, handed, notices, list(closes), list(refused), list(kinds), gaps, twice)
}

func (c *client) report() string {
	var words strings.Builder
	for _, w := range c.feeds[max(0, len(c.feeds)-6):] {
		words.WriteString(" " + w.at.Format("05.000") + " " + w.state)
	}
	return fmt.Sprintf("    closes %s, refused %s, errors %s, %d gaps, feed:%s", list(c.closes), list(c.refused), list(c.errors), c.book.gaps, &words)
}

func add[K comparable](to, from map[K]int) {
	for k, n := range from {
		to[k] += n
	}
}

func list[K string | int](m map[K]int) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%v: %d", k, m[k]))
	}
	if len(out) == 0 {
		return "none"
	}
	return "(" + strings.Join(out, ", ") + ")"
}
