package bridge_test

import (
	"context"
	"strings"
	"sync"
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

// another runs a second hub, which gives what it publishes a price of its own.
func (st *stage) another() *stage {
	st.t.Helper()
	return newStage(st.t, bridge.Config{})
}

// mover moves to another hub on a text, away from the goroutine that reads, and
// subscribes to A there.
type mover struct {
	talk
	to    *hub.Hub
	tasks *sync.WaitGroup
	err   chan error
}

func (h *mover) Message(ctx context.Context, b *bridge.Bridge, _ bridge.Message) error {
	h.tasks.Go(func() {
		b.Run(func() error {
			err := b.Move(ctx, h.to, mailbox.Options{})
			h.err <- err
			if err != nil {
				return err
			}
			return b.Member().Subscribe(ctx, hub.Subscription{Topics: []market.Topic{{Channel: market.Trades, Symbol: "A"}}, Snapshot: true},
				func(market.Seq) { b.SendNow([]byte("moved")) })
		})
	})
	return nil
}

func newMover(to *hub.Hub) *mover {
	return &mover{talk: talk{symbols: []market.Symbol{"A"}}, to: to, tasks: &sync.WaitGroup{}, err: make(chan error, 10)}
}

func TestMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, bridge.Config{})
		late := st.another()
		for range 5 {
			late.publish("A")
		}
		h := newMover(late.hub)
		p := st.connect(h, bridge.Options{Greeting: []byte("hello")})
		st.publish("A")
		if got := p.text(); got != "hello" {
			t.Errorf("got %s", got)
		}
		if got := p.text(); !strings.Contains(got, `"q":1,`) {
			t.Errorf("got %s", got)
		}
		p.send(ws.NewTextFrame([]byte("move")))
		if got := p.text(); got != "moved" {
			t.Errorf("got %s", got)
		}
		if got := p.text(); !strings.Contains(got, `"q":5,"pq":0,"snap":true`) {
			t.Errorf("got %s", got)
		}
		st.publish("A")
		late.publish("A")
		if got := p.text(); !strings.Contains(got, `"q":6,"pq":5`) {
			t.Errorf("got %s", got)
		}
		p.send(ws.NewPingFrame([]byte("x"))) // it is the new hub that answers
		if op, got := p.frame(); op != ws.OpPong || got != "x" {
			t.Errorf("got %v %s", op, got)
		}
		if st.hub.Stats().Members != 0 || late.hub.Stats().Members != 1 {
			t.Errorf("members: %+v, %+v", st.hub.Stats(), late.hub.Stats())
		}
		_ = p.conn.Close()
		if end := <-p.end; end.Reason != wire.ClientGone || late.hub.Stats().Members != 0 {
			t.Errorf("%v, %+v", end, late.hub.Stats())
		}
		h.tasks.Wait()
	})
}

// TestMoveWhileAHelperWrites waits for the frame that is being written, so that
// nothing is torn.
func TestMoveWhileAHelperWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, bridge.Config{})
		late := st.another()
		late.publish("A")
		st.reluctant = true
		h := newMover(late.hub)
		p := st.connect(h, bridge.Options{}, memnet.WithBuffer(16))
		st.publish("A", "A", "A")
		synctest.Wait() // a helper waits for room
		p.send(ws.NewTextFrame([]byte("move")))
		synctest.Wait()
		if n := len(h.err); n != 0 {
			t.Error("it has not waited")
		}
		if got := p.text(); !strings.Contains(got, `"q":1,`) {
			t.Errorf("got %s", got)
		}
		for {
			got := p.text()
			if got == "moved" {
				break
			}
			if !strings.HasPrefix(got, `[{"T":"t"`) {
				t.Fatalf("torn: %s", got)
			}
		}
		if got := p.text(); !strings.Contains(got, `"snap":true`) {
			t.Errorf("got %s", got)
		}
		for range 5 { // the helper's end under the old hub has left nothing busy
			late.publish("A")
			if got := p.text(); !strings.Contains(got, `"T":"t"`) {
				t.Errorf("got %s", got)
			}
		}
		_ = p.conn.Close()
		if end := <-p.end; end.Reason != wire.ClientGone {
			t.Errorf("%v", end)
		}
		h.tasks.Wait()
	})
}

// TestMoveWhileStopping ends the bridge at every moment of a move: nothing is left
// in either hub, and the reason is the one that was first.
func TestMoveWhileStopping(t *testing.T) {
	for delay := range 40 {
		synctest.Test(t, func(t *testing.T) {
			st := newStage(t, bridge.Config{})
			late := st.another()
			h := newMover(late.hub)
			st.reluctant = delay%2 == 1
			p := st.connect(h, bridge.Options{}, memnet.WithBuffer(16+delay))
			st.publish("A", "A")
			var wg sync.WaitGroup
			p.send(ws.NewTextFrame([]byte("move")))
			wg.Go(func() {
				for range delay / 2 {
					late.publish("A")
				}
				st.cancel()
			})
			_, code := p.closed()
			end := <-p.end
			wg.Wait()
			h.tasks.Wait()
			if end.Reason != wire.GoingAway || (code != 1001 && code != 0) {
				t.Errorf("%v, close %d", end, code)
			}
			if n := st.hub.Stats().Members + late.hub.Stats().Members; n != 0 {
				t.Errorf("%d members are left", n)
			}
		})
	}
}

// TestMoveAfterTheEnd does nothing.
func TestMoveAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, bridge.Config{})
		late := st.another()
		var kept *bridge.Bridge
		p := st.connect(&talk{onText: func(_ context.Context, b *bridge.Bridge, _ string) error { kept = b; return nil }}, bridge.Options{})
		p.send(ws.NewTextFrame([]byte("x")))
		synctest.Wait()
		_ = p.conn.Close()
		if end := <-p.end; end.Reason != wire.ClientGone {
			t.Errorf("%v", end)
		}
		if err := kept.Move(t.Context(), late.hub, mailbox.Options{}); err != nil || late.hub.Stats().Members != 0 {
			t.Errorf("%v, %+v", err, late.hub.Stats())
		}
	})
}

// TestMoveToAHubThatHasEnded ends the bridge, as the end of its own hub does.
func TestMoveToAHubThatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, bridge.Config{CloseWait: time.Second})
		over, err := hub.New(hub.Config{Shards: 1})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		_ = over.Run(ctx)
		h := newMover(over)
		p := st.connect(h, bridge.Options{})
		p.send(ws.NewTextFrame([]byte("move")))
		if _, code := p.closed(); code != 1001 {
			t.Errorf("close %d", code)
		}
		if end := <-p.end; end.Reason != wire.GoingAway || st.hub.Stats().Members != 0 {
			t.Errorf("%v, %+v", end, st.hub.Stats())
		}
		h.tasks.Wait()
	})
}
