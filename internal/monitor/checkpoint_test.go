package monitor

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/monitor/bars"
	"github.com/lzstock/lzstock/market"
)

// A session is as large as a day of the US equities tape: 2,551 symbols, each of
// which trades once a minute, in ten batches a minute.
const (
	sessionSymbols = 2551
	sessionBatches = 10 // a minute
)

var opening = time.Date(2019, 10, 21, 13, 30, 0, 0, time.UTC)

func sessionBatch(batch uint64) Message {
	minute, part := int((batch-1)/sessionBatches), int((batch-1)%sessionBatches)
	m := Message{Batch: batch, Epoch: 1, Source: "tape"}
	for i := part * market.BatchLimit; i < min(sessionSymbols, (part+1)*market.BatchLimit); i++ {
		m.Events = append(m.Events, market.Event{
			Seq: market.MakeSeq(batch, len(m.Events)), Channel: market.Trades,
			Symbol: market.Symbol(fmt.Sprintf("S%04d", i)),
			Trade: &market.Trade{
				ID: int64(i), Exchange: "V", Price: market.Price(100+i%50+minute%7) * market.Scale, Size: 100 * market.Scale,
				Time:       opening.Add(time.Duration(minute)*time.Minute + time.Duration(i)*20*time.Millisecond),
				Conditions: []string{"@"}, Tape: "C",
			},
		})
	}
	return m
}

// sessionLog is a bus that holds a session.
type sessionLog struct {
	last uint64
	data []byte // of the checkpoint
}

func (l *sessionLog) Epoch() market.Epoch { return 1 }

func (l *sessionLog) Bounds(context.Context) (first, last market.Seq, err error) {
	return market.MakeSeq(1, 0), market.MakeSeq(l.last, 0), nil
}

func (l *sessionLog) Read(ctx context.Context, after market.Seq) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for batch := after.Batch() + 1; batch <= l.last; batch++ {
			if !yield(sessionBatch(batch), nil) {
				return
			}
		}
		<-ctx.Done()
		yield(Message{}, context.Cause(ctx))
	}
}

func (l *sessionLog) SaveCheckpoint(_ context.Context, _ string, data []byte) error {
	l.data = data
	return nil
}

func (l *sessionLog) LoadCheckpoint(context.Context, string) ([]byte, error) {
	if l.data == nil {
		return nil, errors.New("there is none")
	}
	return l.data, nil
}

// newTestEngine makes an engine with its hub running.
func newTestEngine(tb testing.TB, log Log, cfg Config) *engine {
	tb.Helper()
	m, err := New(log, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	h, err := hub.New(hub.Config{Shards: 2, History: m.cfg.History, Open: true})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = h.Run(ctx) })
	tb.Cleanup(func() { cancel(); wg.Wait() })
	return newEngine(m, h)
}

// evening runs a session and gives its log with the checkpoint at its end.
func evening(tb testing.TB, minutes int) *sessionLog {
	tb.Helper()
	log := &sessionLog{}
	e := newTestEngine(tb, log, Config{Stretch: 20})
	if err := e.start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	for ; log.last < uint64(minutes*sessionBatches); log.last++ {
		m := sessionBatch(log.last + 1)
		if err := e.apply(tb.Context(), &m); err != nil {
			tb.Fatal(err)
		}
	}
	e.savedAt = time.Time{}
	if err := errors.Join(e.checkpoint(tb.Context()), e.saving.Wait()); err != nil {
		tb.Fatal(err)
	}
	return log
}

func TestCheckpointKeepsAll(t *testing.T) {
	log := evening(t, 6)
	c, err := decodeCheckpoint(log.data)
	if err != nil {
		t.Fatal(err)
	}
	if base := c.base.at.Batch(); c.position.Seq.Batch() != log.last || base > log.last-20 || base < log.last-40 || len(c.derived) == 0 {
		t.Errorf("position %s, base %d, %d derived", c.position, c.base.at, len(c.derived))
	}
	again, err := c.encode()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(log.data, again) {
		t.Error("a checkpoint that was decoded is encoded otherwise")
	}
	for i := 0; i < len(again); i += len(again) / 40 {
		again[i] ^= 1
		if _, err := decodeCheckpoint(again); err == nil {
			t.Errorf("a wrong bit in byte %d was not noticed", i)
		}
		again[i] ^= 1
	}
}

func TestCheckpointThatDoesNotFit(t *testing.T) {
	c, err := decodeCheckpoint(evening(t, 6).data)
	if err != nil {
		t.Fatal(err)
	}
	at := func(batch uint64) market.Seq { return market.MakeSeq(batch, 0) }
	for name, x := range map[string]struct {
		epoch       market.Epoch
		first, last uint64
		zone        *time.Location
		ok          bool
	}{
		"fits":         {1, 1, 60, nil, true},
		"just":         {1, c.base.at.Batch() + 1, 60, nil, true},
		"expired":      {1, c.base.at.Batch() + 2, 60, nil, false},
		"epoch":        {2, 1, 60, nil, false},
		"lost its end": {1, 1, 59, nil, false},
		"zone":         {1, 1, 60, time.FixedZone("there", 60), false},
	} {
		if err := c.usable(x.epoch, at(x.first), at(x.last), bars.New(bars.Config{Zone: x.zone})); (err == nil) != x.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// checked makes a checkpoint's frame around a message.
func checked(tb testing.TB, m *pb.Checkpoint) []byte {
	tb.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return frameOf(body)
}

func frameOf(body []byte) []byte {
	out := append([]byte(checkpointMagic), checkpointVersion, 0, 0, 0, 0)
	binary.BigEndian.PutUint32(out[checkpointHead-4:], checksum(body))
	return append(out, body...)
}

func FuzzDecodeCheckpoint(f *testing.F) {
	builder := bars.New(bars.Config{})
	c := &checkpoint{position: market.Position{Epoch: 1, Seq: endOf(30)}, base: mark{at: endOf(20)}, zone: "UTC"}
	for batch := range uint64(30) {
		m := sessionBatch(batch*sessionBatches + 1)
		for i := range m.Events[:2] {
			m.Events[i].Seq = market.MakeSeq(batch+1, i)
			derived := builder.Add(nil, m.Source, &m.Events[i])
			switch {
			case batch == 19:
				c.base.values = append(c.base.values, m.Events[i])
			case batch >= 20:
				c.derived = append(c.derived, derived...)
			}
		}
	}
	c.sources = builder.Save()
	seed, err := c.encode()
	if err != nil {
		f.Fatal(err)
	}
	if _, err := decodeCheckpoint(seed); err != nil {
		f.Fatal(err)
	}
	f.Add(seed[checkpointHead:])
	f.Add(checked(f, &pb.Checkpoint{Base: 9})[checkpointHead:])
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := decodeCheckpoint(frameOf(body))
		if err != nil {
			return
		}
		b := bars.New(bars.Config{})
		if c.usable(c.position.Epoch, 0, c.position.Seq, b) != nil {
			return
		}
		// What was taken can be worked with.
		for _, source := range []string{"tape", "other"} {
			for i := range 3 {
				ev := market.Event{Seq: c.position.Seq + 1, Channel: market.Trades, Symbol: "S0000", Trade: &market.Trade{
					Price: 7, Size: 9, Time: opening.Add(time.Duration(i) * 8 * time.Minute),
				}}
				b.Add(nil, source, &ev)
			}
		}
		if _, err := c.encode(); err != nil {
			t.Error(err)
		}
	})
}

// BenchmarkRestore is a start from a checkpoint of a day's state: 2,551 symbols
// with their minutes, and a stretch of 20 to 40 batches of 256 trades before it.
func BenchmarkRestore(b *testing.B) {
	log := evening(b, 30)
	b.SetBytes(int64(len(log.data)))
	b.ReportAllocs()
	for b.Loop() {
		e := newTestEngine(b, log, Config{})
		if err := e.start(b.Context()); err != nil {
			b.Fatal(err)
		}
		if _, _, err := e.hub.Snapshot(b.Context(), allTopics()); err != nil || e.batch != log.last {
			b.Fatal(err)
		}
	}
}

// BenchmarkCheckpoint is what a checkpoint of a day's state costs, and for how
// long it holds reading up.
func BenchmarkCheckpoint(b *testing.B) {
	log := evening(b, 30)
	e := newTestEngine(b, log, Config{})
	if err := e.start(b.Context()); err != nil {
		b.Fatal(err)
	}
	held := time.Duration(0)
	b.ReportAllocs()
	for b.Loop() {
		e.saved, e.savedAt = 0, time.Time{}
		start := time.Now()
		if err := e.checkpoint(b.Context()); err != nil {
			b.Fatal(err)
		}
		held += time.Since(start)
		_ = e.saving.Wait()
	}
	b.ReportMetric(float64(held.Microseconds())/float64(b.N)/1000, "held-ms/op")
}

// BenchmarkApply is the way of a bus message into the hub, bars included, without
// listeners: 100 symbols, 20,000 events a second of the feed's time.
func BenchmarkApply(b *testing.B) {
	for _, size := range []int{1, 64, 256} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			e := newTestEngine(b, &sessionLog{}, Config{})
			if err := e.start(b.Context()); err != nil {
				b.Fatal(err)
			}
			symbols := make([]market.Symbol, 100)
			for i := range symbols {
				symbols[i] = market.Symbol(fmt.Sprintf("S%02d", i))
			}
			batch, n := uint64(0), 0
			b.ReportAllocs()
			for b.Loop() {
				batch++
				events := make([]market.Event, size)
				for i := range events {
					n++
					at := opening.Add(time.Duration(n) * 50 * time.Microsecond)
					events[i] = market.Event{Seq: market.MakeSeq(batch, i), Channel: market.Trades, Symbol: symbols[n%100], Trade: &market.Trade{Price: 5, Size: 7, Time: at}}
				}
				m := Message{Batch: batch, Epoch: 1, Source: "x", Events: events}
				if err := e.apply(b.Context(), &m); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/event")
		})
	}
}
