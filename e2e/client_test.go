package e2e

import (
	"maps"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/lzstock/lzstock/client"
	"github.com/lzstock/lzstock/market"
)

// follower reads all trades with the Go client, and keeps where they stand.
type follower struct {
	*client.Client
	done chan struct{}

	mu     sync.Mutex
	seqs   []market.Seq
	phases map[client.Phase]int
	gaps   []client.Gap
}

// follow subscribes to all trades on one of some gateways, and goes to the others
// when it must.
func follow(t *testing.T, gateways ...string) *follower {
	t.Helper()
	f := &follower{done: make(chan struct{}), phases: make(map[client.Phase]int)}
	cfg := client.Config{Delivery: client.Every, NoSnapshots: true}
	cfg.OnState = func(s client.State) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.phases[s.Phase]++
	}
	cfg.OnGap = func(g client.Gap) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.gaps = append(f.gaps, g)
	}
	for _, g := range gateways {
		cfg.URLs = append(cfg.URLs, "ws://"+g)
	}
	c, err := client.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.Client = c
	go func() {
		defer close(f.done)
		for e, err := range c.Events() {
			if err != nil {
				t.Error(err)
				return
			}
			f.mu.Lock()
			f.seqs = append(f.seqs, e.Seq)
			f.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = c.Close()
		<-f.done
	})
	if err := c.Subscribe(t.Context(), client.Trades("*")...); err != nil {
		t.Fatal(err)
	}
	return f
}

// seen gives the places of what came, and how often the client was in each phase.
func (f *follower) seen() ([]market.Seq, map[client.Phase]int, []client.Gap) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.seqs), maps.Clone(f.phases), slices.Clone(f.gaps)
}

// upTo waits until an event at or behind q has come, and gives those in between
// from and q.
func (f *follower) upTo(t *testing.T, from, q market.Seq) (out []market.Seq) {
	t.Helper()
	eventually(t, "events up to a place", func() bool {
		all, _, _ := f.seen()
		return len(all) > 0 && all[len(all)-1] >= q
	})
	all, _, _ := f.seen()
	for _, s := range all {
		if s >= from && s <= q {
			out = append(out, s)
		}
	}
	return out
}

// TestClientMovesAndReturns drains the gateway that a client is on, which nobody
// sees, and then kills the next one, which is seen as a reconnect: either way it
// gets what a client gets that nothing happened to.
func TestClientMovesAndReturns(t *testing.T) {
	grpc, first, second := source(t), freeAddr(t), freeAddr(t)
	begin := func(listen string) *process {
		return start(t, "gateway", "--listen", listen, "--monitor", grpc, "--drain-grace", "200ms", "--drain-window", "30s")
	}
	calm := freeAddr(t)
	begin(calm)
	one, two := begin(first), begin(second)
	reference := follow(t, calm)
	c := follow(t, first, second)
	url := func(listen string) string { return "ws://" + listen + "/v1/stream" }
	if c.State().URL == url(second) { // it takes any
		first, second, one, two = second, first, two, one
	}
	eventually(t, "events", func() bool { all, _, _ := c.seen(); return len(all) > 100 })
	all, _, _ := c.seen()
	from := all[0]

	_ = one.cmd.Process.Signal(syscall.SIGTERM)
	<-one.done
	eventually(t, "the move", func() bool { return c.Stats().Moves == 1 })
	_, phases, _ := c.seen()
	if s := c.Stats(); phases[client.Waiting] > 0 || s.Drops > 0 || c.State().URL != url(second) {
		t.Errorf("the drain was seen: %v, %+v, now on %s", phases, s, c.State().URL)
	}

	begin(first)
	_ = two.cmd.Process.Kill()
	<-two.done
	eventually(t, "the return", func() bool { return c.Stats().Resumed >= 2 && c.State().Phase == client.Connected })
	all, phases, gaps := c.seen()
	s := c.Stats()
	if phases[client.Waiting] == 0 || s.Drops != 1 {
		t.Errorf("the kill was not seen: %v, %+v", phases, s)
	}
	if len(gaps) > 0 || s.Gaps > 0 || s.Broken > 0 || s.Missing > 0 {
		t.Errorf("losses: %v, %+v", gaps, s)
	}

	until := all[len(all)-1] + 500*market.BatchLimit
	want, got := reference.upTo(t, from, until), c.upTo(t, from, until)
	if !slices.Equal(got, want) {
		t.Errorf("%d events, want %d, from %d to %d", len(got), len(want), from, until)
	}
}
