package monitor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/lzstock/lzstock/internal/bus"
	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/leak"
	"github.com/lzstock/lzstock/internal/memnet"
	"github.com/lzstock/lzstock/internal/monitor"
	"github.com/lzstock/lzstock/market"
)

func TestMain(m *testing.M) { leak.Main(m) }

// memoryLog is the bus in memory as a monitor reads it.
type memoryLog struct {
	*bus.Memory
	mangle func(*monitor.Message) bool // false: the message is not delivered; may be nil
}

func (l memoryLog) Read(ctx context.Context, after market.Seq) iter.Seq2[monitor.Message, error] {
	return func(yield func(monitor.Message, error) bool) {
		for m, err := range l.Memory.Read(ctx, after) {
			out := monitor.Message{Batch: m.Batch, Epoch: m.Epoch, Source: m.Source, Stored: m.Stored, Events: m.Events}
			if err == nil && l.mangle != nil && !l.mangle(&out) {
				continue
			}
			if !yield(out, err) {
				return
			}
		}
	}
}

// fixture is a monitor over a bus in memory, with a client.
type fixture struct {
	t       *testing.T
	bus     *bus.Memory
	monitor *monitor.Monitor
	server  *monitor.Server
	client  pb.MarketMonitorClient
	conn    *grpc.ClientConn
	stop    func()
}

var errTestOver = errors.New("the test is over")

// begin starts a monitor; it ends with stop, or with the test.
func begin(t *testing.T, log monitor.Log, cfg monitor.Config, opts ...memnet.Option) *fixture {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(testWriter{t}, nil))
	}
	m, err := monitor.New(log, cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := memnet.Listen(opts...)
	ctx, cancel := context.WithCancelCause(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := m.Run(ctx); !errors.Is(err, errTestOver) {
			t.Errorf("Run: %v", err)
		}
	})
	server := monitor.NewServer(m, monitor.ServerConfig{})
	wg.Go(func() {
		if err := server.Serve(ctx, l); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	conn := dial(t, l)
	f := &fixture{t: t, monitor: m, server: server, conn: conn, client: pb.NewMarketMonitorClient(conn)}
	f.stop = sync.OnceFunc(func() {
		cancel(errTestOver)
		wg.Wait()
		_ = conn.Close()
	})
	t.Cleanup(f.stop)
	if log, ok := log.(memoryLog); ok {
		f.bus = log.Memory
	}
	return f
}

func dial(tb testing.TB, l *memnet.Listener, opts ...grpc.DialOption) *grpc.ClientConn {
	tb.Helper()
	opts = append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx, "", "") }))
	conn, err := grpc.NewClient("passthrough:///monitor", opts...)
	if err != nil {
		tb.Fatal(err)
	}
	return conn
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) { w.t.Log(string(p)); return len(p), nil }

// live waits until the monitor has read all that the bus holds.
func (f *fixture) live() *fixture {
	f.t.Helper()
	synctest.Wait()
	if s := f.monitor.Status(); !s.Serving || s.Feed.State != market.FeedLive {
		f.t.Fatalf("status %+v, want live", s)
	}
	return f
}

func publish(t *testing.T, b *bus.Memory, events ...market.Event) bus.Stored {
	t.Helper()
	s, err := b.Publish(t.Context(), bus.Batch{Source: "x", Events: events})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var day = time.Date(2024, 8, 8, 14, 0, 0, 0, time.UTC)

func trade(symbol market.Symbol, after time.Duration, price market.Price) market.Event {
	return market.Event{Channel: market.Trades, Symbol: symbol, Trade: &market.Trade{
		Price: price * market.Scale, Size: 3 * market.Scale, Time: day.Add(after),
	}}
}

func quote(symbol market.Symbol, after time.Duration, bid market.Price) market.Event {
	return market.Event{Channel: market.Quotes, Symbol: symbol, Quote: &market.Quote{
		BidPrice: bid, AskPrice: bid + 1, BidSize: 1, AskSize: 1, Time: day.Add(after),
	}}
}

func halt(symbol market.Symbol, after time.Duration, code string) market.Event {
	return market.Event{Channel: market.Statuses, Symbol: symbol, Status: &market.Status{
		Code: code, Message: "Trading Halt", ReasonCode: "LUDP", Time: day.Add(after), Tape: "C",
	}}
}

// tape makes a feed of random batches: two sources, some symbols, late trades,
// halts.
func tape(seed uint64, batches int) []bus.Batch {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]bus.Batch, batches)
	now := time.Duration(0)
	for i := range out {
		out[i].Source = []string{"one", "two"}[r.IntN(2)]
		for range 1 + r.IntN(4) {
			now += time.Duration(r.IntN(9000)) * time.Millisecond
			at := now
			if r.IntN(8) == 0 {
				at -= time.Duration(r.IntN(300)) * time.Second
			}
			symbol := market.Symbol(fmt.Sprintf("S%02d", r.IntN(12)))
			switch n := r.IntN(10); {
			case n < 3:
				out[i].Events = append(out[i].Events, quote(symbol, at, market.Price(r.IntN(1000))))
			case n < 4:
				out[i].Events = append(out[i].Events, halt(symbol, at, []string{"H", "T"}[r.IntN(2)]))
			default:
				out[i].Events = append(out[i].Events, trade(symbol, at, market.Price(100+r.IntN(50))))
			}
		}
	}
	return out
}

func (f *fixture) play(batches []bus.Batch) {
	f.t.Helper()
	for _, b := range batches {
		if _, err := f.bus.Publish(f.t.Context(), b); err != nil {
			f.t.Fatal(err)
		}
	}
}

func everything() []*pb.Topics {
	var out []*pb.Topics
	for _, c := range market.Channels() {
		out = append(out, &pb.Topics{Channel: pb.Channel(c), Symbols: []string{"*"}})
	}
	return out
}

func topics(c market.Channel, symbols ...string) []*pb.Topics {
	return []*pb.Topics{{Channel: pb.Channel(c), Symbols: symbols}}
}

func (f *fixture) snapshots() *pb.GetSnapshotsResponse {
	f.t.Helper()
	r, err := f.client.GetSnapshots(f.t.Context(), &pb.GetSnapshotsRequest{Topics: everything()})
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

// watch is the client's side of a Watch stream, read as it comes.
type watch struct {
	t      *testing.T
	stream pb.MarketMonitor_WatchClient
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu  sync.Mutex
	got []*pb.WatchResponse
	err error
}

func (f *fixture) watch(reqs ...*pb.WatchRequest) *watch {
	f.t.Helper()
	w := f.open(reqs...)
	w.wg.Go(w.read)
	return w
}

// open opens a Watch stream that nobody reads yet.
func (f *fixture) open(reqs ...*pb.WatchRequest) *watch {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	stream, err := f.client.Watch(ctx)
	if err != nil {
		f.t.Fatal(err)
	}
	w := &watch{t: f.t, stream: stream, cancel: cancel}
	f.t.Cleanup(func() { w.close() })
	for _, r := range reqs {
		w.send(r)
	}
	return w
}

func (w *watch) send(r *pb.WatchRequest) {
	w.t.Helper()
	if err := w.stream.Send(r); err != nil && !errors.Is(err, io.EOF) {
		w.t.Fatal(err)
	}
}

func (w *watch) read() {
	for {
		m, err := w.stream.Recv()
		w.mu.Lock()
		if err != nil {
			w.err = err
			w.mu.Unlock()
			return
		}
		w.got = append(w.got, m)
		w.mu.Unlock()
	}
}

func (w *watch) close() {
	w.cancel()
	w.wg.Wait()
}

// take waits until nothing moves, and gives what came since the last call.
func (w *watch) take() []*pb.WatchResponse {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	got := w.got
	w.got = nil
	return got
}

func (w *watch) ended() error {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// kinds names messages, for comparing their order.
func kinds(list []*pb.WatchResponse) (out []string) {
	for _, m := range list {
		switch k := m.GetKind().(type) {
		case *pb.WatchResponse_Welcome:
			out = append(out, "welcome")
		case *pb.WatchResponse_Snapshots:
			out = append(out, fmt.Sprintf("snapshots %d", len(k.Snapshots.GetEvents())))
		case *pb.WatchResponse_Batch:
			out = append(out, fmt.Sprintf("batch %d", len(k.Batch.GetEvents())))
		case *pb.WatchResponse_Added:
			out = append(out, fmt.Sprintf("added %d", k.Added.GetId()))
		case *pb.WatchResponse_Gap:
			out = append(out, "gap "+k.Gap.GetReason().String())
		case *pb.WatchResponse_Feed:
			out = append(out, "feed "+k.Feed.GetState().String())
		case *pb.WatchResponse_Progress:
			out = append(out, "progress")
		case *pb.WatchResponse_Listed:
			out = append(out, fmt.Sprintf("listed %s", k.Listed.GetSymbols()))
		}
	}
	return out
}

func batched(list []*pb.WatchResponse) (out []*pb.Event) {
	for _, m := range list {
		out = append(out, m.GetBatch().GetEvents()...)
	}
	return out
}
