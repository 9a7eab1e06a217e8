package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/lzstock/lzstock/internal/bus"
	"github.com/lzstock/lzstock/market"
)

// conformance is what both buses promise.
var conformance = []struct {
	name  string
	small bool // the bus holds little
	run   func(t *testing.T, b *twin)
}{
	{"order and places", false, testOrder},
	{"reading waits for new batches", false, testWaits},
	{"an id is stored once", false, testDedup},
	{"bad batches are refused", false, testRefusals},
	{"bounds", false, testBounds},
	{"retention expires the oldest", true, testExpired},
	{"a hole is announced", false, testHole},
	{"a place behind the end is of another epoch", false, testAhead},
	{"an outage ends reads and holds publishers", false, testOutage},
	{"a new stream is a new epoch", false, testRecreate},
	{"reading ends with its context", false, testReadCancel},
	{"checkpoints", false, testCheckpoints},
	{"records of bars", false, testBars},
	{"pulses are heard, and are no batches", false, testPulses},
	{"close", false, testClose},
	{"a batcher keeps order through an outage", false, testBatcherOutage},
}

func TestMemory(t *testing.T) {
	for _, c := range conformance {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { c.run(t, newMemory(t, c.small)) })
		})
	}
}

func TestJetStream(t *testing.T) {
	for _, c := range conformance {
		t.Run(c.name, func(t *testing.T) { c.run(t, newJetStream(t, c.small)) })
	}
}

func testOrder(t *testing.T, b *twin) {
	t.Helper()
	quote := market.Event{Channel: market.Quotes, Symbol: "BTC/USD", Quote: &market.Quote{
		BidExchange: "U", BidPrice: -1, BidSize: 1, AskExchange: "Q", AskPrice: 2, AskSize: 3, Time: trades(1, 1)[0].Trade.Time,
	}}
	halt := market.Event{Channel: market.Statuses, Symbol: "BTC/USD", Status: &market.Status{
		Code: "H", Message: "Trading Halt", ReasonCode: "T12", ReasonMessage: "Information requested", Time: quote.Quote.Time, Tape: "C",
	}}
	sent := []bus.Batch{
		{Source: "tape", Events: trades(0, 1)},
		{Source: "sim-1", Events: append(trades(1, 2), quote, halt)},
		{Source: "tape", Events: trades(4, 256)},
	}
	for i, batch := range sent {
		s, err := b.Publish(t.Context(), batch)
		must(t, err)
		want := bus.Stored{First: market.MakeSeq(uint64(i+1), 0), Last: market.MakeSeq(uint64(i+1), len(batch.Events)-1)}
		if s != want {
			t.Errorf("batch %d stored at %+v, want %+v", i, s, want)
		}
	}
	for skip := range sent {
		after := market.Seq(0)
		if skip > 0 {
			after = market.MakeSeq(uint64(skip), 0)
		}
		for i, m := range read(t, b, after, len(sent)-skip) {
			batch := uint64(skip + i + 1)
			want := sent[skip+i]
			events := append([]market.Event(nil), want.Events...)
			for j := range events {
				events[j].Seq = market.MakeSeq(batch, j)
			}
			if m.Batch != batch || m.Source != want.Source || m.Epoch != b.Epoch() || m.Stored.IsZero() {
				t.Errorf("message %+v, want batch %d of %s in epoch %d", m, batch, want.Source, b.Epoch())
			}
			if diff := cmp.Diff(events, m.Events); diff != "" {
				t.Errorf("batch %d (-want +got):\n%s", batch, diff)
			}
		}
	}
}

func testWaits(t *testing.T, b *twin) {
	t.Helper()
	got := make(chan bus.Message)
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	wg.Go(func() {
		for m, err := range b.Read(ctx, 0) {
			if err != nil {
				return
			}
			got <- m
		}
	})
	for i := range 20 {
		s := publish(t, b, "tape", trades(i, 1))
		if m := <-got; m.Events[0].Seq != s.First || m.Events[0].Trade.ID != int64(i) {
			t.Fatalf("got %+v, want trade %d at %d", m, i, s.First)
		}
	}
	cancel()
	wg.Wait()
}

func testDedup(t *testing.T, b *twin) {
	t.Helper()
	batch := bus.Batch{Source: "tape", ID: "a-1", Events: trades(0, 3)}
	first, err := b.Publish(t.Context(), batch)
	must(t, err)
	again, err := b.Publish(t.Context(), batch)
	must(t, err)
	if first.Duplicate || !again.Duplicate || again.First != first.First || again.Last != first.Last {
		t.Errorf("stored %+v, then %+v: want the second to be a duplicate of the first", first, again)
	}
	next := publish(t, b, "tape", trades(3, 1))
	if next.First.Batch() != 2 {
		t.Errorf("the next batch is %d, want 2", next.First.Batch())
	}
}

func testRefusals(t *testing.T, b *twin) {
	t.Helper()
	bad := trades(0, 2)
	bad[1].Symbol = "NO WAY"
	for _, c := range []struct {
		name  string
		batch bus.Batch
		says  string
	}{
		{"no source", bus.Batch{Events: trades(0, 1)}, "bad source"},
		{"source with a dot", bus.Batch{Source: "a.b", Events: trades(0, 1)}, "bad source"},
		{"long source", bus.Batch{Source: strings.Repeat("a", 33), Events: trades(0, 1)}, "bad source"},
		{"empty", bus.Batch{Source: "a"}, "empty"},
		{"257 events", bus.Batch{Source: "a", Events: trades(0, 257)}, "257 events"},
		{"bad event", bus.Batch{Source: "a", Events: bad}, "event 1 of the batch: bad symbol"},
	} {
		if _, err := b.Publish(t.Context(), c.batch); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v, want one that says %q", c.name, err, c.says)
		}
	}
	if _, last, err := b.Bounds(t.Context()); err != nil || last != 0 {
		t.Errorf("something was stored: last %d, error %v", last, err)
	}
}

func testBounds(t *testing.T, b *twin) {
	t.Helper()
	check := func(wantFirst, wantLast uint64) {
		t.Helper()
		first, last, err := b.Bounds(t.Context())
		must(t, err)
		if first != market.MakeSeq(wantFirst, 0) || last != market.MakeSeq(wantLast, 0) {
			t.Errorf("bounds %d to %d, want batches %d to %d", first, last, wantFirst, wantLast)
		}
	}
	check(1, 0)
	publish(t, b, "tape", trades(0, 5))
	publish(t, b, "tape", trades(5, 5))
	check(1, 2)
	b.remove(1)
	check(2, 2)
	b.remove(2)
	check(3, 2)
	n, err := lastError(t.Context(), b, 0)
	if expired, ok := errors.AsType[*bus.ExpiredError](err); n != 0 || !ok || expired.First != market.MakeSeq(3, 0) {
		t.Errorf("reading an empty bus from the first gave %d messages and %v, want an expiry up to batch 3", n, err)
	}
}

func testExpired(t *testing.T, b *twin) {
	t.Helper()
	n := 0
	for first := market.Seq(0); first.Batch() < 10; n++ {
		publish(t, b, "tape", trades(n, 64))
		var err error
		first, _, err = b.Bounds(t.Context())
		must(t, err)
	}
	got, err := lastError(t.Context(), b, market.MakeSeq(3, 7))
	expired, ok := errors.AsType[*bus.ExpiredError](err)
	if got != 0 || !errors.Is(err, bus.ErrExpired) || !ok {
		t.Fatalf("reading gave %d messages and %v, want ErrExpired at once", got, err)
	}
	if expired.First != market.MakeSeq(10, 0) || expired.After != market.MakeSeq(3, 7) {
		t.Errorf("expired %+v, want first batch 10", expired)
	}
	if m := read(t, b, expired.Resume(), n-9); m[0].Batch != 10 || m[len(m)-1].Batch != uint64(n) {
		t.Errorf("resumed with batches %d to %d, want 10 to %d", m[0].Batch, m[len(m)-1].Batch, n)
	}
	if _, err := lastError(t.Context(), b, 0); !errors.Is(err, bus.ErrExpired) {
		t.Errorf("reading from the first ever gave %v, want ErrExpired", err)
	}
}

func testHole(t *testing.T, b *twin) {
	t.Helper()
	for i := range 6 {
		publish(t, b, "tape", trades(i, 1))
	}
	b.remove(3)
	b.remove(4)
	got, err := lastError(t.Context(), b, 0)
	expired, ok := errors.AsType[*bus.ExpiredError](err)
	if got != 2 || !ok || expired.First != market.MakeSeq(5, 0) {
		t.Fatalf("reading gave %d messages and %v, want 2 and the first after the hole", got, err)
	}
	if m := read(t, b, expired.Resume(), 2); m[0].Batch != 5 || m[1].Batch != 6 {
		t.Errorf("resumed with %d and %d, want 5 and 6", m[0].Batch, m[1].Batch)
	}
}

func testAhead(t *testing.T, b *twin) {
	t.Helper()
	publish(t, b, "tape", trades(0, 1))
	if n, err := lastError(t.Context(), b, market.MakeSeq(9, 0)); n != 0 || !errors.Is(err, bus.ErrEpoch) {
		t.Errorf("reading gave %d messages and %v, want ErrEpoch", n, err)
	}
}

func testOutage(t *testing.T, b *twin) {
	t.Helper()
	epoch := b.Epoch()
	publish(t, b, "tape", trades(0, 1))
	started := make(chan struct{})
	var ended error
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, err := range b.Read(t.Context(), 0) {
			if err != nil {
				ended = err
				return
			}
			close(started)
		}
	})
	<-started
	b.setDown(true)
	wg.Wait()
	if !errors.Is(ended, bus.ErrLost) {
		t.Errorf("the read ended with %v, want ErrLost", ended)
	}
	if h := waitHealth(t, b, false); !errors.Is(h.Err, bus.ErrLost) || b.Healthy() {
		t.Errorf("health %+v, want ErrLost", h)
	}
	if _, _, err := b.Bounds(t.Context()); !errors.Is(err, bus.ErrLost) {
		t.Errorf("bounds: %v, want ErrLost", err)
	}
	var stored []bus.Stored
	wg.Go(func() {
		for i := range 3 {
			s, err := b.Publish(t.Context(), bus.Batch{Source: "tape", Events: trades(1+i, 1)})
			if err != nil {
				t.Errorf("publish through the outage: %v", err)
				return
			}
			stored = append(stored, s)
		}
	})
	b.setDown(false)
	waitHealth(t, b, true)
	wg.Wait()
	for i, m := range read(t, b, 0, 4) {
		if m.Batch != uint64(i+1) || m.Events[0].Trade.ID != int64(i) {
			t.Errorf("batch %d holds trade %d, want trade %d", m.Batch, m.Events[0].Trade.ID, i)
		}
	}
	if len(stored) != 3 || stored[2].First.Batch() != 4 {
		t.Errorf("stored %+v, want batches 2 to 4", stored)
	}
	if b.Epoch() != epoch {
		t.Errorf("the epoch changed from %d to %d", epoch, b.Epoch())
	}
}

func testRecreate(t *testing.T, b *twin) {
	t.Helper()
	epoch := b.Epoch()
	publish(t, b, "tape", trades(0, 1))
	must(t, b.SaveCheckpoint(t.Context(), "book", []byte("old")))
	started := make(chan struct{})
	ended := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, err := range b.Read(t.Context(), 0) {
			if err != nil {
				ended <- err
				return
			}
			close(started)
		}
	})
	<-started
	b.recreate()
	if err := <-ended; !errors.Is(err, bus.ErrEpoch) {
		t.Errorf("the read ended with %v, want ErrEpoch", err)
	}
	wg.Wait()
	if b.Epoch() <= epoch {
		t.Errorf("epoch %d after %d, want a later one", b.Epoch(), epoch)
	}
	if s := publish(t, b, "tape", trades(1, 1)); s.First != market.MakeSeq(1, 0) {
		t.Errorf("stored at %d, want the first place", s.First)
	}
	if m := read(t, b, 0, 1); m[0].Epoch != b.Epoch() || m[0].Events[0].Trade.ID != 1 {
		t.Errorf("read %+v, want trade 1 in epoch %d", m[0], b.Epoch())
	}
}

func testReadCancel(t *testing.T, b *twin) {
	t.Helper()
	publish(t, b, "tape", trades(0, 1))
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	n := 0
	for _, err := range b.Read(ctx, 0) {
		if err != nil {
			if !errors.Is(err, why) {
				t.Errorf("the read ended with %v, want %v", err, why)
			}
			break
		}
		n++
		cancel(why)
	}
	if n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
}

func testCheckpoints(t *testing.T, b *twin) {
	t.Helper()
	if _, err := b.LoadCheckpoint(t.Context(), "book"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("load: %v, want ErrNotFound", err)
	}
	random := rand.NewChaCha8([32]byte{1})
	large := make([]byte, 5<<20+17)
	if _, err := random.Read(large); err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{[]byte("first"), large, []byte("last"), {}} {
		must(t, b.SaveCheckpoint(t.Context(), "book", data))
		must(t, b.SaveCheckpoint(t.Context(), "other", []byte("x")))
		got, err := b.LoadCheckpoint(t.Context(), "book")
		must(t, err)
		if !bytes.Equal(got, data) {
			t.Errorf("loaded %d bytes that are not the %d saved", len(got), len(data))
		}
	}
	if _, err := b.LoadCheckpoint(t.Context(), "book2"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("load another: %v, want ErrNotFound", err)
	}
}

// testBars has two write records, of whom only one may continue the other.
func testBars(t *testing.T, b *twin) {
	t.Helper()
	records := func(after uint64) (out []string, last uint64) {
		last, err := b.ReadBars(t.Context(), after, func(_ uint64, data []byte) error {
			out = append(out, string(data))
			return nil
		})
		must(t, err)
		return out, last
	}
	if out, last := records(0); len(out) != 0 || last != 0 {
		t.Errorf("at first there are %q up to %d", out, last)
	}
	var last uint64
	var want []string
	for i := range 600 {
		data := fmt.Sprint("record ", i)
		n, stored, err := b.AppendBars(t.Context(), last, []byte(data))
		must(t, err)
		if !stored || n != last+1 {
			t.Fatalf("record %d is number %d, stored: %v", i, n, stored)
		}
		last, want = n, append(want, data)
		if i > 0 {
			if _, stored, err := b.AppendBars(t.Context(), last-1, []byte("late")); err != nil || stored {
				t.Fatalf("one that comes too late is stored: %v, error %v", stored, err)
			}
		}
	}
	if out, n := records(0); n != last || !slices.Equal(out, want) {
		t.Errorf("%d records up to %d, want %d", len(out), n, len(want))
	}
	if out, n := records(597); n != last || !slices.Equal(out, want[597:]) {
		t.Errorf("after 597: %q up to %d", out, n)
	}
	if out, n := records(last); n != last || len(out) != 0 {
		t.Errorf("after the last: %q up to %d", out, n)
	}
	enough := errors.New("enough")
	if _, err := b.ReadBars(t.Context(), 0, func(uint64, []byte) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("an error of the function: %v", err)
	}
}

func testClose(t *testing.T, b *twin) {
	t.Helper()
	publish(t, b, "tape", trades(0, 1))
	started := make(chan struct{})
	ended := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, err := range b.Read(t.Context(), 0) {
			if err != nil {
				ended <- err
				return
			}
			close(started)
		}
	})
	<-started
	must(t, b.Close())
	wg.Wait()
	_, published := b.Publish(t.Context(), bus.Batch{Source: "tape", Events: trades(1, 1)})
	_, _, bounds := b.Bounds(t.Context())
	_, read := lastError(t.Context(), b, 0)
	_, load := b.LoadCheckpoint(t.Context(), "book")
	_, _, appended := b.AppendBars(t.Context(), 0, nil)
	_, records := b.ReadBars(t.Context(), 0, nil)
	for what, err := range map[string]error{
		"running read": <-ended, "publish": published, "bounds": bounds, "read": read, "load": load,
		"append": appended, "records": records,
		"save": b.SaveCheckpoint(t.Context(), "book", nil), "health": b.Health().Err,
	} {
		if !errors.Is(err, bus.ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", what, err)
		}
	}
	must(t, b.Close())
}

func testBatcherOutage(t *testing.T, b *twin) {
	t.Helper()
	batcher, err := bus.NewBatcher(b, "tape", bus.BatcherConfig{Buffer: 300})
	must(t, err)
	var wg sync.WaitGroup
	var ran error
	wg.Go(func() { ran = batcher.Run(t.Context()) })
	const n = 5000
	for i := range n {
		if i == n/2 {
			wg.Go(func() {
				b.setDown(true)
				b.setDown(false)
			})
		}
		must(t, batcher.Add(t.Context(), trades(i, 1)...))
	}
	must(t, batcher.Close(t.Context()))
	wg.Wait()
	must(t, ran)
	stats := batcher.Stats()
	if stats.Events != n || stats.Pending != 0 {
		t.Errorf("stats %+v, want %d events stored", stats, n)
	}
	waitHealth(t, b, true)
	next := 0
	for _, m := range read(t, b, 0, int(stats.Batches)) {
		for _, e := range m.Events {
			if e.Trade.ID != int64(next) {
				t.Fatalf("trade %d came in place of %d", e.Trade.ID, next)
			}
			next++
		}
	}
	if next != n {
		t.Errorf("%d trades read, want %d", next, n)
	}
}
