package mailbox

import (
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/lzstock/lzstock/market"
)

var at = time.Unix(1_700_000_000, 0)

func trades(seqs ...market.Seq) *Batch {
	events := make([]market.Event, len(seqs))
	for i, q := range seqs {
		events[i] = market.Event{Seq: q, Channel: market.Trades, Symbol: "A", Trade: &market.Trade{}}
	}
	return NewBatch(events, func(dst []byte, _ int, e *market.Event) []byte { return append(dst, e.Symbol...) })
}

func open(opts Options) *Mailbox {
	m := New(opts, &Rings{})
	return &m
}

func drain(m *Mailbox) (out []Delivery) {
	for d, ok := m.NextSnapshot(); ok; d, ok = m.NextSnapshot() {
		out = append(out, d)
	}
	for d, ok := m.Next(); ok; d, ok = m.Next() {
		out = append(out, d)
	}
	return out
}

func TestAdaptiveKeepsOrderThenConflates(t *testing.T) {
	m := open(Options{Mode: Adaptive, Limit: 4})
	var a, b Slot
	batch := trades(1, 2, 3, 4, 5, 6, 7)
	add := func(s *Slot, i int) {
		t.Helper()
		if err := m.Add(s, batch.Item(i), at); err != nil {
			t.Fatal(err)
		}
	}
	add(&a, 0)
	add(&b, 1)
	if got := drain(m); len(got) != 2 || got[0].Prev != 0 || m.Throttled() {
		t.Fatalf("in order: %v", got)
	}
	for i := 2; i < 7; i++ { // 3 to 6 for a fill it, 7 for b comes on top
		s := &a
		if i == 6 {
			s = &b
		}
		add(s, i)
	}
	if !m.Throttled() || m.Len() != 2 || m.Merged() != 3 {
		t.Fatalf("throttled %v, %d wait, %d merged", m.Throttled(), m.Len(), m.Merged())
	}
	got := drain(m)
	if len(got) != 2 || got[0].Item.Event().Seq != 6 || got[0].Merged != 4 || got[0].Prev != 1 ||
		got[1].Item.Event().Seq != 7 || got[1].Merged != 1 || got[1].Prev != 2 {
		t.Fatalf("conflated: %+v", got)
	}
	if m.Throttled() {
		t.Fatal("still throttled when emptied")
	}
}

func TestEveryEndsHonestly(t *testing.T) {
	m := open(Options{Mode: Every, Limit: 2})
	var s Slot
	batch := trades(1, 2, 3)
	for i := range 2 {
		if err := m.Add(&s, batch.Item(i), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Add(&s, batch.Item(2), at); !errors.Is(err, ErrOverflow) {
		t.Fatalf("third of two: %v", err)
	}
	merged := NewBatch([]market.Event{{Seq: 9, Merged: 2, Trade: &market.Trade{}}}, nil)
	drain(m)
	if err := m.Add(&s, merged.Item(0), at); !errors.Is(err, ErrMerged) {
		t.Fatalf("merged upstream: %v", err)
	}
}

func TestLatestAndSnapshots(t *testing.T) {
	m := open(Options{Mode: Latest})
	var a, b Slot
	batch := trades(1, 5, 6, 7)
	m.AddSnapshot(&a, batch.Item(0), at)
	for i, s := range []*Slot{1: &a, 2: &b, 3: &a} {
		if s != nil {
			if err := m.Add(s, batch.Item(i), at.Add(time.Second)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !m.Oldest().Equal(at) {
		t.Errorf("oldest is %s", m.Oldest())
	}
	got := drain(m)
	if len(got) != 3 || !got[0].Snapshot || got[1].Item.Event().Seq != 6 || got[2].Item.Event().Seq != 7 ||
		got[2].Merged != 2 || got[2].Prev != 1 {
		t.Fatalf("%+v", got)
	}
	if !m.Oldest().IsZero() || !m.Empty() {
		t.Error("something still waits")
	}
}

// TestSnapshotsOfSeveralCommandsAreInOrder has topics subscribed one command
// after the other, before anything is taken.
func TestSnapshotsOfSeveralCommandsAreInOrder(t *testing.T) {
	for _, again := range []bool{false, true} {
		m := open(Options{})
		var a, b, c Slot
		batch := trades(7, 3, 5, 9)
		m.AddSnapshot(&a, batch.Item(0), at)
		m.AddSnapshot(&b, batch.Item(1), at)
		m.AddSnapshot(&c, batch.Item(2), at)
		want := []market.Seq{3, 5, 7}
		if again { // a newer value takes the place of one that waits
			m.AddSnapshot(&b, batch.Item(3), at)
			want = []market.Seq{5, 7, 9}
		}
		var got []market.Seq
		for _, d := range drain(m) {
			got = append(got, d.Item.Event().Seq)
		}
		if !slices.Equal(got, want) {
			t.Errorf("took %v, want %v", got, want)
		}
	}
}

func TestClearTakesBack(t *testing.T) {
	for _, mode := range []Mode{Adaptive, Latest} {
		m := open(Options{Mode: mode})
		var a, b Slot
		batch := trades(1, 2, 3)
		for i, s := range []*Slot{&a, &b, &a} {
			if err := m.Add(s, batch.Item(i), at); err != nil {
				t.Fatal(err)
			}
		}
		m.AddSnapshot(&a, batch.Item(0), at)
		m.Clear(&a)
		if q, ok := m.Peek(); !ok || q != 2 {
			t.Errorf("%s: peek %d, %v", mode, q, ok)
		}
		if got := drain(m); len(got) != 1 || got[0].Item.Event().Seq != 2 {
			t.Errorf("%s: %+v", mode, got)
		}
	}
}

func TestReplayIsPutInOrder(t *testing.T) {
	for _, mode := range []Mode{Adaptive, Latest} {
		m := open(Options{Mode: mode})
		var a, b Slot
		batch := trades(10, 5, 7)
		if err := m.Add(&a, batch.Item(0), at); err != nil {
			t.Fatal(err)
		}
		b.Resume(4)
		if err := m.AddReplay([]*Slot{&b, &b}, []Item{batch.Item(1), batch.Item(2)}, at); err != nil {
			t.Fatal(err)
		}
		got := drain(m)
		last := got[len(got)-1]
		if last.Item.Event().Seq != 10 || got[0].Prev != 4 {
			t.Errorf("%s: %+v", mode, got)
		}
	}
}

func TestSetModeKeepsWhatWaits(t *testing.T) {
	m := open(Options{Mode: Latest})
	var s Slot
	batch := trades(1, 2, 3)
	_ = m.Add(&s, batch.Item(0), at)
	_ = m.Add(&s, batch.Item(1), at)
	if err := m.SetMode(Options{Mode: Every}, at); err != nil {
		t.Fatal(err)
	}
	_ = m.Add(&s, batch.Item(2), at)
	got := drain(m)
	if len(got) != 2 || got[0].Merged != 2 || got[1].Merged != 1 || got[1].Prev != 2 {
		t.Fatalf("%+v", got)
	}
	_ = m.Add(&s, batch.Item(0), at)
	_ = m.Add(&s, batch.Item(1), at)
	if err := m.SetMode(Options{Mode: Latest}, at); err != nil || m.Len() != 1 {
		t.Fatalf("%d wait, %v", m.Len(), err)
	}
}

func TestBodiesAreEncodedOnce(t *testing.T) {
	calls := 0
	b := NewBatch(make([]market.Event, 3), func(dst []byte, format int, _ *market.Event) []byte {
		calls++
		return append(dst, make([]byte, format+calls)...)
	})
	for range 2 {
		for i := range 3 {
			if got := len(b.Item(i).Body(2)); got != 3+i {
				t.Errorf("item %d has %d bytes", i, got)
			}
		}
	}
	if calls != 3 {
		t.Errorf("encoded %d times", calls)
	}
}

// TestNothingIsLost drives a mailbox with random adds and takes, and checks each
// mode's promise: order, no loss, counts that add up, prev that chains.
func TestNothingIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mode := rapid.SampledFrom([]Mode{Adaptive, Every, Latest}).Draw(t, "mode")
		limit := rapid.IntRange(1, 20).Draw(t, "limit")
		m := open(Options{Mode: mode, Limit: limit})
		slots := make([]Slot, 4)
		added, taken := map[*Slot]int{}, map[*Slot]int{}
		latest, chain := map[*Slot]market.Seq{}, map[*Slot]market.Seq{}
		owner := map[market.Seq]*Slot{}
		var seq, out market.Seq
		take := func() {
			d, ok := m.Next()
			if !ok {
				return
			}
			q := d.Item.Event().Seq
			s := owner[q]
			if q <= out || d.Prev != chain[s] || d.Merged == 0 {
				t.Fatalf("took %d after %d, prev %d (want %d), merged %d", q, out, d.Prev, chain[s], d.Merged)
			}
			if mode == Every && d.Merged != 1 {
				t.Fatalf("merged %d", d.Merged)
			}
			out, chain[s] = q, q
			taken[s] += int(d.Merged)
		}
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "take") {
				take()
				continue
			}
			seq++
			s := &slots[rapid.IntRange(0, 3).Draw(t, "slot")]
			owner[seq] = s
			if err := m.Add(s, trades(seq).Item(0), at); err != nil {
				if mode != Every || m.Len() < limit {
					t.Fatalf("%s with %d of %d: %v", mode, m.Len(), limit, err)
				}
				delete(owner, seq)
				continue
			}
			added[s]++
			latest[s] = seq
			if mode != Latest && m.Len() > limit+4 {
				t.Fatalf("%d wait, limit %d", m.Len(), limit)
			}
		}
		for !m.Empty() {
			take()
		}
		for i := range slots {
			if s := &slots[i]; added[s] != taken[s] || latest[s] != chain[s] {
				t.Fatalf("slot %d: %d added, %d taken; last %d, got %d", i, added[s], taken[s], latest[s], chain[s])
			}
		}
	})
}

func BenchmarkMailbox(b *testing.B) {
	for _, mode := range []Mode{Adaptive, Every, Latest} {
		b.Run(mode.String(), func(b *testing.B) {
			m := open(Options{Mode: mode})
			slots := make([]Slot, 10)
			batch := trades(make([]market.Seq, 64)...)
			b.ReportAllocs()
			for b.Loop() {
				for i := range 64 {
					if err := m.Add(&slots[i%10], batch.Item(i), at); err != nil {
						b.Fatal(err)
					}
				}
				for {
					if _, ok := m.Next(); !ok {
						break
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/event")
		})
	}
}
