package bus_test

import (
	"context"
	"iter"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/lzstock/lzstock/internal/bus"
	"github.com/lzstock/lzstock/internal/leak"
	"github.com/lzstock/lzstock/market"
)

func TestMain(m *testing.M) { leak.Main(m) }

// theBus is what both buses are.
type theBus interface {
	Beat(ctx context.Context, p bus.Pulse) error
	Pulses(ctx context.Context, f func(bus.Pulse)) error
	bus.Publisher
	Epoch() market.Epoch
	Read(ctx context.Context, after market.Seq) iter.Seq2[bus.Message, error]
	Bounds(ctx context.Context) (first, last market.Seq, err error)
	SaveCheckpoint(ctx context.Context, name string, data []byte) error
	LoadCheckpoint(ctx context.Context, name string) ([]byte, error)
	AppendBars(ctx context.Context, after uint64, data []byte) (number uint64, stored bool, err error)
	ReadBars(ctx context.Context, after uint64, f func(number uint64, data []byte) error) (last uint64, err error)
	Health() bus.Health
	Healthy() bool
	Close() error
}

// twin is a bus and what can be done to it from outside.
type twin struct {
	theBus
	setDown  func(down bool)
	remove   func(batch uint64)
	recreate func()
}

const smallBytes = 32 << 10

func newMemory(t *testing.T, small bool) *twin {
	t.Helper()
	cfg := bus.MemoryConfig{}
	if small {
		cfg.MaxBytes = smallBytes
	}
	m := bus.NewMemory(cfg)
	t.Cleanup(func() { must(t, m.Close()) })
	return &twin{theBus: m, setDown: m.SetDown, remove: m.Delete, recreate: m.Recreate}
}

// newJetStream starts an embedded server with a port, so that it can be stopped
// and started again under its clients.
func newJetStream(t *testing.T, small bool) *twin {
	t.Helper()
	cfg := bus.EmbeddedConfig{Dir: t.TempDir(), Listen: "127.0.0.1:0"}
	e := startEmbedded(t, cfg)
	cfg.Listen = strings.TrimPrefix(e.URL(), "nats://")
	stream := bus.StreamConfig{Storage: bus.StorageFile}
	if small {
		stream.MaxBytes = smallBytes
	}
	b := dial(t, bus.Config{URL: e.URL(), Stream: stream, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	t.Cleanup(func() {
		must(t, b.Close())
		must(t, e.Close())
	})
	admin := func(do func(jetstream.JetStream) error) {
		t.Helper()
		nc, err := nats.Connect("", nats.InProcessServer(e))
		must(t, err)
		defer nc.Close()
		js, err := jetstream.New(nc)
		must(t, err)
		must(t, do(js))
	}
	return &twin{
		theBus: b,
		setDown: func(down bool) {
			must(t, e.Close())
			if !down {
				e = startEmbedded(t, cfg)
			}
		},
		remove: func(batch uint64) {
			admin(func(js jetstream.JetStream) error {
				s, err := js.Stream(t.Context(), bus.DefaultStream)
				if err != nil {
					return err
				}
				return s.DeleteMsg(t.Context(), batch)
			})
		},
		recreate: func() {
			admin(func(js jetstream.JetStream) error { return js.DeleteStream(t.Context(), bus.DefaultStream) })
		},
	}
}

func startEmbedded(t *testing.T, cfg bus.EmbeddedConfig) *bus.Embedded {
	t.Helper()
	e, err := bus.StartEmbedded(cfg, nil)
	must(t, err)
	return e
}

func dial(t *testing.T, cfg bus.Config) *bus.JetStream {
	t.Helper()
	b, err := bus.Dial(t.Context(), cfg)
	must(t, err)
	return b
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// trades makes n trades, numbered from first.
func trades(first, n int) []market.Event {
	events := make([]market.Event, n)
	for i := range events {
		events[i] = market.Event{Channel: market.Trades, Symbol: "AAPL", Trade: &market.Trade{
			ID: int64(first + i), Exchange: "D", Price: market.Price(189_100_000_000 + first + i), Size: 3_000_000_000,
			Time: time.Unix(1723161254, int64(first+i)).UTC(), Conditions: []string{"@", "I"}, Tape: "C",
		}}
	}
	return events
}

// read takes n messages after a place.
func read(t *testing.T, b theBus, after market.Seq, n int) []bus.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []bus.Message
	for m, err := range b.Read(ctx, after) {
		if err != nil {
			t.Fatalf("after %d of %d messages: %v", len(got), n, err)
		}
		if got = append(got, m); len(got) == n {
			break
		}
	}
	return got
}

// lastError reads until the end and gives the error and how many messages came.
func lastError(ctx context.Context, b theBus, after market.Seq) (int, error) {
	n := 0
	for _, err := range b.Read(ctx, after) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func publish(tb testing.TB, b bus.Publisher, source string, events []market.Event) bus.Stored {
	tb.Helper()
	s, err := b.Publish(tb.Context(), bus.Batch{Source: source, Events: events})
	must(tb, err)
	return s
}

func waitHealth(t *testing.T, b theBus, ok bool) bus.Health {
	t.Helper()
	for {
		h := b.Health()
		if h.OK == ok {
			return h
		}
		select {
		case <-h.Changed:
		case <-time.After(20 * time.Second):
			t.Fatalf("health stayed %+v", h)
		}
	}
}
