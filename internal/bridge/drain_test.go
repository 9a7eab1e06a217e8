package bridge_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/leak"
	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/internal/memnet"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// life is what a client heard, and when.
type life struct {
	live    []market.Seq // of events, in order
	at      int          // how many of them came before the notice; -1: there was none
	notice  wire.Reconnect
	told    time.Time
	ended   time.Time
	code    ws.StatusCode
	notices int
}

// listen reads until the end, or until leave, asked after each frame, has the client
// break the connection.
func (p *peer) listen(leave func(told bool) bool) *life {
	l := &life{at: -1}
	for {
		f, err := ws.ReadFrame(p.in)
		if err != nil {
			l.ended = time.Now()
			return l
		}
		switch f.Header.OpCode { //nolint:exhaustive // others do not matter here
		case ws.OpPing:
			_ = ws.WriteFrame(p.conn, ws.MaskFrame(ws.NewPongFrame(f.Payload)))
		case ws.OpClose:
			l.code, _ = ws.ParseCloseFrameData(f.Payload)
			_ = ws.WriteFrame(p.conn, ws.MaskFrame(ws.NewCloseFrame(f.Payload)))
			l.ended = time.Now()
			return l
		case ws.OpText:
			l.text(p.t, f.Payload)
		}
		if leave != nil && leave(l.notices > 0) {
			_ = p.conn.Close()
		}
	}
}

func (l *life) text(t *testing.T, payload []byte) {
	t.Helper()
	list, err := wire.DecodeFrame(wire.JSON, payload)
	if err != nil {
		t.Error(err)
	}
	for _, m := range list {
		switch m := m.(type) {
		case *wire.Data:
			if !m.Snapshot {
				l.live = append(l.live, m.Seq)
			}
		case *wire.Reconnect:
			l.notices++
			l.notice, l.at, l.told = *m, len(l.live), time.Now()
		}
	}
}

// crowd has n clients listen, and gives what they heard once all have ended.
func (st *stage) crowd(n int, opts bridge.Options, leave func(i int, told bool) bool) (wait func() []*life) {
	lives := make([]*life, n)
	var wg sync.WaitGroup
	for i := range n {
		p := st.connect(&talk{}, opts)
		wg.Go(func() { lives[i] = p.listen(func(told bool) bool { return leave != nil && leave(i, told) }) })
	}
	return func() []*life { wg.Wait(); return lives }
}

// perTenth counts moments by tenths of a second.
func perTenth(begin time.Time, moments []time.Time) map[int]int {
	count := map[int]int{}
	for _, m := range moments {
		count[int(m.Sub(begin)/(100*time.Millisecond))]++
	}
	return count
}

// TestDrainIsPaced drains 1,000 clients that stay to the end: notices and ends
// come at a steady rate, and each client gets its time.
func TestDrainIsPaced(t *testing.T) {
	if leak.Race {
		t.Skip("a crowd: runs without the race detector")
	}
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, bridge.Config{})
		wait := st.crowd(1000, bridge.Options{}, nil)
		synctest.Wait()
		begin := time.Now()
		st.factory.Drain(t.Context(), bridge.Drain{Window: 30 * time.Second})
		if took := time.Since(begin); took < 29*time.Second || took > 31*time.Second {
			t.Errorf("the drain took %s", took)
		}
		var told, ended []time.Time
		var delays time.Duration
		for _, l := range wait() {
			if l.notices != 1 || l.notice.Reason != wire.Drain || l.code != 4200 {
				t.Fatalf("%d notices: %+v, closed with %d", l.notices, l.notice, l.code)
			}
			if l.notice.Deadline != 10*time.Second || l.ended.Sub(l.told) != 10*time.Second {
				t.Fatalf("deadline %s, ended after %s", l.notice.Deadline, l.ended.Sub(l.told))
			}
			if l.notice.Delay < 0 || l.notice.Delay > 5*time.Second {
				t.Fatalf("delay %s", l.notice.Delay)
			}
			delays += l.notice.Delay
			told, ended = append(told, l.told), append(ended, l.ended)
		}
		if mean := delays / 1000; mean < 2200*time.Millisecond || mean > 2800*time.Millisecond {
			t.Errorf("delays are %s in the mean, want about 2.5s", mean)
		}
		for what, moments := range map[string]map[int]int{"notices": perTenth(begin, told), "ends": perTenth(begin.Add(10*time.Second), ended)} {
			for tenth := range 200 {
				if n := moments[tenth]; n < 4 || n > 6 { // 50 a second
					t.Errorf("%s: %d in the tenth of a second %d", what, n, tenth)
				}
			}
		}
		if s := st.factory.Stats(); s.Drains != 1000 || s.Ends[wire.Drain] != 1000 || s.Open != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestDrainEndsWithTheLast has clients leave at once when they are told, or before
// that: the drain does not wait for its window.
func TestDrainEndsWithTheLast(t *testing.T) {
	for _, tc := range []struct {
		name  string
		early int // of 200 clients leave before they are told
		least time.Duration
		took  time.Duration
	}{
		{"all when they are told", 0, 0, 20 * time.Second},
		{"most of them before", 180, 0, 2 * time.Second},
		{"all before", 200, 0, 0},
		{"all before, and more may come", 200, 3 * time.Second, 3 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := newStage(t, bridge.Config{})
				var clients []*peer
				var wg sync.WaitGroup
				for range 200 {
					p := st.connect(&talk{}, bridge.Options{})
					clients = append(clients, p)
					wg.Go(func() { p.listen(func(told bool) bool { return told }) })
				}
				synctest.Wait()
				begin := time.Now()
				var drain sync.WaitGroup
				drain.Go(func() {
					st.factory.Drain(t.Context(), bridge.Drain{Window: 30 * time.Second, Least: tc.least})
				})
				synctest.Wait() // the drain has counted them all, and set its rate
				for _, p := range clients[:tc.early] {
					_ = p.conn.Close()
				}
				drain.Wait()
				if took := time.Since(begin); took < tc.took-time.Second/2 || took > tc.took+time.Second/2 {
					t.Errorf("the drain took %s, want about %s", took, tc.took)
				}
				wg.Wait()
			})
		})
	}
}

// TestDrainLeavesTheRateAsItIs has half of the clients leave before they are told:
// the others are told as fast as before, not faster.
func TestDrainLeavesTheRateAsItIs(t *testing.T) {
	if leak.Race {
		t.Skip("a crowd: runs without the race detector")
	}
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, bridge.Config{})
		begin := time.Now()
		wait := st.crowd(500, bridge.Options{Heartbeat: time.Second}, func(i int, told bool) bool { return told || (i%2 == 0 && time.Since(begin) > 4*time.Second) })
		synctest.Wait()
		st.factory.Drain(t.Context(), bridge.Drain{Window: 30 * time.Second})
		if took := time.Since(begin); took > 15*time.Second {
			t.Errorf("the drain took %s", took)
		}
		var told []time.Time
		for _, l := range wait() {
			if l.notices > 0 {
				told = append(told, l.told)
			}
		}
		for tenth, n := range perTenth(begin, told) {
			if n > 4 { // 25 a second
				t.Errorf("%d notices in the tenth of a second %d", n, tenth)
			}
		}
	})
}

// TestNoticeStandsAtItsPosition publishes all the time: what came before the
// notice is up to its since, what comes behind it is after, and it goes on coming
// until the end.
func TestNoticeStandsAtItsPosition(t *testing.T) {
	for _, tc := range []struct {
		name string
		opts bridge.Options
		net  []memnet.Option
		slow bool
	}{
		{name: "adaptive"},
		{name: "every", opts: bridge.Options{Mailbox: mailbox.Options{Mode: mailbox.Every, Limit: 10_000}}},
		{name: "latest", opts: bridge.Options{Mailbox: mailbox.Options{Mode: mailbox.Latest}, Interval: 300 * time.Millisecond}},
		{name: "slow, in order", opts: bridge.Options{Mailbox: mailbox.Options{Limit: 10_000}}, net: []memnet.Option{memnet.WithBuffer(256)}, slow: true},
		{name: "slow, conflating", opts: bridge.Options{Mailbox: mailbox.Options{Limit: 4}}, net: []memnet.Option{memnet.WithBuffer(256)}, slow: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for shift := range 6 {
				synctest.Test(t, func(t *testing.T) {
					st := newStage(t, bridge.Config{FrameLimit: 512})
					if err := st.hub.Feed(t.Context(), market.Feed{State: market.FeedLive, Since: time.Now(), Epoch: 9}); err != nil {
						t.Fatal(err)
					}
					p := st.connect(&talk{symbols: []market.Symbol{"A", "B"}}, tc.opts, tc.net...)
					if tc.slow {
						p.in.Reset(drip{p.conn})
					}
					var heard *life
					var wg sync.WaitGroup
					wg.Go(func() { heard = p.listen(nil) })
					ctx, stop := context.WithCancel(t.Context())
					wg.Go(func() {
						for i := 0; ctx.Err() == nil; i++ {
							st.publish([]market.Symbol{"A", "B", "C"}[i%3], "C")
							time.Sleep(70 * time.Millisecond)
						}
					})
					time.Sleep(time.Second + time.Duration(shift)*37*time.Millisecond)
					begin := time.Now()
					st.factory.Drain(ctx, bridge.Drain{Window: 9 * time.Second})
					stop()
					wg.Wait()
					if heard.at < 0 || heard.code != 4200 && !tc.slow {
						t.Fatalf("%+v", heard)
					}
					if heard.notice.Since.Epoch != 9 {
						t.Fatalf("since %s", heard.notice.Since)
					}
					since := heard.notice.Since.Seq
					before, behind := heard.live[:heard.at], heard.live[heard.at:]
					if len(before) == 0 || len(behind) == 0 || before[len(before)-1] > since || behind[0] <= since {
						t.Fatalf("since %d stands between %v and %v", since, before, behind)
					}
					if !slices.IsSorted(heard.live) {
						t.Fatalf("not in order: %v", heard.live)
					}
					if ended := heard.ended.Sub(begin); ended < 3*time.Second && !tc.slow {
						t.Errorf("ended after %s", ended)
					}
				})
			}
		})
	}
}

// TestQuietClientGetsThePlaceOfTheFeed has its topics silent while others are not.
func TestQuietClientGetsThePlaceOfTheFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, bridge.Config{})
		p := st.connect(&talk{symbols: []market.Symbol{"A"}}, bridge.Options{})
		feed := func(epoch market.Epoch) {
			if err := st.hub.Feed(t.Context(), market.Feed{State: market.FeedLive, Epoch: epoch}); err != nil {
				t.Fatal(err)
			}
		}
		feed(9)
		p.text()
		st.publish("B", "B", "B")
		// A value that is ahead of the live events is no place to go on from.
		if err := st.hub.Replace(t.Context(), nil, []market.Event{{Seq: 50, Channel: market.Trades, Symbol: "C", Trade: &market.Trade{Price: 1, Size: 1}}}); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { st.factory.Drain(t.Context(), bridge.Drain{Window: time.Minute}) })
		if got := p.text(); !strings.Contains(got, `"reason":"drain"`) || !strings.Contains(got, `"since":"9-3"`) {
			t.Errorf("got %s", got)
		}
		// Between the name of a new epoch and its gap no position is known.
		feed(10)
		q := st.connect(&talk{symbols: []market.Symbol{"A"}}, bridge.Options{MaxAge: 10 * time.Second})
		for got := q.text(); !strings.Contains(got, `"deadline_ms":2000}]`); got = q.text() {
			if strings.Contains(got, "error") || strings.Contains(got, "since\":\"1") {
				t.Fatalf("got %s", got)
			}
		}
		st.cancel()
		wg.Wait()
	})
}

// TestStrictClientsAreEndedAtTheirTurn: their protocol has no word for a drain.
func TestStrictClientsAreEndedAtTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, bridge.Config{})
		wait := st.crowd(100, bridge.Options{Format: wire.JSONStock}, nil)
		synctest.Wait()
		begin := time.Now()
		st.factory.Drain(t.Context(), bridge.Drain{Window: 15 * time.Second})
		var ended []time.Time
		for _, l := range wait() {
			if l.code != 1001 || l.notices != 0 {
				t.Errorf("%d notices, closed with %d", l.notices, l.code)
			}
			ended = append(ended, l.ended)
		}
		for tenth, n := range perTenth(begin, ended) {
			if n > 2 || tenth > 100 { // 10 a second, within 10 s
				t.Errorf("%d ends in the tenth of a second %d", n, tenth)
			}
		}
	})
}

// TestWhoComesDuringADrainIsMoved, too.
func TestWhoComesDuringADrainIsMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, bridge.Config{})
		first := st.crowd(10, bridge.Options{}, nil)
		var wg sync.WaitGroup
		begin := time.Now()
		wg.Go(func() { st.factory.Drain(t.Context(), bridge.Drain{Window: 9 * time.Second}) })
		var waits []func() []*life
		for range 20 {
			time.Sleep(400 * time.Millisecond)
			waits = append(waits, st.crowd(1, bridge.Options{}, nil))
		}
		wg.Wait()
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("the drain took %s", took)
		}
		for _, wait := range append(waits, first) {
			for _, l := range wait() {
				if l.notices != 1 || l.code != 4200 {
					t.Errorf("%d notices, closed with %d", l.notices, l.code)
				}
			}
		}
	})
}

// TestDrainDuringAMove orders a bridge to leave while it changes its hub.
func TestDrainDuringAMove(t *testing.T) {
	for delay := range 20 {
		synctest.Test(t, func(t *testing.T) {
			st := newStage(t, bridge.Config{})
			late := st.another()
			h := newMover(late.hub)
			st.reluctant = delay%2 == 1
			p := st.connect(h, bridge.Options{}, memnet.WithBuffer(16+delay))
			st.publish("A", "A")
			p.send(ws.NewTextFrame([]byte("move")))
			var wg sync.WaitGroup
			wg.Go(func() { st.factory.Drain(t.Context(), bridge.Drain{Window: time.Duration(delay) * time.Millisecond}) })
			before, code := p.closed()
			if end := <-p.end; end.Reason != wire.Drain || (code != 4200 && code != 0) {
				t.Errorf("%v, close %d, %q", end, code, before)
			}
			wg.Wait()
			h.tasks.Wait()
		})
	}
}

// TestAgeIsAnnounced a while before the end.
func TestAgeIsAnnounced(t *testing.T) {
	for _, tc := range []struct {
		age, notice time.Duration
		format      wire.Format
	}{
		{10 * time.Second, 8 * time.Second, wire.JSONNative},
		{24 * time.Hour, 24*time.Hour - 30*time.Second, wire.JSONNative},
		{time.Hour, 0, wire.JSONStock},
	} {
		t.Run(fmt.Sprint(tc.age, " ", tc.format), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := newStage(t, bridge.Config{MaxAge: tc.age})
				begin := time.Now()
				l := st.crowd(1, bridge.Options{Format: tc.format}, nil)()[0]
				if l.ended.Sub(begin) != tc.age || l.code != 4201 {
					t.Errorf("ended after %s with %d", l.ended.Sub(begin), l.code)
				}
				if tc.notice == 0 {
					if l.notices != 0 {
						t.Error("a strict client got a notice")
					}
					return
				}
				lead := tc.age - tc.notice
				if l.notices != 1 || l.notice.Reason != wire.MaxAge || l.told.Sub(begin) != tc.notice || l.notice.Deadline != lead || l.notice.Delay > lead/2 {
					t.Errorf("%d notices, %+v after %s", l.notices, l.notice, l.told.Sub(begin))
				}
			})
		})
	}
}

// TestTheSoonerEndCounts, where a client is to leave for both reasons.
func TestTheSoonerEndCounts(t *testing.T) {
	for _, tc := range []struct {
		age     time.Duration
		code    ws.StatusCode
		ended   time.Duration
		notices int
	}{
		{time.Minute, 4200, 20 * time.Second, 1},
		{15 * time.Second, 4201, 15 * time.Second, 1},
		{25 * time.Second, 4200, 20 * time.Second, 1}, // not told of its age yet
	} {
		synctest.Test(t, func(t *testing.T) {
			st := newStage(t, bridge.Config{MaxAge: tc.age})
			begin := time.Now()
			wait := st.crowd(1, bridge.Options{}, nil)
			time.Sleep(10 * time.Second)
			st.factory.Drain(t.Context(), bridge.Drain{Window: 30 * time.Second})
			l := wait()[0]
			if got := l.ended.Sub(begin).Round(time.Second); l.code != tc.code || got != tc.ended || l.notices != tc.notices {
				t.Errorf("age %s: closed with %d after %s, %d notices", tc.age, l.code, got, l.notices)
			}
		})
	}
}
