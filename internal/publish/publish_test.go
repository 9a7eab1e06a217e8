package publish_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/ingest"
	"github.com/lzstock/lzstock/internal/leak"
	"github.com/lzstock/lzstock/internal/memnet"
	"github.com/lzstock/lzstock/internal/publish"
	"github.com/lzstock/lzstock/internal/safetext"
	"github.com/lzstock/lzstock/market"
)

func TestMain(m *testing.M) { leak.Main(m) }

// service is a real Ingest service over a store and a network in memory.
type service struct {
	t       *testing.T
	ingest  *ingest.Service
	grpc    *grpc.Server
	lis     *memnet.Listener
	serving sync.WaitGroup

	mu      sync.Mutex
	conn    net.Conn // the publisher's, at the moment
	ids     map[string]market.Seq
	batches [][]market.Event
	stored  func(batches int) // called after a batch was stored
	hang    chan struct{}     // waited for before a batch is stored, if not nil
}

func serve(t *testing.T) *service {
	t.Helper()
	s := &service{
		t: t, ids: make(map[string]market.Seq), lis: memnet.Listen(), stored: func(int) {},
		grpc: grpc.NewServer(grpc.WaitForHandlers(true),
			grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second})),
	}
	var err error
	if s.ingest, err = ingest.New(ingest.Config{Store: s}); err != nil {
		t.Fatal(err)
	}
	s.ingest.Register(s.grpc)
	s.serving.Go(func() {
		if err := s.grpc.Serve(s.lis); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *service) stop() {
	s.grpc.Stop()
	s.ingest.Wait()
	s.serving.Wait()
}

func (s *service) Epoch() market.Epoch { return 7 }

func (s *service) Publish(_ context.Context, _, id string, events []market.Event) (first, last market.Seq, duplicate bool, err error) {
	if s.hang != nil {
		<-s.hang
	}
	s.mu.Lock()
	first, duplicate = s.ids[id]
	if !duplicate {
		s.batches = append(s.batches, append([]market.Event(nil), events...))
		first = market.MakeSeq(uint64(len(s.batches)), 0)
		s.ids[id] = first
	}
	n := len(s.batches)
	s.mu.Unlock()
	s.stored(n)
	return first, first + market.Seq(len(events)-1), duplicate, nil
}

// events gives what was stored, and in how many batches.
func (s *service) events() (list []market.Event, batches int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.batches {
		list = append(list, b...)
	}
	return list, len(s.batches)
}

// cut ends the publisher's connection, and reports false where it has none: the
// service may still be storing what came over one that was cut.
func (s *service) cut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return false
	}
	if err := s.conn.Close(); err != nil {
		s.t.Error(err)
	}
	s.conn = nil
	return true
}

// config publishes to the service.
func (s *service) config(in io.Reader) publish.Config {
	return publish.Config{
		Target: "passthrough:///memory", Input: in,
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			c, err := s.lis.DialContext(ctx, "", "")
			s.mu.Lock()
			defer s.mu.Unlock()
			s.conn = c
			return c, err
		})},
	}
}

// tapeOf makes rows, the price counting up from 1.
func tapeOf(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d,AAPL,trade,%d,1,,,,\n", 1_700_000_000_000_000_000+i, i+1)
	}
	return b.String()
}

// inOrder fails where the events are not those of tapeOf(n).
func inOrder(t *testing.T, list []market.Event, n int) {
	t.Helper()
	if len(list) != n {
		t.Fatalf("%d events were stored, want %d", len(list), n)
	}
	for i, e := range list {
		if e.Trade.Price != market.Price(i+1)*market.Scale {
			t.Fatalf("event %d has the price %s: lost, double or out of order", i, e.Trade.Price)
		}
	}
}

func bubble(t *testing.T, f func(s *service)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		defer s.stop()
		f(s)
	})
}

func TestARecordedTapeArrivesInFullBatches(t *testing.T) {
	const header = "ts_ns,symbol,type,price,size,bid,bid_size,ask,ask_size\n"
	bubble(t, func(s *service) {
		t := s.t
		const n = 10_000
		sum, err := publish.Run(t.Context(), s.config(strings.NewReader(header+tapeOf(n)+"\n")), nil)
		if err != nil {
			t.Fatal(err)
		}
		list, batches := s.events()
		inOrder(t, list, n)
		if most := 2 * n / market.BatchLimit; batches > most {
			t.Errorf("%d batches, want at most %d", batches, most)
		}
		if sum.Sent != n || sum.Stored != n || !sum.Complete() || sum.Lines != n+2 {
			t.Errorf("summary: %+v", sum)
		}
	})
}

func TestJSONLinesAreExact(t *testing.T) {
	in := `{"T":"t","S":"AAPL","i":96921,"x":"D","p":126.55,"s":1,"t":"2021-02-22T15:51:44.208Z","c":["@"],"z":"C","P":1,"more":{"x":[]}}
[{"T":"q","S":"BTC/USD","bx":"U","bp":87.660000001,"bs":0.5,"ax":"Q","ap":87.68,"as":4,"t":"2021-02-22T10:51:44.208000001-05:00","c":["R"]},{"T":"q","S":"X","ap":0.30000000000000004,"as":1,"t":"2021-02-22T15:51:45Z"}]
`
	at := time.Date(2021, 2, 22, 15, 51, 44, 208_000_000, time.UTC)
	want := []market.Event{
		{Channel: market.Trades, Symbol: "AAPL", Trade: &market.Trade{
			ID: 96921, Exchange: "D", Price: 126_550_000_000, Size: market.Scale, Time: at, Conditions: []string{"@"}, Tape: "C",
		}},
		{Channel: market.Quotes, Symbol: "BTC/USD", Quote: &market.Quote{
			BidExchange: "U", BidPrice: 87_660_000_001, BidSize: market.Scale / 2,
			AskExchange: "Q", AskPrice: 87_680_000_000, AskSize: 4 * market.Scale, Time: at.Add(1), Conditions: []string{"R"},
		}},
		{Channel: market.Quotes, Symbol: "X", Quote: &market.Quote{AskPrice: 300_000_000, AskSize: market.Scale, Time: at.Add(792 * time.Millisecond)}},
	}
	bubble(t, func(s *service) {
		t := s.t
		sum, err := publish.Run(t.Context(), s.config(strings.NewReader(in)), nil)
		list, _ := s.events()
		if diff := cmp.Diff(want, list); err != nil || diff != "" {
			t.Errorf("%v, %s (-want +got)\n%s", err, sum, diff)
		}
		if sum.Mended != 1 {
			t.Errorf("summary: %+v", sum)
		}
	})
}

// A line that comes alone does not wait for others.
func TestASlowPipeIsSentAtOnce(t *testing.T) {
	bubble(t, func(s *service) {
		t := s.t
		in, out := io.Pipe()
		var running sync.WaitGroup
		running.Go(func() {
			if sum, err := publish.Run(t.Context(), s.config(in), nil); err != nil || sum.Stored != 3 {
				t.Errorf("%v, %s", err, sum)
			}
		})
		for i, line := range strings.SplitAfter(tapeOf(3), "\n")[:3] {
			if _, err := io.WriteString(out, line); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if list, _ := s.events(); len(list) != i+1 {
				t.Fatalf("%d events were stored after %d lines", len(list), i+1)
			}
		}
		if err := out.Close(); err != nil {
			t.Error(err)
		}
		running.Wait()
	})
}

func TestBadLinesAndRefusalsAreReportedWithTheirLines(t *testing.T) {
	bubble(t, func(s *service) {
		t := s.t
		good := strings.SplitAfter(tapeOf(3), "\n")
		in := good[0] + "nonsense\n" + good[1] + strings.Repeat("x", 70_000) + "\n" + good[2]
		var out bytes.Buffer
		sum, err := publish.Run(t.Context(), s.config(strings.NewReader(in)), &out)
		if err != nil {
			t.Fatal(err)
		}
		list, _ := s.events()
		inOrder(t, list, 3)
		if sum.BadLines != 2 || sum.Lines != 5 || sum.Complete() {
			t.Errorf("summary: %+v", sum)
		}
		for _, want := range []string{"line 2: it has 1 fields, want 9", "line 4: the line is longer than 64 KiB"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q in\n%s", want, &out)
			}
		}
	})
	bubble(t, func(s *service) { // refused by the service: too many conditions
		t := s.t
		bad := `{"T":"t","S":"A","p":1,"s":1,"t":"2021-02-22T15:51:44Z","c":["` + strings.Repeat(`","`, 20) + `"]}`
		in := bad + "\n" + `{"T":"t","S":"A","p":1,"s":1,"t":"2021-02-22T15:51:44Z"}` + strings.Repeat("\n"+bad, 9)
		var out bytes.Buffer
		cfg := s.config(strings.NewReader(in))
		cfg.ShowBad = 3
		sum, err := publish.Run(t.Context(), cfg, &out)
		if err != nil || sum.Refused != 10 || sum.Stored != 1 || sum.Sent != 11 || sum.Unanswered != 0 {
			t.Errorf("%v, %s", err, sum)
		}
		if text := out.String(); !strings.Contains(text, "line 1: refused: event of trades:A: 21 conditions") ||
			!strings.Contains(text, "line 4: refused") || strings.Contains(text, "line 5:") || !strings.Contains(text, "only counted") {
			t.Errorf("reports:\n%s", text)
		}
	})
}

// Whenever the connection breaks, also between storing and answering, each event
// is stored once and in order.
func TestHostileService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const evil = "\x1b]0;owned\a\u009b31m\x7f\u202e\u200bgo"
		lis := memnet.Listen()
		server := grpc.NewServer(grpc.WaitForHandlers(true))
		pb.RegisterIngestServer(server, &hostile{evil: evil})
		var serving sync.WaitGroup
		serving.Go(func() { _ = server.Serve(lis) })
		defer serving.Wait()
		defer server.Stop()
		var out bytes.Buffer
		_, err := publish.Run(t.Context(), publish.Config{
			Target: "passthrough:///memory", Input: strings.NewReader(tapeOf(1)),
			DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx, "", "") })},
		}, &out)
		if err != nil {
			t.Error(err)
		}
		if got := out.String(); !strings.Contains(got, "refused: ]0;owned31mgo\n") || !strings.Contains(got, ": ]0;owned31mgo; next try") || got != safetext.CleanLines(got) {
			t.Errorf("%q", got)
		}
	})
}

// hostile ends its first stream, and refuses an event on the next, with words for a
// terminal.
type hostile struct {
	pb.UnimplementedIngestServer
	evil  string
	calls atomic.Int64
}

func (h *hostile) Publish(stream grpc.BidiStreamingServer[pb.PublishRequest, pb.PublishResponse]) error {
	req, err := stream.Recv()
	if err != nil {
		return err
	}
	if h.calls.Add(1) == 1 {
		return status.Error(codes.Unavailable, h.evil)
	}
	return stream.Send(&pb.PublishResponse{Number: req.GetNumber(), Refused: []*pb.Refusal{{Reason: h.evil}}})
}

func TestLostConnectionsLoseAndDoubleNothing(t *testing.T) {
	bubble(t, func(s *service) {
		t := s.t
		const n = 20_000
		cuts := 0
		s.stored = func(batches int) {
			if batches%10 == 7 && cuts < 6 && s.cut() {
				cuts++
			}
		}
		var out bytes.Buffer
		cfg := s.config(strings.NewReader(tapeOf(n)))
		cfg.InFlight = 8
		sum, err := publish.Run(t.Context(), cfg, &out)
		if err != nil {
			t.Fatal(err)
		}
		list, _ := s.events()
		inOrder(t, list, n)
		if cuts < 3 || sum.Reconnects < cuts || sum.Duplicates == 0 || sum.Stored != n || !sum.Complete() {
			t.Errorf("%d cuts, summary: %s", cuts, sum)
		}
		if !strings.Contains(out.String(), "no connection to") {
			t.Errorf("the user was not told:\n%s", &out)
		}
	})
}

func TestInFlightIsBounded(t *testing.T) {
	bubble(t, func(s *service) {
		t := s.t
		s.hang = make(chan struct{})
		in, out := io.Pipe()
		cfg := s.config(in)
		cfg.InFlight = 2
		var running sync.WaitGroup
		running.Go(func() {
			if sum, err := publish.Run(t.Context(), cfg, nil); err != nil || sum.Stored != 10_000 {
				t.Errorf("%v, %s", err, sum)
			}
		})
		wrote := 0
		running.Go(func() {
			defer out.Close()
			for line := range strings.SplitAfterSeq(tapeOf(10_000), "\n") {
				if _, err := io.WriteString(out, line); err != nil {
					t.Error(err)
					return
				}
				wrote++
			}
		})
		synctest.Wait()
		if wrote > 5_000 {
			t.Errorf("%d lines were taken though nothing was acknowledged", wrote)
		}
		close(s.hang)
		running.Wait()
	})
}

func TestRunGivesUpAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{t: t, lis: memnet.Listen()}
		if err := s.lis.Close(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var out bytes.Buffer
		sum, err := publish.Run(t.Context(), s.config(strings.NewReader(tapeOf(10))), &out)
		took := time.Since(start)
		if err == nil || !strings.Contains(err.Error(), "given up after") || took < 50*time.Second || took > time.Minute {
			t.Errorf("ended after %s with %v", took, err)
		}
		if sum.Stored != 0 || !strings.Contains(out.String(), "next try in") {
			t.Errorf("summary %s, reports:\n%s", sum, &out)
		}
	})
}

func TestARefusedStreamIsNotTriedAgain(t *testing.T) {
	bubble(t, func(s *service) {
		t := s.t
		cfg := s.config(strings.NewReader(tapeOf(10)))
		cfg.Publisher = "a b"
		sum, err := publish.Run(t.Context(), cfg, nil)
		if err == nil || !strings.Contains(err.Error(), `publisher is "a b"`) || sum.Reconnects != 0 || sum.Unanswered != 10 {
			t.Errorf("%v, %s", err, sum)
		}
	})
}

func TestAStopEndsABlockedRun(t *testing.T) {
	bubble(t, func(s *service) {
		t := s.t
		in, out := io.Pipe()
		defer out.Close()
		gone := errors.New("interrupted")
		ctx, cancel := context.WithCancelCause(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if sum, err := publish.Run(ctx, s.config(in), nil); !errors.Is(err, gone) || sum.Stored != 1 {
				t.Errorf("%v, %s", err, sum)
			}
		})
		if _, err := io.WriteString(out, tapeOf(1)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		cancel(gone)
		running.Wait()
	})
}

func TestAnInputThatFailsIsPublishedUpToThere(t *testing.T) {
	bubble(t, func(s *service) {
		t := s.t
		torn := errors.New("torn")
		in := io.MultiReader(strings.NewReader(tapeOf(5)), &failing{torn})
		if sum, err := publish.Run(t.Context(), s.config(in), nil); !errors.Is(err, torn) || sum.Stored != 5 {
			t.Errorf("%v, %s", err, sum)
		}
		in = io.MultiReader(strings.NewReader("ts_ns,symbol\n"), strings.NewReader(tapeOf(5)))
		if sum, err := publish.Run(t.Context(), s.config(in), nil); err == nil || !strings.Contains(err.Error(), "line 1: the header is") || sum.Stored != 0 {
			t.Errorf("%v, %s", err, sum)
		}
	})
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

func TestProgressComesEveryFewSecondsWhereItIsNoTerminal(t *testing.T) {
	bubble(t, func(s *service) {
		t := s.t
		in, out := io.Pipe()
		var report bytes.Buffer
		var running sync.WaitGroup
		running.Go(func() {
			if _, err := publish.Run(t.Context(), s.config(in), &report); err != nil {
				t.Error(err)
			}
		})
		if _, err := io.WriteString(out, tapeOf(4)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // of which only the first five seconds bring news
		if err := out.Close(); err != nil {
			t.Error(err)
		}
		running.Wait()
		if want := "4 sent, 4 stored, 0 refused, 0 duplicates in 5s (1/s)\n"; report.String() != want {
			t.Errorf("got %q, want %q", &report, want)
		}
	})
}

func TestRunRefuses(t *testing.T) {
	in := strings.NewReader("")
	for want, cfg := range map[string]publish.Config{
		"the target is missing":   {Input: in},
		"there is no input":       {Target: "x"},
		"want 1 to 4096":          {Target: "x", Input: in, InFlight: -1},
		"want auto, csv or jsonl": {Target: "x", Input: in, Format: "xml"},
	} {
		if _, err := publish.Run(t.Context(), cfg, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
