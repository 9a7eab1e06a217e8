package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/upstream"
	"github.com/lzstock/lzstock/market"
)

// carrying gives a stream that carries AAPL, at 256.
func carrying(w *world) *watch {
	w.t.Helper()
	must(w.t, w.client.Acquire("u", []market.Topic{aapl}))
	_, s := w.any()
	w.hello(s, 256)
	id := w.expectRequest(s, "add [trades:AAPL] drop []")
	s.snapshots([]market.Topic{aapl}, trade(256, "AAPL"))
	s.added(id)
	w.expect("feed stale of 0", "feed stale of 1000", "replace [trades:AAPL] with [AAPL@256]", "feed live of 1000")
	return s
}

func TestEventsInOrder(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		s := carrying(w)
		s.batch(trade(512, "AAPL"), trade(513, "AAPL"))
		s.batch(trade(768, "AAPL"))
		w.expect("publish [AAPL@512 AAPL@513]", "publish [AAPL@768]")
		if p := w.client.Position(); p != (market.Position{Epoch: epoch, Seq: 768}) || w.client.Epoch() != epoch {
			t.Errorf("position %s, want 1000-768", p)
		}
		s.progress(1024)
		settle()
		if p := w.client.Position(); p.Seq != 1024 {
			t.Errorf("position %s after progress, want 1000-1024", p)
		}
		s.batch(trade(768, "AAPL"), trade(1280, "MSFT"), trade(1281, "AAPL")) // twice, foreign, good
		w.expect("publish [AAPL@1281]")
	})
}

func TestInterestIsCountedAndLingers(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		s := carrying(w)
		must(w.t, w.client.Acquire("u", []market.Topic{aapl, msft}))
		id := w.expectRequest(s, "add [trades:MSFT] drop []")
		s.snapshots([]market.Topic{msft})
		s.added(id)
		w.expect("replace [trades:MSFT] with []")

		w.client.Release("u", []market.Topic{aapl})
		time.Sleep(10 * time.Second)
		w.noRequest(s) // one is left

		w.client.Release("u", []market.Topic{aapl})
		time.Sleep(4900 * time.Millisecond)
		must(w.t, w.client.Acquire("u", []market.Topic{aapl}))
		time.Sleep(time.Minute)
		w.noRequest(s) // wanted again in time, which costs nothing
		w.expect()

		w.client.Release("u", []market.Topic{aapl})
		time.Sleep(3 * time.Second)
		must(w.t, w.client.Acquire("u", []market.Topic{aapl}))
		w.client.Release("u", []market.Topic{aapl, msft})
		time.Sleep(4 * time.Second)
		w.noRequest(s) // the linger began anew
		time.Sleep(1200 * time.Millisecond)
		w.expectRequest(s, "add [] drop [trades:AAPL trades:MSFT]")
		w.expect("forget [trades:AAPL trades:MSFT]")

		s.batch(trade(512, "AAPL")) // was under way
		w.expect()
		must(w.t, w.client.Acquire("u", []market.Topic{aapl}))
		w.expectRequest(s, "add [trades:AAPL] drop []")
		s.batch(trade(768, "AAPL")) // still of the time before
		w.expect()
		s.snapshots([]market.Topic{aapl}, trade(768, "AAPL"))
		s.batch(trade(1024, "AAPL"))
		w.expect("replace [trades:AAPL] with [AAPL@768]", "publish [AAPL@1024]")
	})
}

func TestRequestsAreGathered(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		s := carrying(w)
		block := make(chan struct{})
		w.sink.mu.Lock()
		w.sink.block = block
		w.sink.mu.Unlock()
		s.batch(trade(512, "AAPL"))
		settle()
		for i := range 1000 { // while the client is busy
			must(w.t, w.client.Acquire("u", []market.Topic{{Channel: market.Quotes, Symbol: market.Symbol(fmt.Sprintf("S%d", i))}}))
		}
		w.noRequest(s)
		close(block)
		settle()
		if n := len(s.requests); n != 1 {
			t.Fatalf("1,000 topics took %d requests, want one", n)
		}
		if r := <-s.requests; len(r.GetAdd()[0].GetSymbols()) != 1000 {
			t.Errorf("%d topics were asked for, want 1,000", len(r.GetAdd()[0].GetSymbols()))
		}
	})
}

func TestUnansweredTopicsAreNotDropped(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		s := carrying(w)
		must(w.t, w.client.Acquire("u", []market.Topic{msft}))
		w.expectRequest(s, "add [trades:MSFT] drop []")
		w.client.Release("u", []market.Topic{msft})
		time.Sleep(7 * time.Second)
		w.noRequest(s) // its answer would come after the drop, and be mistaken for that of a later add
		s.snapshots([]market.Topic{msft})
		time.Sleep(6 * time.Second)
		w.expectRequest(s, "add [] drop [trades:MSFT]")
		w.expect("replace [trades:MSFT] with []", "forget [trades:MSFT]")
	})
}

func TestWildcard(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		must(w.t, w.client.Acquire("u", []market.Topic{star}))
		s := w.open(256)
		id := w.expectRequest(s, "add [trades:*] drop []")
		settle()
		w.sink.take()
		s.snapshots([]market.Topic{aapl}, trade(255, "AAPL")) // a first part
		s.snapshots([]market.Topic{star}, trade(256, "MSFT"))
		s.added(id)
		s.batch(trade(512, "NVDA"))
		w.expect("replace [] with [AAPL@255]", "replace [trades:*] with [MSFT@256]", "feed live of 1000", "publish [NVDA@512]")
		s.gap(pb.Gap_REASON_EXPIRED, market.Position{Epoch: epoch, Seq: 512}, market.Position{Epoch: epoch, Seq: 768}, msft)
		s.snapshots([]market.Topic{msft}, trade(768, "MSFT"))
		s.batch(trade(1024, "MSFT"))
		w.expect("gap expired 1000-512 to 1000-768 on [trades:MSFT]", "replace [] with [MSFT@768]", "publish [MSFT@1024]")
		w.client.Release("u", []market.Topic{star})
		time.Sleep(9 * time.Second)
		w.noRequest(s)
		time.Sleep(2 * time.Second)
		w.expectRequest(s, "add [] drop [trades:*]")
		s.batch(trade(1280, "MSFT"))
		w.expect("forget [trades:*]")
	})
}

func TestReconnectResumes(t *testing.T) {
	inBubble(t, 2, func(w *world) {
		s := carrying(w)
		s.batch(trade(512, "AAPL"))
		w.expect("publish [AAPL@512]")
		must(w.t, w.client.Acquire("u", []market.Topic{msft}))
		w.expectRequest(s, "add [trades:MSFT] drop []") // and never answered
		s.end <- status.Error(codes.Unavailable, "stopping")
		must(w.t, w.client.Acquire("u", []market.Topic{nvda}))
		w.any()
		time.Sleep(500 * time.Millisecond)
		w.expect() // what was told is not old yet
		time.Sleep(400 * time.Millisecond)
		w.expect("feed stale of 1000")

		// Not the one that got no welcome for so long.
		_, s = w.any()
		w.hello(s, 1024)
		resumed := w.expectRequest(s, "add [trades:AAPL] drop [] since 1000-512")
		fresh := w.expectRequest(s, "add [trades:MSFT trades:NVDA] drop []")
		s.progress(1024) // says nothing about topics that are not resumed yet
		s.batch(trade(768, "AAPL"))
		s.added(resumed)
		w.expect("publish [AAPL@768]") // and not yet live
		s.snapshots([]market.Topic{msft, nvda}, trade(1024, "NVDA"))
		s.batch(trade(1024, "NVDA")) // contained in the snapshot
		s.batch(trade(1280, "NVDA"))
		s.added(fresh)
		w.expect("replace [trades:MSFT trades:NVDA] with [NVDA@1024]", "publish [NVDA@1280]", "feed live of 1000")
	})
}

func TestGapsArePassedOn(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		s := carrying(w)
		s.end <- nil
		time.Sleep(500 * time.Millisecond)
		s = w.open(4096)
		id := w.expectRequest(s, "add [trades:AAPL] drop [] since 1000-256")
		s.gap(pb.Gap_REASON_EXPIRED, market.Position{Epoch: epoch, Seq: 256}, market.Position{Epoch: epoch, Seq: 4096}, aapl, msft)
		s.snapshots([]market.Topic{aapl}, trade(4000, "AAPL"))
		s.added(id)
		s.batch(trade(4100, "AAPL"))
		w.expect("gap expired 1000-256 to 1000-4096 on [trades:AAPL]",
			"replace [trades:AAPL] with [AAPL@4000]", "publish [AAPL@4100]")
	})
}

func TestAnotherEpoch(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		s := carrying(w)
		s.batch(trade(51200, "AAPL"))
		s.end <- nil
		time.Sleep(500 * time.Millisecond)
		s = w.next()
		s.welcome(2000, 512)
		s.feed(pb.FeedState_STATE_LIVE)
		id := w.expectRequest(s, "add [trades:AAPL] drop [] since 1000-51200")
		s.gap(pb.Gap_REASON_EPOCH, market.Position{Epoch: epoch, Seq: 51200}, market.Position{Epoch: 2000, Seq: 512}, aapl)
		s.snapshots([]market.Topic{aapl}, trade(300, "AAPL"))
		s.added(id)
		s.batch(trade(768, "AAPL"))
		w.expect("publish [AAPL@51200]", "feed stale of 2000",
			"gap epoch 1000-51200 to 2000-512 on [trades:AAPL]",
			"replace [trades:AAPL] with [AAPL@300]", "feed live of 2000", "publish [AAPL@768]")
		if p := w.client.Position(); p != (market.Position{Epoch: 2000, Seq: 768}) {
			t.Errorf("position %s, want 2000-768", p)
		}
	})
}

func TestAnotherEpochWithoutTopics(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		s := w.open(51200)
		settle()
		s.end <- nil
		time.Sleep(500 * time.Millisecond)
		s = w.next()
		s.welcome(2000, 512)
		s.feed(pb.FeedState_STATE_LIVE)
		w.expect("feed stale of 0", "feed stale of 1000", "feed live of 1000", "gap epoch 1000-51200 to 2000-512 on []",
			"feed stale of 2000", "feed live of 2000")
	})
}

func TestReplicaThatIsBehind(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		s := carrying(w)
		s.batch(trade(5120, "AAPL"))
		s.end <- nil
		time.Sleep(500 * time.Millisecond)
		s = w.open(2560)
		time.Sleep(time.Second)
		w.noRequest(s)
		s.progress(5120)
		w.expectRequest(s, "add [trades:AAPL] drop [] since 1000-5120")

		s.end <- nil // and now one that never comes so far
		time.Sleep(500 * time.Millisecond)
		w.expect("publish [AAPL@5120]", "feed stale of 1000")
		s = w.open(2560)
		time.Sleep(10500 * time.Millisecond)
		id := w.expectRequest(s, "add [trades:AAPL] drop []")
		s.snapshots([]market.Topic{aapl}, trade(2560, "AAPL"))
		s.added(id)
		s.batch(trade(2816, "AAPL"))
		w.expect("feed down of 1000", "gap expired 1000-5120 to 1000-2560 on [trades:AAPL]",
			"replace [trades:AAPL] with [AAPL@2560]", "feed live of 1000", "publish [AAPL@2816]")
	})
}

// counting dials, and counts.
func (w *world) counting(n *int) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, addr string) (net.Conn, error) {
		*n++
		return w.dial(ctx, addr)
	}
}

func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := map[codes.Code]int{}
		for _, code := range []codes.Code{codes.Unavailable, codes.InvalidArgument, codes.PermissionDenied} {
			m := startMonitor()
			m.refuse = status.Error(code, "no")
			sink := &recorder{}
			dialled := 0
			w := &world{t: t, sink: sink, monitors: map[string]*monitor{"a:1": m}}
			c, err := upstream.New(upstream.Config{Monitors: []string{"a:1"}, Dial: w.counting(&dialled)}, sink, nil, nil)
			must(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { _ = c.Run(ctx) })
			time.Sleep(3 * time.Minute)
			cancel()
			wg.Wait()
			m.stop()
			attempts[code] = dialled
			if got := sink.take(); fmt.Sprint(got) != "[feed stale of 0 feed down of 0]" {
				t.Errorf("%s: the sink got %v", code, got)
			}
		}
		for code, n := range attempts { // 2.5 s apart on average
			if n < 36 || n > 144 {
				t.Errorf("%s: %d attempts in three minutes, want about 72", code, n)
			}
		}
	})
}

func TestSilentMonitor(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		s := carrying(w)
		time.Sleep(time.Minute)
		w.expect() // quiet, but alive
		s.progress(256)
		settle()
		w.silence(s, true)
		time.Sleep(700 * time.Millisecond)
		w.expect()
		time.Sleep(250 * time.Millisecond)
		w.expect("feed stale of 1000") // within a second
		w.silence(s, false)
		time.Sleep(260 * time.Millisecond)
		w.expect("feed live of 1000") // the stream was not given up

		w.silence(s, true)
		time.Sleep(9500 * time.Millisecond)
		w.expect("feed stale of 1000")
		time.Sleep(1500 * time.Millisecond)
		w.expect("feed down of 1000")
		s = w.open(256) // not the first attempt since: those got no word
		id := w.expectRequest(s, "add [trades:AAPL] drop [] since 1000-256")
		w.expect()
		s.added(id)
		w.expect("feed live of 1000")
	})
}

func TestMonitorsWord(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		s := carrying(w)
		for _, state := range []pb.FeedState_State{pb.FeedState_STATE_STALE, pb.FeedState_STATE_DOWN, pb.FeedState_STATE_LIVE} {
			s.feed(state)
			settle()
		}
		w.expect("feed stale of 1000", "feed down of 1000", "feed live of 1000")
		// What is told of a source is news as well, once.
		for _, reason := range []pb.FeedState_Reason{pb.FeedState_REASON_UNSPECIFIED, pb.FeedState_REASON_CLOSED, pb.FeedState_REASON_CLOSED} {
			s.send(&pb.WatchResponse{Kind: &pb.WatchResponse_Feed{Feed: &pb.FeedState{
				State: pb.FeedState_STATE_LIVE, Since: time.Now().UnixNano(),
				Sources: []*pb.FeedState_Source{{Name: "sim", State: pb.FeedState_STATE_LIVE, Reason: reason}},
			}}})
			settle()
		}
		w.expect("feed live of 1000", "feed live of 1000")
	})
}

func TestJunk(t *testing.T) {
	bad := trade(512, "AAPL")
	bad.Symbol = "NO WAY"
	for name, send := range map[string]func(s *watch){
		"nothing":        func(s *watch) { s.send(&pb.WatchResponse{}) },
		"bad event":      func(s *watch) { s.batch(bad) },
		"no position":    func(s *watch) { s.batch(trade(0, "AAPL")) },
		"descending":     func(s *watch) { s.batch(trade(513, "AAPL"), trade(512, "AAPL")) },
		"bad topic":      func(s *watch) { s.snapshots([]market.Topic{{Channel: market.Trades, Symbol: "NO WAY"}}) },
		"second welcome": func(s *watch) { s.welcome(epoch, 512) },
		"no epoch":       func(s *watch) { s.welcome(0, 512) },
		"no state":       func(s *watch) { s.feed(pb.FeedState_STATE_UNSPECIFIED) },
		"no reason": func(s *watch) {
			s.gap(pb.Gap_REASON_UNSPECIFIED, market.Position{}, market.Position{}, aapl)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 1, func(w *world) {
				s := carrying(w)
				send(s)
				s.batch(trade(768, "AAPL")) // does not count any more
				s = w.open(768)
				s.added(w.expectRequest(s, "add [trades:AAPL] drop [] since 1000-256"))
				w.expect()
			})
		})
	}
}

func TestFirstMessage(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		s := w.next()
		s.feed(pb.FeedState_STATE_LIVE)
		w.next() // nothing at all
		time.Sleep(1400 * time.Millisecond)
		if len(w.monitors["a:1"].streams) > 0 {
			t.Error("after a failure the monitor had no time to welcome")
		}
		time.Sleep(time.Second)
		s = w.open(256)
		w.noRequest(s)
		w.expect("feed stale of 0", "feed stale of 1000", "feed live of 1000")
	})
}

func TestSlowSinkSlowsTheStream(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		s := carrying(w)
		w.sink.mu.Lock()
		w.sink.block = make(chan struct{})
		w.sink.mu.Unlock()
		w.silence(s, true) // the test itself fills the stream
		const batches = 800
		var wg sync.WaitGroup
		sent := 0
		wg.Go(func() {
			for i := range batches {
				var events []market.Event
				for j := range 100 {
					events = append(events, trade(market.MakeSeq(uint64(i+2), j), "AAPL"))
				}
				s.batch(events...)
				sent++
			}
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		if sent > batches/2 {
			t.Errorf("%d of %d batches were sent while the sink took none", sent, batches)
		}
		close(w.sink.block)
		wg.Wait()
		settle()
		if calls := w.sink.take(); len(calls) != batches {
			t.Errorf("%d calls, want %d batches and no doubt about the feed", len(calls), batches)
		}
	})
}

func TestSlowSinkIsNoSilence(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		carrying(w)
		block := make(chan struct{})
		w.sink.mu.Lock()
		w.sink.block = block
		w.sink.mu.Unlock()
		w.client.Release("u", []market.Topic{aapl})
		time.Sleep(9 * time.Second) // the last four in Forget, while progress goes on coming
		close(block)
		w.expect("forget [trades:AAPL]")
	})
}

func TestSinkThatFails(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		s := carrying(w)
		w.sink.mu.Lock()
		w.sink.fail = errors.New("closed")
		w.sink.mu.Unlock()
		s.batch(trade(512, "AAPL"))
		w.expect("publish [AAPL@512]")
		select {
		case <-s.stream.Context().Done():
		case <-time.After(time.Minute):
			t.Error("the stream goes on without a sink")
		}
	})
}

func TestManyWhoWant(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		s := carrying(w)
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				random := rand.New(rand.NewPCG(1, uint64(i)))
				for range 20 {
					list := []market.Topic{
						{Channel: market.Quotes, Symbol: market.Symbol(fmt.Sprintf("S%d", random.IntN(100)))},
						{Channel: market.Trades, Symbol: market.Symbol(fmt.Sprintf("S%d", random.IntN(100)))},
					}
					_ = w.client.Acquire("u", list) // it is below the limits
					time.Sleep(time.Duration(random.IntN(1000)) * time.Millisecond)
					w.client.Release("u", list)
				}
			})
		}
		carried := map[market.Topic]bool{}
		done := make(chan struct{})
		var server sync.WaitGroup
		server.Go(func() {
			for {
				select {
				case r := <-s.requests:
					for _, l := range r.GetDrop() {
						for _, n := range l.GetSymbols() {
							delete(carried, market.Topic{Channel: market.Channel(l.GetChannel()), Symbol: market.Symbol(n)})
						}
					}
					for _, l := range r.GetAdd() {
						var topics []market.Topic
						for _, n := range l.GetSymbols() {
							t := market.Topic{Channel: market.Channel(l.GetChannel()), Symbol: market.Symbol(n)}
							carried[t] = true
							topics = append(topics, t)
						}
						s.snapshots(topics)
					}
					s.added(r.GetId())
				case <-done:
					return
				}
			}
		})
		wg.Wait()
		time.Sleep(11 * time.Second)
		close(done)
		server.Wait()
		if len(carried) != 0 {
			t.Errorf("%d topics are carried that nobody wants: %v", len(carried), carried)
		}
	})
}

func TestConfig(t *testing.T) {
	for name, cfg := range map[string]upstream.Config{
		"no monitor":   {},
		"no port":      {Monitors: []string{"localhost"}},
		"no host":      {Monitors: []string{":7000"}},
		"negative":     {Monitors: []string{"a:1"}, Linger: -1},
		"abandon":      {Monitors: []string{"a:1"}, Silence: time.Second, Abandon: time.Millisecond},
		"no CA":        {Monitors: []string{"a:1"}, TLS: &upstream.TLS{CAFile: "/nowhere"}},
		"key missing":  {Monitors: []string{"a:1"}, TLS: &upstream.TLS{CertFile: "/nowhere"}},
		"backoff":      {Monitors: []string{"a:1"}, BackoffMin: time.Minute},
		"no cert file": {Monitors: []string{"a:1"}, TLS: &upstream.TLS{CertFile: "/nowhere", KeyFile: "/nowhere"}},
	} {
		if _, err := upstream.New(cfg, &recorder{}, nil, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := upstream.New(upstream.Config{Monitors: []string{"a:1"}}, nil, nil, nil); err == nil {
		t.Error("no sink: no error")
	}
}
