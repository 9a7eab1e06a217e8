package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/leak"
	"github.com/lzstock/lzstock/internal/marketpb"
	"github.com/lzstock/lzstock/internal/memnet"
	"github.com/lzstock/lzstock/internal/upstream"
	"github.com/lzstock/lzstock/market"
)

func TestMain(m *testing.M) { leak.Main(m) }

const epoch = 1000

var (
	aapl = market.Topic{Channel: market.Trades, Symbol: "AAPL"}
	msft = market.Topic{Channel: market.Trades, Symbol: "MSFT"}
	nvda = market.Topic{Channel: market.Trades, Symbol: "NVDA"}
	star = market.Topic{Channel: market.Trades, Symbol: market.AllSymbols}
)

func trade(seq market.Seq, symbol market.Symbol) market.Event {
	return market.Event{Seq: seq, Channel: market.Trades, Symbol: symbol, Trade: &market.Trade{
		Price: market.Price(seq), Size: 1, Time: time.Unix(1723161254, 0).UTC(),
	}}
}

// recorder is a sink that writes down its calls.
type recorder struct {
	mu    sync.Mutex
	calls []string
	block chan struct{} // where set, Publish and Forget wait for it
	fail  error
}

func (r *recorder) add(format string, v ...any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, fmt.Sprintf(format, v...))
	return r.fail
}

// take gives the calls since the last take.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.calls
	r.calls = nil
	return calls
}

// wait waits while the sink is to block.
func (r *recorder) wait() {
	r.mu.Lock()
	block := r.block
	r.mu.Unlock()
	if block != nil {
		<-block
	}
}

func (r *recorder) Publish(_ context.Context, events []market.Event) error {
	r.wait()
	return r.add("publish %s", places(events))
}

func (r *recorder) Replace(_ context.Context, topics []market.Topic, events []market.Event) error {
	return r.add("replace %s with %s", names(topics), places(events))
}

func (r *recorder) Forget(_ context.Context, topics []market.Topic) error {
	r.wait()
	return r.add("forget %s", names(topics))
}

func (r *recorder) Gap(_ context.Context, g market.Gap) error {
	return r.add("gap %s %s to %s on %s", g.Reason, g.From, g.To, names(g.Topics))
}

func (r *recorder) Feed(_ context.Context, f market.Feed) error {
	return r.add("feed %s of %d", f.State, f.Epoch)
}

func places(events []market.Event) string {
	var list []string
	for _, e := range events {
		list = append(list, fmt.Sprintf("%s@%d", e.Symbol, e.Seq))
	}
	return "[" + strings.Join(list, " ") + "]"
}

func names(topics []market.Topic) string {
	var list []string
	for _, t := range topics {
		list = append(list, t.String())
	}
	slices.Sort(list)
	return "[" + strings.Join(list, " ") + "]"
}

// monitor is a MarketMonitor whose streams the test drives.
type monitor struct {
	pb.UnimplementedMarketMonitorServer
	listener *memnet.Listener
	server   *grpc.Server
	served   sync.WaitGroup
	streams  chan *watch
	refuse   error // where set, Watch fails with it
}

// watch is one stream of a monitor.
type watch struct {
	stream   grpc.BidiStreamingServer[pb.WatchRequest, pb.WatchResponse]
	requests chan *pb.WatchRequest
	end      chan error
	mu       sync.Mutex // of Send
	last     map[market.Topic]market.Seq
	silent   bool
}

func startMonitor() *monitor {
	m := &monitor{streams: make(chan *watch, 100)}
	m.start()
	return m
}

func (m *monitor) start(services ...func(*grpc.Server)) {
	m.listener, m.server = memnet.Listen(), grpc.NewServer(grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second}))
	pb.RegisterMarketMonitorServer(m.server, m)
	for _, register := range services {
		register(m.server)
	}
	m.served.Go(func() { _ = m.server.Serve(m.listener) })
}

func (m *monitor) stop() {
	m.server.Stop()
	m.served.Wait()
}

// Watch keeps the stream and the progress on it until the test ends it.
func (m *monitor) Watch(stream grpc.BidiStreamingServer[pb.WatchRequest, pb.WatchResponse]) error {
	if m.refuse != nil {
		return m.refuse
	}
	w := &watch{stream: stream, requests: make(chan *pb.WatchRequest, 100), end: make(chan error, 1), last: map[market.Topic]market.Seq{}}
	m.served.Go(func() { // Recv fails when Watch has returned
		for {
			r, err := stream.Recv()
			if err != nil {
				return
			}
			w.requests <- r
		}
	})
	m.streams <- w
	select {
	case err := <-w.end:
		return err
	case <-stream.Context().Done():
		return stream.Context().Err()
	}
}

func (w *watch) send(m *pb.WatchResponse) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.stream.Send(m) // a stream that has ended shows elsewhere
}

func (w *watch) welcome(e market.Epoch, seq market.Seq) {
	w.send(&pb.WatchResponse{Kind: &pb.WatchResponse_Welcome{Welcome: &pb.Welcome{
		Position: marketpb.Position(market.Position{Epoch: e, Seq: seq}), Replica: "test",
	}}})
}

func (w *watch) feed(s pb.FeedState_State) {
	w.send(&pb.WatchResponse{Kind: &pb.WatchResponse_Feed{Feed: &pb.FeedState{State: s, Since: time.Now().UnixNano()}}})
}

func (w *watch) snapshots(topics []market.Topic, events ...market.Event) {
	for _, e := range events {
		w.last[e.Topic()] = e.Seq
	}
	w.send(&pb.WatchResponse{Kind: &pb.WatchResponse_Snapshots{Snapshots: &pb.Snapshots{
		Topics: marketpb.Topics(topics), Events: marketpb.Events(events),
	}}})
}

// batch sends live events, each of which names the one before it, as a monitor does,
// unless the test says otherwise.
func (w *watch) batch(events ...market.Event) {
	for i := range events {
		if e := &events[i]; e.Prev == 0 {
			e.Prev = w.last[e.Topic()]
		}
		w.last[events[i].Topic()] = events[i].Seq
	}
	w.send(&pb.WatchResponse{Kind: &pb.WatchResponse_Batch{Batch: &pb.EventBatch{Events: marketpb.Events(events)}}})
}

func (w *watch) added(id uint64) {
	w.send(&pb.WatchResponse{Kind: &pb.WatchResponse_Added{Added: &pb.Added{Id: id}}})
}

func (w *watch) progress(seq market.Seq) {
	w.send(&pb.WatchResponse{Kind: &pb.WatchResponse_Progress{Progress: &pb.Progress{
		Position: marketpb.Position(market.Position{Epoch: epoch, Seq: seq}),
	}}})
}

func (w *watch) gap(reason pb.Gap_Reason, from, to market.Position, topics ...market.Topic) {
	w.send(&pb.WatchResponse{Kind: &pb.WatchResponse_Gap{Gap: &pb.Gap{
		Reason: reason, From: marketpb.Position(from), To: marketpb.Position(to), Topics: marketpb.Topics(topics),
	}}})
	for _, t := range topics {
		delete(w.last, t)
	}
}

// world is a client between monitors and a recorder, in a bubble.
type world struct {
	t        *testing.T
	monitors map[string]*monitor
	client   *upstream.Client
	sink     *recorder
	registry *prometheus.Registry
	at       market.Seq // what progress says
	live     []*watch   // these send progress
	tasks    sync.WaitGroup
	ctx      context.Context //nolint:containedctx // of the bubble

	conns map[string][]*memnet.Conn // that the client dialled
	dead  map[string]bool           // packets to it vanish
}

// inBubble runs a client of the monitors a:1, b:1 and so on.
func inBubble(t *testing.T, monitors int, do func(w *world)) {
	t.Helper()
	inBubbleWith(t, monitors, upstream.Config{}, do)
}

func inBubbleWith(t *testing.T, monitors int, cfg upstream.Config, do func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, monitors: map[string]*monitor{}, sink: &recorder{}, registry: prometheus.NewRegistry()}
		cfg := cfg
		cfg.Dial = w.dial
		for i := range monitors {
			name := fmt.Sprintf("%c:1", 'a'+i)
			cfg.Monitors = append(cfg.Monitors, name)
			w.monitors[name] = startMonitor()
		}
		var err error
		w.client, err = upstream.New(cfg, w.sink, slog.New(slog.NewTextHandler(t.Output(), nil)), w.registry)
		must(t, err)
		why := errors.New("the test is over")
		ctx, cancel := context.WithCancelCause(t.Context())
		w.ctx = ctx
		wg := &w.tasks
		wg.Go(func() {
			if err := w.client.Run(ctx); !errors.Is(err, why) && !errors.Is(err, w.sink.fail) {
				t.Errorf("Run: %v, want %v", err, why)
			}
		})
		wg.Go(func() { w.breathe(ctx) })
		defer func() {
			cancel(why)
			wg.Wait()
			for _, m := range w.monitors {
				m.stop()
			}
		}()
		do(w)
	})
}

func (w *world) dial(ctx context.Context, addr string) (net.Conn, error) {
	w.sink.mu.Lock()
	dead, m := w.dead[addr], w.monitors[addr]
	w.sink.mu.Unlock()
	if dead {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	conn, err := m.listener.DialContext(ctx, "", addr)
	if err != nil {
		return nil, err
	}
	w.sink.mu.Lock()
	defer w.sink.mu.Unlock()
	if w.conns == nil {
		w.conns = map[string][]*memnet.Conn{}
	}
	w.conns[addr] = append(w.conns[addr], conn.(*memnet.Conn))
	return conn, nil
}

// cut has all packets from and to a monitor vanish.
func (w *world) cut(addr string) {
	w.sink.mu.Lock()
	defer w.sink.mu.Unlock()
	if w.dead == nil {
		w.dead = map[string]bool{}
	}
	w.dead[addr] = true
	for _, c := range w.conns[addr] {
		c.Stall()
	}
}

// serve has the monitor answer by itself: topics have no value, and what is resumed
// has missed nothing.
func (w *world) serve(name string) {
	w.tasks.Go(func() {
		for {
			select {
			case s := <-w.monitors[name].streams:
				w.tasks.Go(func() { w.answer(s) })
			case <-w.ctx.Done():
				return
			}
		}
	})
}

func (w *world) answer(s *watch) {
	w.sink.mu.Lock()
	at := w.at
	w.live = append(w.live, s)
	w.sink.mu.Unlock()
	s.welcome(epoch, at)
	s.feed(pb.FeedState_STATE_LIVE)
	for {
		select {
		case r := <-s.requests:
			if add, err := marketpb.FromTopics(r.GetAdd()); err == nil && r.GetSince() == nil && len(add) > 0 {
				s.snapshots(add)
			}
			s.added(r.GetId())
		case <-s.stream.Context().Done():
			return
		case <-w.ctx.Done():
			return
		}
	}
}

// inUse gives the address of the monitor that the metrics name; empty: none.
func (w *world) inUse() string {
	w.t.Helper()
	for _, f := range w.gather("lzstock_upstream_monitor") {
		return f.GetLabel()[0].GetValue()
	}
	return ""
}

// count gives a counter's value, by its one label.
func (w *world) count(name, label string) float64 {
	w.t.Helper()
	for _, f := range w.gather(name) {
		if f.GetLabel()[0].GetValue() == label {
			return f.GetCounter().GetValue()
		}
	}
	return 0
}

func (w *world) gather(name string) []*dto.Metric {
	w.t.Helper()
	families, err := w.registry.Gather()
	must(w.t, err)
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()
		}
	}
	return nil
}

// within waits until something holds, and gives how long that took.
func (w *world) within(limit time.Duration, what string, holds func() bool) time.Duration {
	w.t.Helper()
	begun := time.Now()
	for !holds() {
		if time.Since(begun) > limit {
			w.t.Fatalf("not within %s: %s", limit, what)
		}
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
	}
	return time.Since(begun)
}

// breathe sends progress every 250 ms on the streams that are live.
func (w *world) breathe(ctx context.Context) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w.sink.mu.Lock()
		live, at := slices.Clone(w.live), w.at
		w.sink.mu.Unlock()
		for _, s := range live {
			if !s.silent {
				s.progress(at)
			}
		}
	}
}

// next waits for the next stream to the first monitor that has not ended yet.
func (w *world) next() *watch {
	w.t.Helper()
	for {
		select {
		case s := <-w.monitors["a:1"].streams:
			if s.stream.Context().Err() == nil {
				return s
			}
		case <-time.After(time.Minute):
			w.t.Fatal("no stream came")
			return nil
		}
	}
}

// any waits for a stream to whichever monitor, and gives its name.
func (w *world) any() (string, *watch) {
	w.t.Helper()
	for range 60 * 1000 {
		for name, m := range w.monitors {
			select {
			case s := <-m.streams:
				if s.stream.Context().Err() == nil {
					return name, s
				}
			default:
			}
		}
		time.Sleep(time.Millisecond)
	}
	w.t.Fatal("no stream came")
	return "", nil
}

// other names the second one of two monitors.
func other(name string) string { return map[string]string{"a:1": "b:1", "b:1": "a:1"}[name] }

// open waits for a stream to the only monitor, and welcomes it.
func (w *world) open(at market.Seq) *watch {
	w.t.Helper()
	return w.hello(w.next(), at)
}

// hello welcomes a stream.
func (w *world) hello(s *watch, at market.Seq) *watch {
	w.t.Helper()
	w.sink.mu.Lock()
	w.at = at
	w.live = append(w.live, s)
	w.sink.mu.Unlock()
	s.welcome(epoch, at)
	s.feed(pb.FeedState_STATE_LIVE)
	return s
}

// silence stops progress on all streams, or lets it go on.
func (w *world) silence(s *watch, silent bool) {
	w.sink.mu.Lock()
	defer w.sink.mu.Unlock()
	s.silent = silent
}

func settle() {
	time.Sleep(time.Millisecond)
	synctest.Wait()
}

// request gives the next request, written out.
func (w *world) request(s *watch) (string, uint64) {
	w.t.Helper()
	select {
	case r := <-s.requests:
		return written(w.t, r), r.GetId()
	case <-time.After(time.Minute):
		w.t.Fatal("no request came")
		return "", 0
	}
}

func (w *world) noRequest(s *watch) {
	w.t.Helper()
	settle()
	select {
	case r := <-s.requests:
		w.t.Errorf("a request came: %s", written(w.t, r))
	default:
	}
}

func written(t *testing.T, r *pb.WatchRequest) string {
	t.Helper()
	add, err := marketpb.FromTopics(r.GetAdd())
	must(t, err)
	drop, err := marketpb.FromTopics(r.GetDrop())
	must(t, err)
	out := fmt.Sprintf("add %s drop %s", names(add), names(drop))
	if r.GetSince() != nil {
		out += " since " + marketpb.FromPosition(r.GetSince()).String()
	}
	return out
}

// expect compares the sink's calls since the last time.
func (w *world) expect(want ...string) {
	w.t.Helper()
	settle()
	if got := w.sink.take(); !slices.Equal(got, want) {
		w.t.Errorf("the sink got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func (w *world) expectRequest(s *watch, want string) uint64 {
	w.t.Helper()
	got, id := w.request(s)
	if got != want {
		w.t.Errorf("request %s, want %s", got, want)
	}
	return id
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
