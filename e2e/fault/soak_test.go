package fault

import (
	"context"
	"math/rand/v2"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lzstock/lzstock/e2e/proc"
)

// chaos does everything at random, in each part of a system by itself, so that faults
// meet.
type chaos struct {
	t      *testing.T
	ctx    context.Context //nolint:containedctx // its end is that of all faults
	system *system
	remote []*link // between gateways and a third of the clients

	mu    sync.Mutex
	tally map[string]int
}

// part is a part of the system where one thing at a time goes wrong.
type part struct {
	name   string
	faults []func(rnd *rand.Rand)
}

// TestSoak has everything fail at random for a long time: all ledgers balance, and
// what was not killed holds no more at the end than at the beginning.
func TestSoak(t *testing.T) {
	seed := seeded(t)
	// Histories that are full after a few minutes do not look like growth; what gateways
	// miss beyond them comes from the bus.
	s := build(t, seed, layout{bus: 3, monitors: 2, gateways: 3, linked: true, monitorArgs: []string{"--topic-history", "100"}})
	c := &chaos{t: t, system: s, tally: map[string]int{}}
	var through []string
	for _, g := range s.gateways {
		k := newLink(t, g.addr)
		c.remote, through = append(c.remote, k), append(through, k.addr)
	}
	s.play()
	symbols := simSymbols(t)
	near := newFleet(t, seed, s.addrs(), plan{clients: *clients * 2 / 3, symbols: symbols, each: 2, wild: 40, slow: 30})
	far := newFleet(t, seed+1, through, plan{clients: *clients / 3, symbols: symbols, each: 2, wild: 40})
	for _, f := range []*fleet{near, far} {
		f.start(time.Duration(len(f.clients)) * time.Second / 500)
	}
	w := watch(t, s.gateways[0], s.monitors[0])
	c.rage(seed, *soak)
	t.Logf("faults of %s: %s", *soak, list(c.tally))
	for _, f := range []*fleet{near, far} {
		f.await("a socket at the end", func(c *client) bool { return c.current != nil })
	}
	w.end()
	s.silence()
	tr := readTruth(t, s.nats)
	for _, f := range []*fleet{near, far} {
		f.balance(tr)
		if gaps := f.sum(func(c *client) int { return c.book.gaps }); gaps > 0 {
			t.Errorf("%d gaps were announced, though the bus held all", gaps)
		}
	}
}

// rage works for a time, and heals everything.
func (c *chaos) rage(seed uint64, d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	c.ctx = ctx
	var tasks sync.WaitGroup
	for i, p := range c.parts() {
		rnd := rand.New(rand.NewPCG(seed, uint64(i)))
		tasks.Go(func() {
			for c.pause(rnd, 500*time.Millisecond, 4*time.Second) {
				p.faults[rnd.IntN(len(p.faults))](rnd)
			}
		})
	}
	tasks.Wait()
}

// pause waits, and reports whether there is still time.
func (c *chaos) pause(rnd *rand.Rand, least, most time.Duration) bool {
	t := time.NewTimer(least + rand.N(most-least))
	_ = rnd.Uint64() // the order of faults follows the seed, their times need not
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.ctx.Done():
		return false
	}
}

func (c *chaos) count(fault string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tally[fault]++
}

func (c *chaos) parts() []part {
	s := c.system
	// A process whose start falls into the time without a leader of the bus may give
	// up after 10 s. It is started once more, as supervisors do.
	again := func(n *node) {
		for n.start().proc.WaitReadyOrEnd() {
			c.count("start given up")
			if !strings.Contains(n.proc.Out.String(), "no answer within 10s") {
				n.t.Fatalf("%s ended: %v\n%s", n.spec.Name, n.proc.Err, n.proc.Out)
			}
		}
	}
	stopped := func(n *node, rnd *rand.Rand) {
		n.stop()
		c.pause(rnd, time.Second, 6*time.Second)
		n.cont()
		n.proc.WaitReady()
	}
	pick := func(list []*node, rnd *rand.Rand) *node { return list[rnd.IntN(len(list))] }
	return []part{
		{"monitors", []func(rnd *rand.Rand){
			func(*rand.Rand) { c.count("kill monitor"); s.monitors[1].kill(); again(s.monitors[1]) },
			func(rnd *rand.Rand) { c.count("stop monitor"); stopped(pick(s.monitors, rnd), rnd) },
			func(rnd *rand.Rand) {
				c.count("cut monitor")
				n := pick(s.monitors, rnd)
				n.isolate()
				c.pause(rnd, time.Second, 8*time.Second)
				if n.heal() == 0 { // another fault had silenced it already
					c.count("cut that nobody felt")
				}
				n.proc.WaitReady()
			},
		}},
		{"gateways", []func(rnd *rand.Rand){
			func(rnd *rand.Rand) {
				c.count("kill gateway")
				n := pick(s.gateways[1:], rnd)
				n.kill()
				again(n)
			},
			func(rnd *rand.Rand) {
				c.count("drain gateway")
				n := pick(s.gateways[1:], rnd)
				out, err := exec.CommandContext(context.Background(), binary, "drain", "--admin", strings.TrimPrefix(n.proc.Admin, "http://"), "--stop").CombinedOutput()
				if err != nil {
					c.t.Errorf("drain %s: %v\n%s", n.spec.Name, err, out)
				}
				<-n.proc.Done
				again(n)
			},
			func(rnd *rand.Rand) { c.count("stop gateway"); stopped(pick(s.gateways, rnd), rnd) },
		}},
		{"bus", []func(rnd *rand.Rand){
			func(rnd *rand.Rand) {
				c.count("kill bus node")
				n := pick(s.bus, rnd)
				n.kill()
				c.pause(rnd, 0, 2*time.Second)
				again(n)
				s.wholeBus()
			},
			func(*rand.Rand) {
				c.count("kill bus leader")
				n := s.leader()
				n.kill()
				again(n)
				s.wholeBus()
			},
			func(rnd *rand.Rand) { c.count("stop bus node"); stopped(pick(s.bus, rnd), rnd); s.wholeBus() },
		}},
		{"clients", []func(rnd *rand.Rand){
			func(rnd *rand.Rand) {
				c.count("black hole")
				k := c.remote[rnd.IntN(len(c.remote))]
				k.blackhole()
				c.pause(rnd, time.Second, 10*time.Second)
				k.heal()
			},
			func(rnd *rand.Rand) {
				c.count("broken connections")
				k := c.remote[rnd.IntN(len(c.remote))]
				k.breakAll()
				c.pause(rnd, 0, time.Second)
				k.mend()
			},
		}},
	}
}

// watched is what processes hold, over time.
type watched struct {
	t      *testing.T
	nodes  []*node
	stop   context.CancelFunc
	task   sync.WaitGroup
	series map[string][]sample
}

type sample struct{ at, value float64 }

// watch looks at processes that are not killed, until end.
func watch(t *testing.T, nodes ...*node) *watched {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &watched{t: t, nodes: nodes, stop: cancel, series: map[string][]sample{}}
	t.Cleanup(func() { cancel(); w.task.Wait() })
	began := time.Now()
	w.task.Go(func() {
		tick := time.NewTicker(max(500*time.Millisecond, *soak/200))
		defer tick.Stop()
		for {
			for _, n := range nodes {
				if n.proc.State() == 'T' {
					continue
				}
				proc.Get(n.proc.Admin + "/debug/pprof/heap?gc=1") // what is garbage is none of it
				at, files := time.Since(began).Seconds(), float64(n.proc.Files())
				heap, goroutines := n.proc.Metric("go_memstats_heap_alloc_bytes"), n.proc.Metric("go_goroutines")
				sockets := n.proc.Metric("lzstock_gateway_sockets")
				if heap == 0 || goroutines == 0 {
					continue // it was stopped meanwhile
				}
				w.add(n, "heap KiB", at, heap/1024)
				w.add(n, "goroutines", at, goroutines)
				w.add(n, "descriptors beside sockets", at, files-sockets)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return w
}

func (w *watched) add(n *node, what string, at, value float64) {
	name := n.spec.Name + " " + what
	w.series[name] = append(w.series[name], sample{at, value})
}

// end judges what was seen: nothing may grow. Growth is the regression's slope times
// the whole time; what is below three standard errors of it is noise.
func (w *watched) end() {
	w.t.Helper()
	w.stop()
	w.task.Wait()
	for name, all := range w.series {
		list := all[len(all)/2:] // rings and histories fill up before
		if len(list) < 5 {
			w.t.Errorf("%s: only %d samples", name, len(list))
			continue
		}
		mean, growth, noise := trend(list)
		w.t.Logf("%s: mean %.0f, growth %+.1f in all, noise %.1f", name, mean, growth, noise)
		if *soak >= 5*time.Minute && growth > max(3*noise, 0.1*mean) {
			w.t.Errorf("%s grows by %.1f (mean %.0f): more than noise", name, growth, mean)
		}
	}
}
