package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/upstream"
	"github.com/lzstock/lzstock/market"
)

// established has all monitors serve, and the client carry AAPL; it gives the one in
// use.
func established(w *world) string {
	w.t.Helper()
	must(w.t, w.client.Acquire("u", []market.Topic{aapl}))
	w.sink.mu.Lock()
	w.at = 256
	w.sink.mu.Unlock()
	for name := range w.monitors {
		w.serve(name)
	}
	w.within(5*time.Second, "a first stream", func() bool { return w.inUse() != "" })
	time.Sleep(time.Second)
	synctest.Wait()
	w.sink.take()
	return w.inUse()
}

// TestFailover is what becomes of the stream when the monitor in use fails in one way
// or another, while a second is cut off as well and a third is well.
func TestFailover(t *testing.T) {
	for _, c := range []struct {
		name, reason string // reason is the metrics' label
		fail         func(w *world, name string, s *watch)
		quiet        bool // nobody is told
	}{
		{"orderly stop", "unavailable", func(w *world, name string, s *watch) {
			_ = w.monitors[name].listener.Close()
			s.end <- status.Error(codes.Unavailable, "the service is stopping")
		}, true},
		{"reset", "unavailable", func(w *world, name string, _ *watch) { w.monitors[name].server.Stop() }, true},
		{"silence", "silent", func(w *world, _ string, s *watch) { w.silence(s, true) }, false},
		{"cut", "silent", func(w *world, name string, _ *watch) { w.cut(name) }, false},
	} {
		for _, others := range []string{"one more", "another is cut off"} {
			t.Run(c.name+", "+others, func(t *testing.T) {
				n := map[string]int{"one more": 2, "another is cut off": 3}[others]
				inBubble(t, n, func(w *world) {
					lost := established(w)
					if n == 3 {
						for name := range w.monitors {
							if name != lost {
								w.cut(name)
								break
							}
						}
					}
					c.fail(w, lost, w.live[len(w.live)-1])
					took := w.within(2*time.Second, "another stream", func() bool { m := w.inUse(); return m != "" && m != lost })
					settle()
					want := []string{"feed stale of 1000", "feed live of 1000"}
					if n == 2 && c.quiet || n == 3 && c.quiet && took < 750*time.Millisecond {
						want = nil
					}
					got := w.sink.take()
					tie := n == 3 && c.quiet && took == 750*time.Millisecond && got == nil // the welcome's time was up first
					if !tie && !slices.Equal(got, want) {
						t.Errorf("after %s the sink had got %v, want %v", took, got, want)
					}
					if w.count("lzstock_upstream_failovers_total", c.reason) != 1 {
						t.Errorf("no failover is counted because of %s", c.reason)
					}
					if h := w.gather("lzstock_upstream_interruption_seconds")[0].GetHistogram(); h.GetSampleCount() != 1 || h.GetSampleSum() > 2 {
						t.Errorf("the interruption's histogram: %v", h)
					}
				})
			})
		}
	}
}

// TestStaleInTime: a gateway says so before prices are a second old, even where all
// monitors vanish at once.
func TestStaleInTime(t *testing.T) {
	inBubble(t, 2, func(w *world) {
		established(w)
		for name := range w.monitors {
			w.cut(name)
		}
		w.within(time.Second, "stale", func() bool { return slices.Equal(w.sink.take(), []string{"feed stale of 1000"}) })
		if err := w.within(3*time.Second, "trouble", func() bool { return w.client.Trouble() != nil }); err == 0 {
			t.Error("trouble came before the loss")
		}
	})
}

func TestNotServing(t *testing.T) {
	inBubble(t, 2, func(w *world) {
		lost := established(w)
		m, h := w.monitors[other(lost)], health.NewServer()
		m.stop()
		m.start(func(s *grpc.Server) { healthpb.RegisterHealthServer(s, h) })
		h.SetServingStatus(pb.MarketMonitor_ServiceDesc.ServiceName, healthpb.HealthCheckResponse_NOT_SERVING)
		w.monitors[lost].server.Stop()
		w.within(2*time.Second, "a refusal", func() bool { return w.count("lzstock_upstream_reconnects_total", "not_serving") > 0 })
		h.SetServingStatus(pb.MarketMonitor_ServiceDesc.ServiceName, healthpb.HealthCheckResponse_SERVING)
		w.within(6*time.Second, "the one that serves", func() bool { return w.inUse() == other(lost) })
	})
}

// TestReplicaBehind: one that has read less is left at once for one that has read
// as far, and waited for where there is no other.
func TestReplicaBehind(t *testing.T) {
	for _, c := range []struct {
		name  string
		epoch market.Epoch
		at    market.Seq
	}{{"behind", epoch, 2560}, {"of an older stream", epoch - 1, 51200}} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, 3, func(w *world) {
				must(w.t, w.client.Acquire("u", []market.Topic{aapl}))
				first, s := w.any()
				s.welcome(epoch, 256)
				s.feed(pb.FeedState_STATE_LIVE)
				id := w.expectRequest(s, "add [trades:AAPL] drop []")
				s.snapshots([]market.Topic{aapl}, trade(256, "AAPL"))
				s.added(id)
				s.batch(trade(5120, "AAPL"))
				settle()
				w.monitors[first].server.Stop()
				tried := map[string]bool{}
				for len(tried) < 2 {
					name, s := w.any()
					if tried[name] {
						t.Fatalf("%s is tried again before the other one", name)
					}
					tried[name] = true
					s.welcome(c.epoch, c.at)
					time.Sleep(250 * time.Millisecond)
					s.send(&pb.WatchResponse{Kind: &pb.WatchResponse_Progress{Progress: &pb.Progress{
						Position: &pb.Position{Epoch: uint64(c.epoch), Seq: uint64(c.at)},
					}}})
					w.noRequest(s)
					if len(tried) == 1 && s.stream.Context().Err() == nil {
						t.Error("the one that is behind is not left for another one")
					}
					if len(tried) == 2 && s.stream.Context().Err() != nil {
						t.Error("the last one is left at once, though it may catch up")
					}
				}
				for _, call := range w.sink.take() {
					if strings.HasPrefix(call, "gap") {
						t.Errorf("a %s", call)
					}
				}
			})
		})
	}
}

// TestNewerEpoch: a stream that was made anew is taken at once.
func TestNewerEpoch(t *testing.T) {
	inBubble(t, 2, func(w *world) {
		s := carrying(w)
		s.end <- nil
		_, s = w.any()
		s.welcome(epoch+1, 512)
		w.expectRequest(s, "add [trades:AAPL] drop [] since 1000-256")
	})
}

// TestAttemptsAreSpread: while all are down, attempts come in rounds that are spread
// over ever longer times, and when one returns all gateways find it, not at once.
func TestAttemptsAreSpread(t *testing.T) {
	const clients, down = 160, 30 * time.Second // so many that chance moves no bound
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, sink: &recorder{}, monitors: map[string]*monitor{"a:1": startMonitor(), "b:1": startMonitor()}}
		for _, m := range w.monitors {
			m.stop()
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		begun := time.Now()
		var mu sync.Mutex
		firsts := map[string]int{}
		var at []time.Duration
		for range clients {
			fresh := true
			cfg := upstream.Config{Monitors: []string{"a:1", "b:1"}}
			cfg.Dial = func(ctx context.Context, addr string) (_ net.Conn, _ error) {
				mu.Lock()
				if fresh {
					firsts[addr]++
					fresh = false
				}
				if time.Since(begun) > down/2 {
					at = append(at, time.Since(begun)-down/2)
				}
				mu.Unlock()
				return w.dial(ctx, addr)
			}
			c, err := upstream.New(cfg, &recorder{}, nil, nil)
			must(t, err)
			wg.Go(func() { _ = c.Run(ctx) })
		}
		time.Sleep(down)
		if n := firsts["a:1"]; n < clients/4 || n > 3*clients/4 {
			t.Errorf("%d of %d clients tried the first monitor first, want about half", n, clients)
		}
		// Both are tried 2.5 s apart on average, and each tenth of a second is like any other.
		mu.Lock()
		per := map[int]float64{}
		for _, d := range at {
			per[int(d/(100*time.Millisecond))]++
		}
		mean := float64(len(at)) / 150
		if want := 2.0 * clients / 25; math.Abs(mean-want) > want/2 {
			t.Errorf("%.1f attempts in a tenth of a second, want about %.1f", mean, want)
		}
		for i, n := range per {
			if n > 6*mean {
				t.Errorf("%.0f attempts in the tenth %d of a second, %.1f on average: they come together", n, i, mean)
			}
		}
		mu.Unlock()
		w.monitors["b:1"].start()
		returned := time.Now()
		var found []time.Duration
		for len(found) < clients && time.Since(returned) < 10*time.Second {
			select {
			case <-w.monitors["b:1"].streams:
				found = append(found, time.Since(returned))
			case <-time.After(time.Second):
			}
		}
		if len(found) < clients {
			t.Errorf("%d of %d clients found the monitor in 10 s", len(found), clients)
		} else if half := found[clients/2]; half < 800*time.Millisecond || half > 4*time.Second {
			t.Errorf("half of the clients were back after %s, want about 1.5 s", half) // of waits that are under way
		}
		cancel()
		wg.Wait()
		w.monitors["b:1"].stop()
	})
}

// TestNames: each address of a name is a monitor, names are looked up anew, and an
// answer that fails leaves what is known.
func TestNames(t *testing.T) {
	var mu sync.Mutex
	var fail error
	addrs := []string{"10.0.0.1", "10.0.0.2"}
	lookup := func(_ context.Context, host string) ([]string, error) {
		mu.Lock()
		defer mu.Unlock()
		if host != "monitor" {
			return nil, fmt.Errorf("no such host %s", host)
		}
		return slices.Clone(addrs), fail
	}
	synctest.Test(t, func(t *testing.T) {
		m := map[string]*monitor{}
		for i := 1; i <= 3; i++ {
			m[fmt.Sprintf("10.0.0.%d:7000", i)] = startMonitor()
		}
		w := &world{t: t, monitors: m, sink: &recorder{}, ctx: t.Context()}
		w.registry = prometheus.NewRegistry()
		cfg := upstream.Config{Monitors: []string{"dns:///monitor:7000", "10.0.0.1:7000"}, Dial: w.dial, Lookup: lookup}
		c, err := upstream.New(cfg, w.sink, nil, w.registry)
		must(t, err)
		w.client = c
		ctx, cancel := context.WithCancel(t.Context())
		w.ctx = ctx
		w.tasks.Go(func() { w.breathe(ctx) })
		var wg sync.WaitGroup
		wg.Go(func() { _ = c.Run(ctx) })
		first := established(w)
		if first == "10.0.0.3:7000" {
			t.Errorf("%s is in use, which has no name", first)
		}
		m[first].server.Stop()
		second := map[string]string{"10.0.0.1:7000": "10.0.0.2:7000", "10.0.0.2:7000": "10.0.0.1:7000"}[first]
		w.within(2*time.Second, "the other address", func() bool { return w.inUse() == second })

		mu.Lock()
		addrs = []string{"10.0.0.3"}
		mu.Unlock()
		time.Sleep(10 * time.Second)
		m[second].server.Stop()
		w.within(2*time.Second, "the new address", func() bool { return w.inUse() == "10.0.0.3:7000" })

		mu.Lock()
		fail = errors.New("the resolver is gone")
		mu.Unlock()
		time.Sleep(10 * time.Second)
		m["10.0.0.3:7000"].stop()
		time.Sleep(time.Second)
		m["10.0.0.3:7000"].start()
		w.within(6*time.Second, "the address that was known", func() bool { return w.inUse() == "10.0.0.3:7000" })
		cancel()
		wg.Wait()
		w.tasks.Wait()
		for _, m := range m {
			m.stop()
		}
	})
}

func TestUnknownName(t *testing.T) {
	lookup := func(context.Context, string) ([]string, error) { return nil, errors.New("no such host") }
	inBubbleWith(t, 1, upstream.Config{Lookup: lookup}, func(w *world) {
		time.Sleep(time.Second)
		if err := w.client.Trouble(); err == nil || err.Error() != "unresolved: a:1: no such host" {
			t.Errorf("trouble: %v", err)
		}
		if w.count("lzstock_upstream_reconnects_total", "unresolved") == 0 {
			t.Error("it is not counted")
		}
	})
}

// TestRebalance: gateways do not stay for ever where a failure has driven them; a
// move loses nothing, and nobody is told.
func TestRebalance(t *testing.T) {
	inBubbleWith(t, 2, upstream.Config{Rebalance: 20 * time.Second}, func(w *world) {
		seen := map[string]int{}
		established(w)
		for range 12 {
			seen[w.inUse()]++
			time.Sleep(20 * time.Second)
			synctest.Wait()
		}
		if len(seen) < 2 {
			t.Errorf("in four minutes the client was on %v", seen)
		}
		if got := w.sink.take(); len(got) > 0 {
			t.Errorf("the sink got %v", got)
		}
		if moves := w.count("lzstock_upstream_failovers_total", "rebalanced"); moves < 1 || moves > 12 {
			t.Errorf("%.0f moves in four minutes, want about 6", moves)
		}
		for _, m := range w.gather("lzstock_upstream_reconnects_total") {
			if m.GetLabel()[0].GetValue() != "rebalanced" {
				t.Errorf("a stream ended: %v", m)
			}
		}
		w.monitors[other(w.inUse())].server.Stop()
		now := w.inUse()
		time.Sleep(2 * time.Minute)
		if w.inUse() != now {
			t.Error("the client moved to a monitor that is down")
		}
		if got := w.sink.take(); len(got) > 0 {
			t.Errorf("the sink got %v", got)
		}
	})
}

// TestSilentAlone: where there is no other monitor, giving a stream up gains little.
func TestSilentAlone(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		established(w)
		s := w.live[len(w.live)-1]
		w.silence(s, true)
		time.Sleep(2500 * time.Millisecond)
		if s.stream.Context().Err() != nil {
			t.Error("the stream is given up though there is no other monitor")
		}
		time.Sleep(time.Second)
		if s.stream.Context().Err() == nil {
			t.Error("the silent stream is not given up")
		}
	})
}
