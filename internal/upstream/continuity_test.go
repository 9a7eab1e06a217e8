package upstream_test

import (
	"testing"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/market"
)

// after gives a trade that names the one before it.
func after(prev, seq market.Seq, symbol market.Symbol) market.Event {
	e := trade(seq, symbol)
	e.Prev = prev
	return e
}

// holes compares the counts of holes.
func (w *world) holes(noticed, repaired, announced float64) {
	w.t.Helper()
	const name = "lzstock_upstream_holes_total"
	if n, r, a := w.count(name, "noticed"), w.count(name, "repaired"), w.count(name, "announced"); n != noticed || r != repaired || a != announced {
		w.t.Errorf("holes: %.0f noticed, %.0f repaired, %.0f announced; want %.0f, %.0f, %.0f", n, r, a, noticed, repaired, announced)
	}
}

// TestHoleIsReplayed: an event that is missing is noticed with the next one of its
// topic. Nothing of the topic is passed on before it has come, and what other topics
// had meanwhile comes once.
func TestHoleIsReplayed(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		s := carrying(w)
		must(w.t, w.client.Acquire("u", []market.Topic{msft}))
		id := w.expectRequest(s, "add [trades:MSFT] drop []")
		s.snapshots([]market.Topic{msft}, trade(257, "MSFT"))
		s.added(id)
		s.batch(trade(1024, "MSFT"))
		s.batch(trade(1280, "MSFT"), after(768, 1281, "AAPL"), trade(1282, "MSFT"))
		w.expect("replace [trades:MSFT] with [MSFT@257]", "publish [MSFT@1024]", "publish [MSFT@1280]")

		s = w.open(1536)
		id = w.expectRequest(s, "add [trades:AAPL] drop [] since 1000-256")
		other := w.expectRequest(s, "add [trades:MSFT] drop [] since 1000-1280")
		s.batch(after(256, 512, "AAPL"), after(512, 768, "AAPL"), after(768, 1281, "AAPL"))
		s.added(id)
		s.batch(after(1280, 1282, "MSFT"))
		s.added(other)
		s.batch(trade(1536, "AAPL"))
		w.expect("publish [AAPL@512 AAPL@768 AAPL@1281]", "publish [MSFT@1282]", "publish [AAPL@1536]")
		w.holes(1, 1, 0)
		if p := w.client.Position(); p.Seq != 1536 {
			t.Errorf("position %s, want 1000-1536", p)
		}
	})
}

// TestHoleUnderAWildcard: the topic is carried by name for the time of its replay.
func TestHoleUnderAWildcard(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		must(w.t, w.client.Acquire("u", []market.Topic{star}))
		s := w.open(256)
		id := w.expectRequest(s, "add [trades:*] drop []")
		s.snapshots([]market.Topic{star}, trade(256, "AAPL"))
		s.added(id)
		s.batch(trade(512, "NVDA"))
		s.batch(after(520, 768, "MSFT"))
		settle()
		w.sink.take()

		s = w.open(1024)
		id = w.expectRequest(s, "add [trades:MSFT] drop [] since 1000-256")
		all := w.expectRequest(s, "add [trades:*] drop [] since 1000-767")
		w.expectRequest(s, "add [] drop [trades:MSFT]")
		s.batch(after(0, 520, "MSFT"), after(520, 768, "MSFT"))
		s.added(id)
		s.added(all)
		s.batch(after(512, 1024, "NVDA"))
		w.expect("publish [MSFT@520 MSFT@768]", "publish [NVDA@1024]")
		w.holes(1, 1, 0)
	})
}

// TestHoleWithinAPosition: what shares the position of the event behind the hole comes
// with it, once.
func TestHoleWithinAPosition(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		s := carrying(w)
		must(w.t, w.client.Acquire("u", []market.Topic{msft}))
		id := w.expectRequest(s, "add [trades:MSFT] drop []")
		s.snapshots([]market.Topic{msft}, trade(257, "MSFT"))
		s.added(id)
		s.batch(trade(512, "MSFT"), trade(1024, "MSFT"), after(768, 1024, "AAPL"))
		w.expect("replace [trades:MSFT] with [MSFT@257]", "publish [MSFT@512]")

		s = w.open(1024)
		id = w.expectRequest(s, "add [trades:AAPL] drop [] since 1000-256")
		other := w.expectRequest(s, "add [trades:MSFT] drop [] since 1000-1023")
		s.batch(after(256, 768, "AAPL"), after(768, 1024, "AAPL"))
		s.batch(after(512, 1024, "MSFT"))
		s.added(id)
		s.added(other)
		w.expect("publish [AAPL@768 AAPL@1024]", "publish [MSFT@1024]")
		w.holes(1, 1, 0)
	})
}

// TestHoleForGood: what two replays do not bring is announced, and the topic goes on.
func TestHoleForGood(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		s := carrying(w)
		s.batch(after(512, 768, "AAPL"))
		for range 2 {
			s = w.open(1024)
			id := w.expectRequest(s, "add [trades:AAPL] drop [] since 1000-256")
			s.batch(after(512, 768, "AAPL"), trade(1024, "AAPL"))
			s.added(id)
		}
		w.expect("gap expired 1000-256 to 1000-767 on [trades:AAPL]", "replace [trades:AAPL] with [AAPL@768]", "publish [AAPL@1024]")
		s.batch(trade(1280, "AAPL"))
		w.expect("publish [AAPL@1280]")
		w.holes(1, 0, 1)
		if w.noRequest(s); s.stream.Context().Err() != nil {
			t.Error("the stream has ended")
		}
	})
}

// TestHoleThatIsNoLongerHeld: the monitor itself says so.
func TestHoleThatIsNoLongerHeld(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		s := carrying(w)
		s.batch(after(512, 768, "AAPL"))
		s = w.open(1024)
		id := w.expectRequest(s, "add [trades:AAPL] drop [] since 1000-256")
		s.gap(pb.Gap_REASON_EXPIRED, market.Position{Epoch: epoch, Seq: 256}, market.Position{Epoch: epoch, Seq: 1024}, aapl)
		s.snapshots([]market.Topic{aapl}, trade(1024, "AAPL"))
		s.added(id)
		s.batch(trade(1280, "AAPL"))
		w.expect("gap expired 1000-256 to 1000-1024 on [trades:AAPL]", "replace [trades:AAPL] with [AAPL@1024]", "publish [AAPL@1280]")
		w.holes(1, 0, 1)
	})
}

// TestNoHole is what is not continuous and need not be.
func TestNoHole(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		s := carrying(w)
		merged := after(256, 1024, "AAPL")
		merged.Merged = 4
		s.batch(merged) // conflated: the monitor sent none of the four before it
		s.batch(trade(1280, "AAPL"))
		must(w.t, w.client.Acquire("u", []market.Topic{nvda}))
		s.added(w.expectRequest(s, "add [trades:NVDA] drop []"))
		s.snapshots([]market.Topic{nvda}) // which has no value yet
		w.expect("publish [AAPL@1024]", "publish [AAPL@1280]", "replace [trades:NVDA] with []")

		s.end <- nil
		s = w.open(1536)
		s.added(w.expectRequest(s, "add [trades:AAPL trades:NVDA] drop [] since 1000-1280"))
		// This monitor knows an old NVDA, and nothing of AAPL before it was started.
		s.batch(after(100, 1536, "NVDA"), after(0, 1537, "AAPL"), after(1537, 1538, "AAPL"))
		w.expect("publish [NVDA@1536 AAPL@1537 AAPL@1538]")
		w.holes(0, 0, 0)
	})
}

// TestMonitorThatLostEvents: one that has lost events itself names no single topic.
// Whoever listens to one of its channels is told.
func TestMonitorThatLostEvents(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		s := carrying(w)
		quotes := market.Topic{Channel: market.Quotes, Symbol: market.AllSymbols}
		s.gap(pb.Gap_REASON_EXPIRED, market.Position{Epoch: epoch, Seq: 512}, market.Position{Epoch: epoch, Seq: 1023}, star, quotes)
		s.batch(after(0, 1024, "AAPL"), after(1024, 1025, "AAPL"))
		w.expect("gap expired 1000-256 to 1000-1023 on [trades:AAPL]", "publish [AAPL@1024 AAPL@1025]")
		w.holes(0, 0, 0)
	})
}
