package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/ingest"
	"github.com/lzstock/lzstock/internal/leak"
	"github.com/lzstock/lzstock/internal/memnet"
	"github.com/lzstock/lzstock/market"
)

func TestMain(m *testing.M) { leak.Main(m) }

const epoch = 1_700_000_000_000

// store is a bus in memory that recognises ids.
type store struct {
	mu     sync.Mutex
	stored []message
	before func(id string) error // called first; its error is the store's
	after  func(id string) error // called once it is stored: a lost answer
	beats  []string              // what was said of publishers, repeats left out
}

type message struct {
	id, source string
	events     []market.Event
}

func (s *store) Epoch() market.Epoch { return epoch }

func (s *store) beat(_ context.Context, source, _ string, reason market.FeedReason) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	word := source + " open"
	if reason != 0 {
		word = source + " " + reason.String()
	}
	if len(s.beats) == 0 || s.beats[len(s.beats)-1] != word {
		s.beats = append(s.beats, word)
	}
	return nil
}

func (s *store) Publish(ctx context.Context, source, id string, events []market.Event) (first, last market.Seq, duplicate bool, err error) {
	if s.before != nil {
		if err := s.before(id); err != nil {
			return 0, 0, false, err
		}
	}
	if err := context.Cause(ctx); err != nil {
		return 0, 0, false, err
	}
	first, last, duplicate = s.add(source, id, events)
	if s.after != nil {
		err = s.after(id)
	}
	return first, last, duplicate, err
}

func (s *store) add(source, id string, events []market.Event) (first, last market.Seq, duplicate bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, m := range s.stored {
		if m.id == id {
			return market.MakeSeq(uint64(i+1), 0), market.MakeSeq(uint64(i+1), len(m.events)-1), true
		}
	}
	s.stored = append(s.stored, message{id, source, append([]market.Event(nil), events...)})
	n := uint64(len(s.stored))
	return market.MakeSeq(n, 0), market.MakeSeq(n, len(events)-1), false
}

func (s *store) ids() (ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.stored {
		ids = append(ids, fmt.Sprintf("%s:%d", m.id, len(m.events)))
	}
	return ids
}

// server is an Ingest service on a network in memory.
type server struct {
	t       *testing.T
	service *ingest.Service
	grpc    *grpc.Server
	lis     *memnet.Listener
	metrics *prometheus.Registry
	serving sync.WaitGroup
}

func serve(t *testing.T, s *store, readAhead int) *server {
	t.Helper()
	srv := &server{t: t, lis: memnet.Listen(), metrics: prometheus.NewRegistry(), grpc: grpc.NewServer(grpc.WaitForHandlers(true))}
	var err error
	if srv.service, err = ingest.New(ingest.Config{Store: s, ReadAhead: readAhead, Registry: srv.metrics, Beat: s.beat}); err != nil {
		t.Fatal(err)
	}
	srv.service.Register(srv.grpc)
	srv.serving.Go(func() {
		if err := srv.grpc.Serve(srv.lis); err != nil {
			t.Error(err)
		}
	})
	return srv
}

func (s *server) stop() {
	s.service.Stop()
	s.grpc.GracefulStop()
	s.service.Wait()
	s.serving.Wait()
}

func (s *server) metric(name string) (sum float64) {
	s.t.Helper()
	families, err := s.metrics.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
			return sum
		}
	}
	s.t.Fatalf("no metric %s", name)
	return 0
}

type stream = grpc.BidiStreamingClient[pb.PublishRequest, pb.PublishResponse]

// dial opens a connection and a stream on it; hangUp cuts the connection off.
func (s *server) dial() (st stream, hangUp func()) {
	s.t.Helper()
	var raw net.Conn
	conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (c net.Conn, err error) {
			raw, err = s.lis.DialContext(ctx, "", "")
			return raw, err
		}))
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	st, err = pb.NewIngestClient(conn).Publish(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	return st, func() {
		s.closed(raw.Close())
		cancel()
		s.closed(conn.Close())
	}
}

func (s *server) closed(err error) {
	s.t.Helper()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		s.t.Error(err)
	}
}

func send(t *testing.T, st stream, req *pb.PublishRequest) {
	t.Helper()
	if err := st.Send(req); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

func receive(t *testing.T, st stream) *pb.PublishResponse {
	t.Helper()
	resp, err := st.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func trade(price int64) *pb.Event {
	return &pb.Event{
		Channel: pb.Channel_CHANNEL_TRADES, Symbol: "AAPL",
		Payload: &pb.Event_Trade{Trade: &pb.Trade{Price: price, Size: 1, Time: epoch * 1_000_000}},
	}
}

func halt(code string) *pb.Event {
	return &pb.Event{
		Channel: pb.Channel_CHANNEL_STATUSES, Symbol: "AAPL",
		Payload: &pb.Event_Status{Status: &pb.Status{Code: code, Time: epoch * 1_000_000}},
	}
}

func trades(n int) (list []*pb.Event) {
	for i := range n {
		list = append(list, trade(int64(i)))
	}
	return list
}

func position(batch uint64, index int) *pb.Position {
	return &pb.Position{Epoch: epoch, Seq: uint64(market.MakeSeq(batch, index))}
}

func want(t *testing.T, got, want *pb.PublishResponse) {
	t.Helper()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("answer (-want +got)\n%s", diff)
	}
}

func TestBatchesAreStoredAndAnsweredInOrder(t *testing.T) {
	s := &store{}
	srv := serve(t, s, 0)
	defer srv.stop()
	st, hangUp := srv.dial()
	defer hangUp()

	one := trade(126_550_000_000)
	one.Seq, one.Prev, one.Merged = 7, 6, 5 // the bus's to give
	send(t, st, &pb.PublishRequest{Publisher: "pub_1-A", Number: 3, Events: []*pb.Event{one}})
	send(t, st, &pb.PublishRequest{Number: 10, Events: trades(600)})
	send(t, st, &pb.PublishRequest{Publisher: "pub_1-A", Number: 11, Events: trades(256)})
	want(t, receive(t, st), &pb.PublishResponse{Number: 3, First: position(1, 0), Last: position(1, 0)})
	want(t, receive(t, st), &pb.PublishResponse{Number: 10, First: position(2, 0), Last: position(4, 87)})
	want(t, receive(t, st), &pb.PublishResponse{Number: 11, First: position(5, 0), Last: position(5, 255)})
	if err := st.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the end is %v, want EOF", err)
	}
	ids := []string{"pub_1-A/3/0:1", "pub_1-A/10/0:256", "pub_1-A/10/1:256", "pub_1-A/10/2:88", "pub_1-A/11/0:256"}
	if diff := cmp.Diff(ids, s.ids()); diff != "" {
		t.Error(diff)
	}
	first := market.Event{Channel: market.Trades, Symbol: "AAPL", Trade: &market.Trade{
		Price: 126_550_000_000, Size: 1, Time: time.UnixMilli(epoch).UTC(),
	}}
	if diff := cmp.Diff(first, s.stored[0].events[0]); diff != "" || s.stored[0].source != "pub_1-A" {
		t.Errorf("source %s, %s", s.stored[0].source, diff)
	}
	if got := srv.metric("lzstock_ingest_events_total"); got != 857 {
		t.Errorf("the metric counts %v events, want 857", got)
	}
}

func TestBadEventsAreRefusedOneByOne(t *testing.T) {
	s := &store{}
	srv := serve(t, s, 0)
	defer srv.stop()
	st, hangUp := srv.dial()
	defer hangUp()

	bar := &pb.Event{Channel: pb.Channel_CHANNEL_BARS, Symbol: "A", Payload: &pb.Event_Bar{Bar: &pb.Bar{Time: 1}}}
	badSymbol, noPayload, early, coded := trade(1), trade(1), trade(1), trade(1)
	badSymbol.Symbol = "A A"
	noPayload.Payload = nil
	early.GetTrade().Time = -1
	coded.GetTrade().Conditions = []string{"@", strings.Repeat("x", 17)}
	wordy, codeless := halt("H"), halt("")
	wordy.GetStatus().ReasonMessage = strings.Repeat("x", 257)
	many := trade(1)
	many.GetTrade().Conditions = make([]string, 17)
	send(t, st, &pb.PublishRequest{Publisher: "p", Number: 1, Events: []*pb.Event{
		trade(1), bar, badSymbol, trade(2), noPayload, early, coded, many,
		{},
		trade(3),
		wordy, codeless, halt(strings.Repeat("H", 17)),
	}})
	got := receive(t, st)
	reasons := map[uint32]string{
		1: "bars are made from trades here", 2: "bad symbol", 4: "exactly one of trade, quote, bar and status",
		5: "is not between 1970 and 2200", 6: "17 bytes long: want at most 16", 7: "17 conditions: want at most 16", 8: "CHANNEL_UNSPECIFIED",
		10: "257 bytes long: want at most 256", 11: "a status needs a code", 12: "17 bytes long: want at most 16",
	}
	if len(got.GetRefused()) != len(reasons) {
		t.Errorf("refused: %v", got.GetRefused())
	}
	for _, r := range got.GetRefused() {
		if reason := reasons[r.GetIndex()]; reason == "" || !strings.Contains(r.GetReason(), reason) {
			t.Errorf("event %d: %q, want %q", r.GetIndex(), r.GetReason(), reason)
		}
	}
	if len(s.stored) != 1 || len(s.stored[0].events) != 3 || got.GetLast().GetSeq() != uint64(market.MakeSeq(1, 2)) {
		t.Errorf("stored %v, answered %v", s.stored, got)
	}
	send(t, st, &pb.PublishRequest{Number: 2, Events: []*pb.Event{bar}})
	if all := receive(t, st); all.GetFirst() != nil || all.GetLast() != nil || all.GetDuplicate() || len(all.GetRefused()) != 1 {
		t.Errorf("a batch of bars alone: %v", all)
	}
	if got := srv.metric("lzstock_ingest_refused_events_total"); got != 11 {
		t.Errorf("the metric counts %v refused, want 11", got)
	}
}

func TestABatchThatCannotBeEndsTheStream(t *testing.T) {
	good := func(n uint64) *pb.PublishRequest {
		return &pb.PublishRequest{Publisher: "p", Number: n, Events: trades(1)}
	}
	for name, c := range map[string]struct {
		send []*pb.PublishRequest
		want string
	}{
		"no publisher":    {[]*pb.PublishRequest{{Number: 1, Events: trades(1)}}, "publisher is \"\": want 1 to 32 letters"},
		"bad publisher":   {[]*pb.PublishRequest{{Publisher: "a.b", Number: 1, Events: trades(1)}}, "publisher is \"a.b\""},
		"long publisher":  {[]*pb.PublishRequest{{Publisher: strings.Repeat("a", 33), Number: 1, Events: trades(1)}}, "want 1 to 32"},
		"other publisher": {[]*pb.PublishRequest{good(1), {Publisher: "q", Number: 2, Events: trades(1)}}, "but this stream is of \"p\""},
		"number 0":        {[]*pb.PublishRequest{good(0)}, "number is 0: want 1 or more"},
		"same number":     {[]*pb.PublishRequest{good(5), good(5)}, "number is 5 after 5: want a greater one"},
		"lower number":    {[]*pb.PublishRequest{good(5), good(4)}, "number is 4 after 5"},
		"no events":       {[]*pb.PublishRequest{{Publisher: "p", Number: 1}}, "has 0 events: want 1 to 4096"},
		"too many events": {[]*pb.PublishRequest{{Publisher: "p", Number: 1, Events: trades(4097)}}, "has 4097 events"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &store{}
			srv := serve(t, s, 0)
			defer srv.stop()
			st, hangUp := srv.dial()
			defer hangUp()
			for _, req := range c.send {
				send(t, st, req)
			}
			for range len(c.send) - 1 { // what came before is answered
				receive(t, st)
			}
			_, err := st.Recv()
			if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want INVALID_ARGUMENT with %q", err, c.want)
			}
			if len(s.stored) != len(c.send)-1 {
				t.Errorf("stored %v", s.ids())
			}
		})
	}
}

// The connection is lost while the second of three messages of a batch is being
// stored; its answer never arrives. All that was not acknowledged comes again.
func TestALostConnectionMakesNoDuplicates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storing, lost := make(chan struct{}), make(chan struct{})
		s := &store{}
		s.after = func(id string) error {
			if id == "p/2/1" {
				select {
				case <-storing:
				default:
					close(storing)
					<-lost
					return errors.New("nobody waits for this answer")
				}
			}
			return nil
		}
		srv := serve(t, s, 0)
		defer srv.stop()
		st, hangUp := srv.dial()
		for n := uint64(1); n <= 3; n++ {
			send(t, st, &pb.PublishRequest{Publisher: "p", Number: n, Events: trades(600)})
		}
		want(t, receive(t, st), &pb.PublishResponse{Number: 1, First: position(1, 0), Last: position(3, 87)})
		synctest.Wait()
		select {
		case <-storing:
		default:
			t.Fatal("the store was not reached")
		}
		hangUp()
		close(lost)

		st, hangUp = srv.dial()
		defer hangUp()
		for n := uint64(2); n <= 4; n++ {
			send(t, st, &pb.PublishRequest{Publisher: "p", Number: n, Events: trades(600)})
		}
		// Half of it is new: not a duplicate as a whole.
		want(t, receive(t, st), &pb.PublishResponse{Number: 2, First: position(4, 0), Last: position(6, 87)})
		want(t, receive(t, st), &pb.PublishResponse{Number: 3, First: position(7, 0), Last: position(9, 87)})
		want(t, receive(t, st), &pb.PublishResponse{Number: 4, First: position(10, 0), Last: position(12, 87)})

		st, hangUpToo := srv.dial()
		defer hangUpToo()
		send(t, st, &pb.PublishRequest{Publisher: "p", Number: 2, Events: trades(600)})
		want(t, receive(t, st), &pb.PublishResponse{Number: 2, First: position(4, 0), Last: position(6, 87), Duplicate: true})
		if got := len(s.ids()); got != 12 {
			t.Errorf("%d messages were stored, want 12: %v", got, s.ids())
		}
	})
}

func TestAStoreThatFailsEndsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{before: func(id string) error {
			if strings.HasPrefix(id, "p/2/") {
				return errors.New("no leader")
			}
			return nil
		}}
		srv := serve(t, s, 0)
		defer srv.stop()
		st, hangUp := srv.dial()
		defer hangUp()
		for n := uint64(1); n <= 3; n++ {
			send(t, st, &pb.PublishRequest{Publisher: "p", Number: n, Events: trades(1)})
		}
		receive(t, st)
		_, err := st.Recv()
		if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "did not store batch 2: send it again") {
			t.Errorf("got %v", err)
		}
		if diff := cmp.Diff([]string{"p/1/0:1"}, s.ids()); diff != "" {
			t.Error(diff)
		}
	})
}

// While the store hangs, the service holds the batch in hand and as many more as
// it may read ahead; the rest waits with the publisher.
func TestReadAheadIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		s := &store{before: func(string) error { <-free; return nil }}
		srv := serve(t, s, 4)
		st, hangUp := srv.dial()
		const batches = 24
		var sending sync.WaitGroup
		sent := 0
		sending.Go(func() {
			for n := range uint64(batches) {
				send(t, st, &pb.PublishRequest{Publisher: "p", Number: n + 1, Events: trades(4096)})
				sent++
			}
		})
		synctest.Wait()
		if got := srv.metric("lzstock_ingest_waiting_batches"); got != 4 {
			t.Errorf("%v batches wait, want 4", got)
		}
		if sent >= batches/2 {
			t.Errorf("%d batches were sent: the publisher was not slowed", sent)
		}
		close(free)
		for n := range uint64(batches) {
			if resp := receive(t, st); resp.GetNumber() != n+1 {
				t.Errorf("answer %d is of batch %d", n+1, resp.GetNumber())
			}
		}
		sending.Wait()
		if got := srv.metric("lzstock_ingest_streams"); got != 1 {
			t.Errorf("%v streams, want 1", got)
		}
		hangUp()
		srv.stop()
		if got := srv.metric("lzstock_ingest_streams"); got != 0 {
			t.Errorf("%v streams after the end, want 0", got)
		}
	})
}

func TestStopEndsStreamsAfterTheBatchInHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storing, free := make(chan struct{}), make(chan struct{})
		var once sync.Once
		s := &store{before: func(string) error {
			once.Do(func() { close(storing) })
			<-free
			return nil
		}}
		srv := serve(t, s, 0)
		busy, hangUp := srv.dial()
		defer hangUp()
		idle, hangUpToo := srv.dial()
		defer hangUpToo()
		send(t, busy, &pb.PublishRequest{Publisher: "p", Number: 1, Events: trades(1)})
		send(t, busy, &pb.PublishRequest{Publisher: "p", Number: 2, Events: trades(1)})
		send(t, idle, &pb.PublishRequest{Publisher: "q", Number: 1, Events: []*pb.Event{{}}})
		receive(t, idle)
		synctest.Wait()
		select {
		case <-storing:
		default:
			t.Fatal("the store was not reached")
		}
		srv.service.Stop()
		if _, err := idle.Recv(); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "is stopping") {
			t.Errorf("the idle stream ended with %v", err)
		}
		close(free)
		want(t, receive(t, busy), &pb.PublishResponse{Number: 1, First: position(1, 0), Last: position(1, 0)})
		if _, err := busy.Recv(); status.Code(err) != codes.Unavailable {
			t.Errorf("the busy stream ended with %v", err)
		}
		srv.stop()
		if n := len(s.ids()); n != 1 {
			t.Errorf("%d batches were stored, want the one in hand", n)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	if _, err := ingest.New(ingest.Config{}); err == nil {
		t.Error("no store was accepted")
	}
	if _, err := ingest.New(ingest.Config{Store: &store{}, ReadAhead: 1000}); err == nil || !strings.Contains(err.Error(), "want 1 to 256") {
		t.Errorf("a read ahead of 1000 gives %v", err)
	}
	r := prometheus.NewRegistry()
	if _, err := ingest.New(ingest.Config{Store: &store{}, Registry: r}); err != nil {
		t.Error(err)
	}
	if _, err := ingest.New(ingest.Config{Store: &store{}, Registry: r}); err == nil {
		t.Error("two services share the metrics")
	}
}

func BenchmarkPublish(b *testing.B) {
	s := &discard{}
	service, err := ingest.New(ingest.Config{Store: s})
	if err != nil {
		b.Fatal(err)
	}
	lis, server := memnet.Listen(), grpc.NewServer(grpc.WaitForHandlers(true))
	service.Register(server)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(lis) })
	defer serving.Wait()
	defer service.Wait()
	defer server.Stop()
	conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx, "", "") }))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	st, err := pb.NewIngestClient(conn).Publish(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	req := &pb.PublishRequest{Publisher: "p", Events: trades(256)}
	b.ReportAllocs()
	const inFlight = 16
	for b.Loop() {
		req.Number++
		if err := st.Send(req); err != nil {
			b.Fatal(err)
		}
		if req.GetNumber() > inFlight {
			if _, err := st.Recv(); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(256*b.N)/b.Elapsed().Seconds(), "events/s")
}

type discard struct{ n uint64 }

func (d *discard) Epoch() market.Epoch { return epoch }

func (d *discard) Publish(_ context.Context, _, _ string, events []market.Event) (first, last market.Seq, duplicate bool, err error) {
	d.n++
	return market.MakeSeq(d.n, 0), market.MakeSeq(d.n, len(events)-1), false, nil
}

// TestPublishersPulse: an open stream is said to be there, and how it ended.
func TestPublishersPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		srv := serve(t, s, 0)
		st, hangUp := srv.dial()
		send(t, st, &pb.PublishRequest{Publisher: "whole", Number: 1, Events: trades(1)})
		receive(t, st)
		time.Sleep(time.Minute)
		if err := st.CloseSend(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		hangUp()
		st, hangUp = srv.dial()
		send(t, st, &pb.PublishRequest{Publisher: "broken", Number: 1, Events: trades(1)})
		receive(t, st)
		hangUp()
		synctest.Wait()
		_, hangUp = srv.dial() // one that never says who it is
		hangUp()
		srv.stop()
		if diff := cmp.Diff([]string{"whole open", "whole ended", "broken open", "broken lost"}, s.beats); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}
