package upstream_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/marketpb"
	"github.com/lzstock/lzstock/internal/upstream"
	"github.com/lzstock/lzstock/market"
)

// lists welcomes a stream as a monitor does that tells its symbols.
func (w *world) lists(s *watch, at market.Seq, symbols ...string) {
	w.sink.mu.Lock()
	w.at = at
	w.live = append(w.live, s)
	w.sink.mu.Unlock()
	s.send(&pb.WatchResponse{Kind: &pb.WatchResponse_Welcome{Welcome: &pb.Welcome{
		Position: marketpb.Position(market.Position{Epoch: epoch, Seq: at}), Lists: true, Symbols: symbols,
	}}})
	s.feed(pb.FeedState_STATE_LIVE)
}

func (w *watch) listed(symbols ...string) {
	w.send(&pb.WatchResponse{Kind: &pb.WatchResponse_Listed{Listed: &pb.Listed{Symbols: symbols}}})
}

// invented names topics of symbols that there never were.
func invented(n int) (out []market.Topic) {
	for i := range n {
		out = append(out, market.Topic{Channel: market.Trades, Symbol: market.Symbol(fmt.Sprintf("X%d", i))})
	}
	return out
}

// dropsOf gives the symbols of a request's drops on the channel of trades.
func dropsOf(r *pb.WatchRequest) (out []string) {
	for _, d := range r.GetDrop() {
		if d.GetChannel() == pb.Channel_CHANNEL_TRADES {
			out = append(out, d.GetSymbols()...)
		}
	}
	return out
}

func TestSymbolsThatNeverWereAreNotAskedFor(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		must(w.t, w.client.Acquire("u", append(invented(100), aapl, nvda)))
		_, s := w.any()
		w.lists(s, 256, "AAPL", "MSFT")
		id := w.expectRequest(s, "add [trades:AAPL] drop []")
		s.snapshots([]market.Topic{aapl}, trade(200, "AAPL"))
		s.added(id)
		settle()
		w.sink.take()
		for range 50 { // whatever somebody makes up
			must(w.t, w.client.Acquire("v", invented(3000)))
			w.client.Release("v", invented(3000))
		}
		time.Sleep(10 * time.Second)
		w.noRequest(s)
		w.expect()
		if n := w.gather("lzstock_upstream_waiting_topics")[0].GetGauge().GetValue(); n != 101 {
			t.Errorf("%v topics wait, want 101", n)
		}

		// One appears: its first events reach those who wait, all of them, and nothing
		// is carried that nobody wants.
		s.batch(trade(512, "AAPL"))
		s.listed("NVDA", "TSLA")
		s.batch(trade(768, "NVDA"), trade(769, "TSLA"), trade(770, "NVDA"))
		settle()
		select {
		case r := <-s.requests:
			if drops := dropsOf(r); fmt.Sprint(drops) != "[TSLA]" {
				t.Errorf("dropped %s, want TSLA", drops)
			}
		default:
			t.Error("nothing was dropped")
		}
		w.expect("publish [AAPL@512]", "replace [trades:NVDA] with []", "publish [NVDA@768 NVDA@770]")
	})
}

// What appears while no monitor is there is resumed from where the last one ended.
func TestSymbolAppearsBetweenMonitors(t *testing.T) {
	inBubble(t, 2, func(w *world) {
		must(w.t, w.client.Acquire("u", []market.Topic{aapl, nvda}))
		_, s := w.any()
		w.lists(s, 256, "AAPL")
		id := w.expectRequest(s, "add [trades:AAPL] drop []")
		s.snapshots([]market.Topic{aapl}, trade(200, "AAPL"))
		s.added(id)
		s.batch(trade(512, "AAPL"))
		settle()
		w.sink.take()
		s.end <- status.Error(codes.Unavailable, "stopping")
		_, s = w.any()
		w.lists(s, 1024, "AAPL", "NVDA")
		w.expect("replace [trades:NVDA] with []")
		r := <-s.requests
		if got := marketpb.FromPosition(r.GetSince()).Seq; got != 512 || len(r.GetAdd()[0].GetSymbols()) != 2 {
			t.Errorf("asked %v, want both symbols since 512", r)
		}
		s.batch(trade(768, "NVDA"))
		s.added(r.GetId())
		w.expect("publish [NVDA@768]")
	})
}

// A monitor that does not tell its symbols is asked for all.
func TestMonitorThatListsNothing(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		must(w.t, w.client.Acquire("u", []market.Topic{nvda}))
		_, s := w.any()
		s.welcome(epoch, 256)
		w.expectRequest(s, "add [trades:NVDA] drop []")
		must(w.t, w.client.Acquire("u", []market.Topic{msft}))
		w.expectRequest(s, "add [trades:MSFT] drop []")
	})
}

func TestLimits(t *testing.T) {
	limits := upstream.Limits{Topics: 10, UserTopics: 6, Unknown: 8, UserUnknown: 5}
	inBubbleWith(t, 1, upstream.Config{Limits: limits}, func(w *world) {
		_, s := w.any()
		var real []market.Topic
		var symbols []string
		for i := range 12 {
			symbols = append(symbols, fmt.Sprintf("R%02d", i))
			real = append(real, market.Topic{Channel: market.Trades, Symbol: market.Symbol(symbols[i])})
		}
		w.lists(s, 256, symbols...)
		settle()
		refused := func(user string, topics []market.Topic, want string) {
			t.Helper()
			if err := w.client.Acquire(user, topics); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s asked for %d: %v, want %s", user, len(topics), err, want)
			}
		}
		made := invented(20)
		must(t, w.client.Acquire("a", made[:5]))
		refused("a", made[5:6], "one user waits for 5 such, and may wait for 5")
		must(t, w.client.Acquire("a", made[:5])) // they cost nothing more
		must(t, w.client.Acquire("b", made[:8]))
		refused("b", made[8:9], "all users together wait for 8 such")
		w.client.Release("a", made[:5])
		w.client.Release("a", made[:5])
		refused("c", made[8:9], "all users together") // another has them still
		w.client.Release("b", made[:8])
		must(t, w.client.Acquire("c", made[8:13]))
		w.client.Release("c", made[8:13])

		must(t, w.client.Acquire("a", real[:6]))
		refused("a", real[6:7], "one user has 6, and may have 6")
		must(t, w.client.Acquire("b", real[:9]))
		refused("c", real[9:11], "all users together have 9, and may have 10")
		must(t, w.client.Acquire("c", real[9:10]))
		// What lingers still counts, for the one who asked first.
		w.client.Release("b", real[:9])
		w.client.Release("a", real[:6])
		refused("a", real[10:11], "one user has 6")
		for _, topic := range real[:9] {
			s.snapshots([]market.Topic{topic})
			settle()
		}
		time.Sleep(11 * time.Second)
		must(t, w.client.Acquire("a", real[:6]))
		w.client.Release("a", real[:6])
		w.client.Release("c", real[9:10])
	})
}

// A monitor that refuses a request ends nothing, and what it refused can go.
func TestRefusedRequest(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		s := carrying(w)
		must(w.t, w.client.Acquire("u", []market.Topic{msft}))
		id := w.expectRequest(s, "add [trades:MSFT] drop []")
		s.send(&pb.WatchResponse{Kind: &pb.WatchResponse_Refused{Refused: &pb.Refused{Id: id, Reason: "too many"}}})
		s.batch(trade(512, "AAPL"))
		w.expect("forget [trades:MSFT]", "publish [AAPL@512]")
		w.client.Release("u", []market.Topic{msft})
		time.Sleep(6 * time.Second)
		w.noRequest(s)
		w.expect("forget [trades:MSFT]")
	})
}
