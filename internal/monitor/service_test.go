package monitor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/lzstock/lzstock/internal/bus"
	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/memnet"
	"github.com/lzstock/lzstock/internal/monitor"
	"github.com/lzstock/lzstock/market"
)

// prices reads a StreamPrices stream until it ends or nothing moves.
func (f *fixture) prices(req *pb.StreamPricesRequest, during func()) (got []*pb.StreamPricesResponse, err error) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	defer cancel()
	stream, err := f.client.StreamPrices(ctx, req)
	if err != nil {
		f.t.Fatal(err)
	}
	synctest.Wait()
	if during != nil {
		during()
		synctest.Wait()
	}
	idle := time.AfterFunc(2*time.Second, cancel)
	defer idle.Stop()
	for {
		m, err := stream.Recv()
		if err != nil {
			return got, err
		}
		got = append(got, m)
	}
}

func TestStreamPrices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := begin(t, memory(), monitor.Config{Queue: 3000, Window: 10, History: 50}).live()
		publish(t, f.bus, trade("A", 0, 1), trade("A", 1, 2))
		f.live()
		show := func(list []*pb.StreamPricesResponse) string {
			var s strings.Builder
			for _, m := range list {
				if m.GetEpoch() != uint64(f.bus.Epoch()) {
					t.Errorf("epoch %d", m.GetEpoch())
				}
				for _, e := range m.GetEvents() {
					fmt.Fprintf(&s, "%d<%d", e.GetSeq(), e.GetPrev())
					if m.GetSnapshot() {
						s.WriteString("s")
					}
					s.WriteString(" ")
				}
			}
			return s.String()
		}
		next := market.Price(3)
		more := func() { publish(t, f.bus, trade("A", 0, next)); next++ }
		a := topics(market.Trades, "A")
		at := func(seq uint64) *pb.Position { return &pb.Position{Epoch: uint64(f.bus.Epoch()), Seq: seq} }
		for _, c := range []struct {
			name string
			req  *pb.StreamPricesRequest
			want string
		}{
			{"snapshot", &pb.StreamPricesRequest{Topics: a}, "257<0s 512<257 "},
			{"none", &pb.StreamPricesRequest{Topics: a, SkipSnapshots: true}, "768<0 "},
			{"since", &pb.StreamPricesRequest{Topics: a, Since: at(256)}, "257<256 512<257 768<512 1024<768 "},
		} {
			got, err := f.prices(c.req, more)
			if show(got) != c.want || status.Code(err) != codes.Canceled {
				t.Errorf("%s: %s, %v; want %s", c.name, show(got), err, c.want)
			}
		}
		for range 60 {
			more()
		}
		f.live()
		fromBus, err := f.prices(&pb.StreamPricesRequest{Topics: a, Since: at(256)}, more)
		if s := show(fromBus); strings.Count(s, " ") != 65 || !strings.HasPrefix(s, "257<256 512<257 ") || status.Code(err) != codes.Canceled {
			t.Errorf("from before the history: %s, %v", s, err)
		}
		f.bus.Delete(3)
		for name, c := range map[string]struct {
			req  *pb.StreamPricesRequest
			code codes.Code
		}{
			"expired": {&pb.StreamPricesRequest{Topics: a, Since: at(256)}, codes.OutOfRange},
			"epoch":   {&pb.StreamPricesRequest{Topics: a, Since: &pb.Position{Epoch: 1, Seq: 256}}, codes.OutOfRange},
			"ahead":   {&pb.StreamPricesRequest{Topics: a, Since: at(1 << 40)}, codes.OutOfRange},
			"nothing": {&pb.StreamPricesRequest{}, codes.InvalidArgument},
			"channel": {&pb.StreamPricesRequest{Topics: topics(7, "A")}, codes.InvalidArgument},
		} {
			if _, err := f.prices(c.req, nil); status.Code(err) != c.code {
				t.Errorf("%s: %v", name, err)
			}
		}
		// Who does not read is told when the queue is full, and not before.
		got, err := f.prices(&pb.StreamPricesRequest{Topics: a, SkipSnapshots: true}, func() {
			for range 20_000 {
				more()
			}
		})
		n, last := 0, uint64(0)
		for _, m := range got {
			for _, e := range m.GetEvents() {
				if last > 0 && (e.GetPrev() != last || e.GetMerged() != 0) {
					t.Fatalf("%v after %d", e, last)
				}
				last = e.GetSeq()
				n++
			}
		}
		if status.Code(err) != codes.ResourceExhausted || n == 0 || n >= 20_000 {
			t.Errorf("a slow reader got %d events and %v", n, err)
		}
	})
}

func TestSnapshotsAndSymbols(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := begin(t, memory(), monitor.Config{MaxTopics: 2}).live()
		list := func(req *pb.ListSymbolsRequest) string {
			r, err := f.client.ListSymbols(t.Context(), req)
			if err != nil {
				return status.Code(err).String()
			}
			return strings.Join(r.GetSymbols(), " ") + "|" + r.GetNextPageToken()
		}
		if got := list(&pb.ListSymbolsRequest{}); got != "|" {
			t.Errorf("at first: %q", got)
		}
		publish(t, f.bus, trade("BTC/USD", 0, 1), trade("A", 0, 1), quote("AB", 0, 1), trade("B", 0, 1))
		synctest.Wait()
		for _, c := range []struct {
			req  *pb.ListSymbolsRequest
			want string
		}{
			{&pb.ListSymbolsRequest{}, "A AB B BTC/USD|"},
			{&pb.ListSymbolsRequest{PageSize: 2}, "A AB|AB"},
			{&pb.ListSymbolsRequest{PageSize: 2, PageToken: "AB"}, "B BTC/USD|"},
			{&pb.ListSymbolsRequest{Prefix: "A", PageSize: 1}, "A|A"},
			{&pb.ListSymbolsRequest{Prefix: "A", PageSize: 1, PageToken: "A"}, "AB|"},
			{&pb.ListSymbolsRequest{Prefix: "B"}, "B BTC/USD|"},
			{&pb.ListSymbolsRequest{Prefix: "BTC/", PageToken: "A"}, "BTC/USD|"},
			{&pb.ListSymbolsRequest{Prefix: "Z"}, "|"},
			{&pb.ListSymbolsRequest{PageToken: "?"}, "InvalidArgument"},
			{&pb.ListSymbolsRequest{PageSize: -1}, "InvalidArgument"},
			{&pb.ListSymbolsRequest{PageSize: 10001}, "InvalidArgument"},
		} {
			if got := list(c.req); got != c.want {
				t.Errorf("%v: %q, want %q", c.req, got, c.want)
			}
		}
		publish(t, f.bus, trade("AA", 0, 1))
		synctest.Wait()
		if got := list(&pb.ListSymbolsRequest{Prefix: "A"}); got != "A AA AB|" {
			t.Errorf("after one more: %q", got)
		}

		snap := func(topics ...*pb.Topics) (*pb.GetSnapshotsResponse, error) {
			return f.client.GetSnapshots(t.Context(), &pb.GetSnapshotsRequest{Topics: topics})
		}
		r, err := snap(&pb.Topics{Channel: pb.Channel_CHANNEL_TRADES, Symbols: []string{"B", "NONE"}})
		if err != nil || len(r.GetEvents()) != 1 || r.GetEvents()[0].GetSeq() != 259 || r.GetPosition().GetSeq() != 512 || r.GetPosition().GetEpoch() == 0 {
			t.Errorf("%v, %v", r, err)
		}
		for want, topics := range map[codes.Code][]*pb.Topics{
			codes.InvalidArgument:   nil,
			codes.ResourceExhausted: topics(market.Trades, "A", "B", "C"),
		} {
			if _, err := snap(topics...); status.Code(err) != want {
				t.Errorf("%v, want %s", err, want)
			}
		}
	})
}

// TestStartAndStop: nothing is served before the feed is caught up, and all
// streams end with UNAVAILABLE when the server stops.
func TestStartAndStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memory()
		publish(t, log.Memory, trade("A", 0, 1))
		log.SetDown(true)
		f := begin(t, log, monitor.Config{})
		f.bus = log.Memory
		health := func() string {
			var out []string
			for _, service := range []string{"", "lzstock.v1.MarketMonitor"} {
				r, err := healthpb.NewHealthClient(f.conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, r.GetStatus().String())
			}
			return strings.Join(out, " ")
		}
		if s := health(); s != "NOT_SERVING NOT_SERVING" {
			t.Errorf("starting: %s", s)
		}
		if err := f.watch().ended(); status.Code(err) != codes.Unavailable {
			t.Errorf("Watch: %v", err)
		}
		if _, err := f.prices(&pb.StreamPricesRequest{Topics: everything()}, nil); status.Code(err) != codes.Unavailable {
			t.Errorf("StreamPrices: %v", err)
		}
		if _, err := f.client.GetSnapshots(t.Context(), &pb.GetSnapshotsRequest{Topics: everything()}); status.Code(err) != codes.Unavailable {
			t.Errorf("GetSnapshots: %v", err)
		}
		if _, err := f.client.ListSymbols(t.Context(), &pb.ListSymbolsRequest{}); status.Code(err) != codes.Unavailable {
			t.Errorf("ListSymbols: %v", err)
		}
		log.SetDown(false)
		time.Sleep(2 * time.Second)
		f.live()
		if s := health(); s != "SERVING SERVING" {
			t.Errorf("live: %s", s)
		}

		asking, asked := context.WithCancel(t.Context())
		info, err := reflectionpb.NewServerReflectionClient(f.conn).ServerReflectionInfo(asking)
		if err != nil {
			t.Fatal(err)
		}
		if err := info.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}); err != nil {
			t.Fatal(err)
		}
		if r, err := info.Recv(); err != nil || !strings.Contains(fmt.Sprint(r), "lzstock.v1.MarketMonitor") {
			t.Errorf("reflection: %v, %v", r, err)
		}
		asked()

		w, busy := f.watch(&pb.WatchRequest{Add: everything()}), f.open(&pb.WatchRequest{Add: everything()})
		quiet, err := f.client.StreamPrices(t.Context(), &pb.StreamPricesRequest{Topics: everything()})
		if err != nil {
			t.Fatal(err)
		}
		w.take()
		start := time.Now()
		f.stop()
		if took := time.Since(start); took > time.Second {
			t.Errorf("stopping took %s", took)
		}
		if err := w.ended(); status.Code(err) != codes.Unavailable {
			t.Errorf("Watch ended with %v", err)
		}
		for err == nil {
			_, err = quiet.Recv()
		}
		if status.Code(err) != codes.Unavailable {
			t.Errorf("StreamPrices ended with %v", err)
		}
		busy.wg.Go(busy.read)
	})
}

// panics is a service whose every call panics.
type panics struct{ pb.UnimplementedIngestServer }

func (panics) Publish(pb.Ingest_PublishServer) error { panic("a secret") }

func TestPanicEndsOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		m, err := monitor.New(memory(), monitor.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		unary := &grpc.ServiceDesc{
			ServiceName: "test.Unary", HandlerType: (*any)(nil),
			Methods: []grpc.MethodDesc{{
				MethodName: "Call",
				Handler: func(srv any, ctx context.Context, _ func(any) error, in grpc.UnaryServerInterceptor) (any, error) {
					return in(ctx, nil, &grpc.UnaryServerInfo{FullMethod: "/test.Unary/Call"}, func(context.Context, any) (any, error) { panic("a secret") })
				},
			}},
		}
		f, _ := serve(t, m, monitor.ServerConfig{Services: []func(grpc.ServiceRegistrar){
			func(r grpc.ServiceRegistrar) { pb.RegisterIngestServer(r, panics{}) },
			func(r grpc.ServiceRegistrar) { r.RegisterService(unary, struct{}{}) },
		}})
		stream, err := pb.NewIngestClient(f).Publish(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, streamErr := stream.Recv()
		unaryErr := f.Invoke(t.Context(), "/test.Unary/Call", &pb.Topics{}, &pb.Topics{})
		for _, err := range []error{streamErr, unaryErr} {
			s := status.Convert(err)
			id := strings.TrimPrefix(s.Message(), "internal error ")
			if s.Code() != codes.Internal || strings.Contains(s.Message(), "secret") || len(id) < 20 || !strings.Contains(log.String(), id) {
				t.Errorf("%v", err)
			}
		}
		if !strings.Contains(log.String(), "a secret") {
			t.Errorf("the log does not say what it was: %s", log.String())
		}
	})
}

// serve starts a server for a monitor that does not run. stop ends it.
func serve(t *testing.T, m *monitor.Monitor, cfg monitor.ServerConfig) (conn *grpc.ClientConn, stop func()) {
	t.Helper()
	l := memnet.Listen()
	ctx, cancel := context.WithCancel(t.Context())
	server := monitor.NewServer(m, cfg)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := server.Serve(ctx, l); err != nil {
			t.Error(err)
		}
	})
	conn = dial(t, l)
	stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	t.Cleanup(func() {
		stop()
		_ = conn.Close()
	})
	return conn, stop
}

// deaf is a service that heeds its connection's end alone.
type deaf struct{ pb.UnimplementedIngestServer }

func (deaf) Publish(s pb.Ingest_PublishServer) error {
	_, err := s.Recv()
	return err
}

// TestServerEndsStreams: one that heeds its context costs no grace, though the
// monitor goes on.
func TestServerEndsStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := monitor.New(memory(), monitor.Config{})
		if err != nil {
			t.Fatal(err)
		}
		conn, stop := serve(t, m, monitor.ServerConfig{})
		stream, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		start := time.Now()
		stop()
		if took := time.Since(start); took > 0 {
			t.Errorf("stopping took %s", took)
		}
		for err == nil {
			_, err = stream.Recv()
		}
		if errors.Is(err, io.EOF) {
			t.Error("the stream ended as if all were well")
		}
	})
}

// TestServerStopsAnyway cuts off a call that does not end.
func TestServerStopsAnyway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := monitor.New(memory(), monitor.Config{})
		if err != nil {
			t.Fatal(err)
		}
		conn, stop := serve(t, m, monitor.ServerConfig{Grace: 2 * time.Second, Services: []func(grpc.ServiceRegistrar){
			func(r grpc.ServiceRegistrar) { pb.RegisterIngestServer(r, deaf{}) },
		}})
		stream, err := pb.NewIngestClient(conn).Publish(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		start := time.Now()
		stop()
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("stopping took %s, want the grace of 2 s", took)
		}
		if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
			t.Errorf("the call ended with %v", err)
		}
	})
}

func TestConfig(t *testing.T) {
	for _, cfg := range []monitor.Config{{History: -1}, {Shards: -1}, {MaxTopics: -1}, {Queue: -1}} {
		if _, err := monitor.New(memoryLog{Memory: bus.NewMemory(bus.MemoryConfig{})}, cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}
