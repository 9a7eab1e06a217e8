package client_test

import (
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/lzstock/lzstock/client"
	"github.com/lzstock/lzstock/internal/leak"
	"github.com/lzstock/lzstock/internal/wire"
)

// herd dials many clients, each with a seed of its own.
func herd(t *testing.T, f *fake, n int) []*client.Client {
	t.Helper()
	out := make([]*client.Client, n)
	for i := range out {
		cfg := f.config()
		cfg.Buffer = 1
		rng := rand.New(rand.NewPCG(1, uint64(i)))
		client.WithRandom(&cfg, func(limit time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(limit))) })
		c, err := client.Dial(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		out[i] = c
	}
	return out
}

// TestHerdSpreads drops 1,000 clients at once, and has nobody answer for a while:
// each round of attempts spreads evenly over a limit that doubles.
func TestHerdSpreads(t *testing.T) {
	if leak.Race {
		t.Skip("a crowd: runs without the race detector")
	}
	const many = 1000
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var dropped time.Time
		over := make(chan struct{})
		f := newRawFake(t, func(conn net.Conn, n int) error {
			mu.Lock()
			refuse := !dropped.IsZero()
			mu.Unlock()
			if refuse {
				return nil
			}
			if _, err := ws.Upgrade(conn); err != nil {
				return err
			}
			p := &peer{conn: conn, format: wire.JSONNative, number: n}
			if err := p.greet(); err != nil {
				return err
			}
			<-over // the process dies
			return nil
		})
		herd(t, f, many)
		time.Sleep(20 * time.Second)
		mu.Lock()
		dropped = time.Now()
		mu.Unlock()
		close(over)
		time.Sleep(time.Second)
		at := f.attempts()[many:]
		var first []time.Duration
		for _, when := range at {
			first = append(first, when.Sub(dropped))
		}
		slices.Sort(first)
		// First attempts are even between 0 and 500 ms; those of the second round
		// follow within 1 s, at the earliest at once.
		if first[0] > 5*time.Millisecond {
			t.Errorf("the first comes after %s", first[0])
		}
		const bins = 10
		var alone [bins]int // attempts of the first round by 50 ms, less those of the second
		for _, d := range first {
			if d < 500*time.Millisecond {
				alone[d/(50*time.Millisecond)]++
			}
		}
		// In the bin at t, the first round has 100 expected, the second t/500ms × 50:
		// uniform and uniform again over twice the time.
		for i, n := range alone {
			want := 100 + i*5 + 2
			if n < want*6/10 || n > want*14/10 {
				t.Errorf("%d attempts between %d and %d ms, want about %d: %v", n, 50*i, 50*(i+1), want, alone)
			}
		}
		for i, j := 0, 0; i < len(first); i++ {
			for first[i]-first[j] > 10*time.Millisecond {
				j++
			}
			if i-j > 80 {
				t.Fatalf("%d attempts within 10 ms, at %s", i-j, first[i])
			}
		}
	})
}

// TestHerdIsDrained moves 1,000 clients within the time that the gateway spreads
// them over, and none is ever without a connection.
func TestHerdIsDrained(t *testing.T) {
	if leak.Race {
		t.Skip("a crowd: runs without the race detector")
	}
	const many = 1000
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, func(p *peer) error {
			if err := p.greet(); err != nil {
				return err
			}
			if p.number > many {
				return p.serve()
			}
			time.Sleep(20 * time.Second)
			delay := time.Duration(p.number) * 10 * time.Millisecond
			if err := p.send(wire.AppendReconnect(nil, p.format, wire.Reconnect{Reason: wire.Drain, Delay: delay, Deadline: 15 * time.Second})); err != nil {
				return err
			}
			return p.serve()
		})
		all := herd(t, f, many)
		begun := time.Now()
		time.Sleep(35 * time.Second)
		for i, c := range all {
			if st := c.Stats(); st.Moves != 1 || st.Drops != 0 {
				t.Fatalf("client %d: %+v", i, st)
			}
		}
		at := f.attempts()
		if len(at) != 2*many {
			t.Fatalf("%d attempts", len(at))
		}
		for i, when := range at[many:] {
			if want := 20*time.Second + time.Duration(i+1)*10*time.Millisecond; when.Sub(begun) != want {
				t.Fatalf("attempt %d after %s, want %s", i, when.Sub(begun), want)
			}
		}
	})
}
