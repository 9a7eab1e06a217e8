package bridge_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/internal/memnet"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// event reads one event: its name, data and id.
func (p *peer) event() (name, data, id string, err error) {
	p.t.Helper()
	for {
		line, err := p.in.ReadString('\n')
		if err != nil {
			return "", "", "", err
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch {
		case line == "\n" && data != "":
			return name, data, id, nil
		case field == "event":
			name = value
		case field == "data":
			data = value
		case field == "id":
			id = value
		}
	}
}

// closedEvents is closed for an event stream.
func (p *peer) closedEvents() (before []string, code ws.StatusCode) {
	p.t.Helper()
	for {
		name, data, _, err := p.event()
		if err != nil {
			return before, 0
		}
		if name == "close" {
			_, _ = fmt.Sscanf(data, `{"code":%d,`, &code)
			return before, code
		}
		before = append(before, data)
	}
}

func (p *peer) wantEvent(want, id string) {
	p.t.Helper()
	if _, data, got, err := p.event(); err != nil || !strings.Contains(data, want) || got != id {
		p.t.Errorf("got %s, id %q, %v\nwant %s, id %q", data, got, err, want, id)
	}
}

// TestEventIDs are there only where a client that resumes all its topics misses
// nothing of any: neither a value that is on its way, nor word of a gap.
func TestEventIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStageOver(t, bridge.Config{HeartbeatEvery: time.Second}, false)
		ctx := t.Context()
		topic := func(s market.Symbol) []market.Topic { return []market.Topic{{Channel: market.Trades, Symbol: s}} }
		value := func(s market.Symbol, q market.Seq) market.Event {
			return market.Event{Seq: q, Channel: market.Trades, Symbol: s, Trade: &market.Trade{Price: 1, Time: time.Unix(1, 0)}}
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		must(st.hub.Feed(ctx, market.Feed{State: market.FeedLive, Epoch: 5}))
		p := st.connect(&talk{symbols: []market.Symbol{"A", "B"}}, bridge.Options{Framing: wire.EventStream, Head: []byte("retry: 1\n\n")})
		p.wantEvent(`"T":"feed"`, "")
		synctest.Wait()
		must(st.hub.Replace(ctx, topic("A"), []market.Event{value("A", 3)}))
		p.wantEvent(`"q":3,"pq":0,"snap":true`, "")
		must(st.hub.Publish(ctx, []market.Event{value("A", 4)}))
		p.wantEvent(`"q":4,"pq":3`, "")
		p.wantEvent(`"T":"hb"`, "")
		must(st.hub.Replace(ctx, topic("B"), nil)) // it has none: nothing more is to come
		must(st.hub.Publish(ctx, []market.Event{value("A", 5)}))
		p.wantEvent(`"q":5,"pq":4`, "5-5")
		p.wantEvent(`"T":"hb"`, "5-5")

		must(st.hub.Gap(ctx, market.Gap{Reason: market.GapExpired, From: market.Position{Epoch: 5, Seq: 5}, To: market.Position{Epoch: 5, Seq: 9}, Topics: topic("A")}))
		p.wantEvent(`"T":"gap"`, "")
		must(st.hub.Publish(ctx, []market.Event{value("B", 10)}))
		p.wantEvent(`"q":10,"pq":0`, "")
		must(st.hub.Replace(ctx, topic("A"), []market.Event{value("A", 9)}))
		p.wantEvent(`"q":9,"pq":0,"snap":true`, "5-10")

		must(st.hub.Gap(ctx, market.Gap{
			Reason: market.GapEpoch, From: market.Position{Epoch: 5, Seq: 10}, To: market.Position{Epoch: 6, Seq: 100}, Topics: append(topic("A"), topic("B")...),
		}))
		p.wantEvent(`"T":"gap","reason":"epoch"`, "")
		must(st.hub.Replace(ctx, append(topic("A"), topic("B")...), []market.Event{value("A", 50), value("B", 60)}))
		p.wantEvent(`"snap":true`, "6-100")
		must(st.hub.Publish(ctx, []market.Event{value("B", 101)}))
		p.wantEvent(`"q":101`, "6-101")
	})
}

// hold has the shard wait while f sends to it, so that all of it is in one round.
func (st *stage) hold(t *testing.T, f func()) {
	t.Helper()
	m, err := st.hub.Join(t.Context(), idle{}, mailbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	held, free := make(chan struct{}), make(chan struct{})
	if err := m.Do(t.Context(), func(time.Time) { close(held); <-free }); err != nil {
		t.Fatal(err)
	}
	<-held
	f()
	close(free)
}

// idle is a Sink that takes nothing.
type idle struct{}

func (idle) Flush(*mailbox.Mailbox, time.Time) time.Time { return time.Time{} }
func (idle) Announce(hub.Notice)                         {}
func (idle) Fail(error)                                  {}

// TestEventIDsOfTheEpochBefore: what waited when an epoch began is written behind its
// beginning, and its positions are not the new one's.
func TestEventIDsOfTheEpochBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, bridge.Config{HeartbeatEvery: time.Hour})
		if err := st.hub.Feed(t.Context(), market.Feed{State: market.FeedLive, Epoch: 5}); err != nil {
			t.Fatal(err)
		}
		p := st.connect(&talk{symbols: []market.Symbol{"A"}}, bridge.Options{Framing: wire.EventStream})
		p.wantEvent(`"T":"feed"`, "")
		synctest.Wait()
		st.publish("A")
		p.wantEvent(`"q":1`, "5-1")
		st.hold(t, func() { // an event and the gap behind it, in one round
			st.publish("A", "A")
			if err := st.hub.Gap(t.Context(), market.Gap{
				Reason: market.GapEpoch, From: market.Position{Epoch: 5, Seq: 3}, To: market.Position{Epoch: 6, Seq: 100},
				Topics: []market.Topic{{Channel: market.Trades, Symbol: "A"}},
			}); err != nil {
				t.Error(err)
			}
		})
		p.wantEvent(`"q":3`, "")
		p.wantEvent(`"T":"gap"`, "")
	})
}

// TestEventIDsWhileAGapIsNotTold: a client that catches up is told last what is lost.
func TestEventIDsWhileAGapIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, bridge.Config{})
		if err := st.hub.Feed(t.Context(), market.Feed{State: market.FeedLive, Epoch: 5}); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			st.publish("A", "B")
		}
		synctest.Wait()
		wants := make(chan hub.Want, 1)
		h := &talk{symbols: []market.Symbol{"A", "B"}, member: make(chan *hub.Member, 1), catchUp: &hub.CatchUp{
			Since: market.Position{Epoch: 5, Seq: 15}, Fetch: func(w hub.Want) { wants <- w },
		}}
		p := st.connect(h, bridge.Options{Framing: wire.EventStream})
		p.wantEvent(`"T":"feed"`, "")
		w := <-wants
		m := <-h.member
		var held []market.Event
		for q := market.Seq(16); q <= 20; q += 2 {
			held = append(held, market.Event{Seq: q, Prev: q - 2, Channel: market.Trades, Symbol: "B", Trade: &market.Trade{Price: 1, Time: time.Unix(1, 0)}})
		}
		if err := m.Refill(t.Context(), w, hub.Refill{Events: held[:1], Through: 17, Missed: w.Topics[:1]}); err != nil {
			t.Fatal(err)
		}
		p.wantEvent(`"S":"B"`, "") // whoever resumes here is not told of A
		w = <-wants
		if err := m.Refill(t.Context(), w, hub.Refill{Events: held[1:], Through: 20}); err != nil {
			t.Fatal(err)
		}
		p.wantEvent(`"T":"gap"`, "")
		p.wantEvent(`"S":"A"`, "")
		p.wantEvent(`"q":18`, "5-20")
	})
}

// TestSlowest names those who do not keep up, the slowest first, and nobody else.
func TestSlowest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, bridge.Config{HeartbeatEvery: time.Hour})
		all := []market.Symbol{"A", "B"}
		quick := st.connect(&talk{symbols: all}, bridge.Options{ID: "quick"})
		st.connect(&talk{symbols: all}, bridge.Options{ID: "stuck", Framing: wire.EventStream}, memnet.WithBuffer(64))
		late := st.connect(&talk{symbols: all}, bridge.Options{ID: "late", Interval: 3 * time.Second, Mailbox: mailbox.Options{Mode: mailbox.Latest}})
		synctest.Wait()
		st.publish("A", "B")
		quick.text()
		late.text()
		time.Sleep(time.Second)
		st.publish("A")
		st.publish("A")
		synctest.Wait()
		time.Sleep(time.Second)
		list, err := st.factory.Slowest(t.Context(), 5, st.hub)
		if err != nil || len(list) != 2 {
			t.Fatalf("%v %+v", err, list)
		}
		stuck, slow := list[0], list[1] // both wait as long; the first has more
		if stuck.ID != "stuck" || !stuck.Busy || stuck.Queued != 2 || stuck.Oldest != time.Second || stuck.Framing != wire.EventStream || stuck.Age != 2*time.Second || stuck.Bytes == 0 {
			t.Errorf("%+v", stuck)
		}
		if slow.ID != "late" || slow.Busy || slow.Queued != 1 || slow.Merged != 1 || slow.Oldest != time.Second || slow.Mode != mailbox.Latest {
			t.Errorf("%+v", slow)
		}
		if list, err = st.factory.Slowest(t.Context(), 1, st.hub); err != nil || len(list) != 1 || list[0].ID != "stuck" {
			t.Errorf("the slowest: %v %+v", err, list)
		}
		if s := st.factory.Stats(); s.Frames < 4 || s.Frames > 8 {
			t.Errorf("%d frames", s.Frames)
		}
	})
}
