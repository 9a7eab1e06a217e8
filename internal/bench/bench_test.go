package bench

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/lzstock/lzstock/internal/bench/report"
	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/gateway"
	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/leak"
	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/internal/obs"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

func TestMain(m *testing.M) { leak.Main(m) }

// free is a demand that is met already.
type free struct{}

func (free) Acquire(string, []market.Topic) error { return nil }
func (free) Release(string, []market.Topic)       {}
func (free) Epoch() market.Epoch                  { return 1 }
func (free) Replay(_ context.Context, topics []market.Topic, _ market.Position) ([]market.Event, market.Seq, []market.Topic, error) {
	return nil, 0, topics, nil
}

// house is a gateway on loopback, whose hub the test fills.
type house struct {
	t     *testing.T
	hub   *hub.Hub
	url   string
	admin string
	seq   market.Seq
}

func newHouse(t *testing.T, cfg gateway.Config) *house {
	t.Helper()
	h, err := hub.New(hub.Config{Open: true, Encode: func(dst []byte, f int, e *market.Event) []byte {
		return wire.AppendEvent(dst, wire.Format(f), e)
	}})
	if err != nil {
		t.Fatal(err)
	}
	reg, err := obs.NewRegistry(obs.Build{})
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(cfg, h, free{}, slog.New(slog.DiscardHandler), reg)
	if err != nil {
		t.Fatal(err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	admin := httptest.NewServer(promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	hubCtx, stopHub := context.WithCancel(context.Background())
	ctx, stop := context.WithCancel(context.Background())
	var hubDone, done sync.WaitGroup
	hubDone.Go(func() { _ = h.Run(hubCtx) })
	done.Go(func() { _ = g.Run(ctx, l) })
	t.Cleanup(func() {
		stop()
		done.Wait()
		stopHub()
		hubDone.Wait()
		admin.Close()
	})
	return &house{t: t, hub: h, url: "ws://" + l.Addr().String() + "/v1/stream", admin: admin.URL}
}

var universe = []market.Symbol{"A", "B", "C", "D", "E", "F", "G", "LONGSYMBOL"}

// publish brings n trades, round the symbols, of now.
func (ho *house) publish(n int) {
	events := make([]market.Event, n)
	for i := range events {
		ho.seq++
		events[i] = market.Event{
			Seq: ho.seq, Channel: market.Trades, Symbol: universe[int(ho.seq)%len(universe)],
			Trade: &market.Trade{Price: 126_550_000_000, Size: market.Scale, Exchange: "D", Time: time.Now(), Conditions: []string{"@"}, Tape: "C"},
		}
	}
	if err := ho.hub.Publish(ho.t.Context(), events); err != nil {
		ho.t.Error(err)
	}
}

// bench runs a load. Once it is measured, busy is called. Where the load has no
// duration, it ends when busy has returned and all was written.
func (ho *house) bench(cfg Config, busy func(measured func() bool)) *report.Report {
	ho.t.Helper()
	cfg.URL, cfg.Universe = ho.url, universe
	cfg.Admin = []string{ho.admin}
	cfg.Ramp = 50 * time.Millisecond
	ends := cfg.Duration > 0
	if !ends {
		cfg.Duration = time.Hour
	}
	ctx, cancel := context.WithTimeout(ho.t.Context(), patience)
	defer cancel()
	r, err := prepare(ctx, cfg, io.Discard)
	if err != nil {
		ho.t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for !r.fleet.measuring.Load() && ctx.Err() == nil {
			runtime.Gosched()
		}
		busy(func() bool { return r.fleet.measuring.Load() && ctx.Err() == nil })
		if ends {
			return
		}
		ho.flushed()
		cancel()
	})
	out, err := r.run(ctx)
	wg.Wait()
	if err != nil {
		ho.t.Fatal(err)
	}
	return out
}

// flushed returns when all that was published before was offered to the sockets.
func (ho *house) flushed() {
	ho.t.Helper()
	for range 2 * runtime.GOMAXPROCS(0) { // each shard has one of so many in a row
		m, err := ho.hub.Join(ho.t.Context(), mute{}, mailbox.Options{})
		if err != nil {
			ho.t.Error(err)
			return
		}
		for range 2 { // what was taken in before the first is flushed before the second
			done := make(chan struct{})
			if err := m.Do(ho.t.Context(), func(time.Time) { close(done) }); err != nil {
				ho.t.Error(err)
				return
			}
			<-done
		}
		m.Leave()
	}
}

// mute is a member that takes nothing.
type mute struct{}

func (mute) Flush(*mailbox.Mailbox, time.Time) time.Time { return time.Time{} }
func (mute) Announce(hub.Notice)                         {}
func (mute) Fail(error)                                  {}

// patience bounds what would hang in a failing test; nothing waits for it.
const patience = 20 * time.Second

// count gives one of the gateway's counts, as it is now.
func (ho *house) count(series string) float64 {
	ho.t.Helper()
	s, err := newServers([]string{ho.admin})
	if err != nil {
		ho.t.Error(err)
		return 0
	}
	defer s.close()
	now, err := s.read(context.Background())
	if err != nil {
		ho.t.Error(err)
	}
	return now.gateway[series]
}

// engines runs a test with both ways to drive sockets.
func engines(t *testing.T, test func(t *testing.T, portable bool)) {
	t.Helper()
	for _, portable := range []bool{false, true} {
		t.Run(fmt.Sprintf("portable=%t", portable), func(t *testing.T) { test(t, portable) })
	}
}

func TestCountsMatchTheServers(t *testing.T) {
	engines(t, func(t *testing.T, portable bool) {
		t.Helper()
		ho := newHouse(t, gateway.Config{})
		ho.publish(len(universe)) // so that there are snapshots
		r := ho.bench(Config{Clients: 200, Symbols: 4, Channels: []market.Channel{market.Trades}, Portable: portable}, func(func() bool) {
			tick := time.NewTicker(2 * busyCrew / 10) // long enough for a crew to notice that it is measured
			defer tick.Stop()
			for range 30 {
				<-tick.C
				ho.publish(16)
			}
		})
		g, total := r.Server.Gateway, r.Healthy.Total
		if total.Events == 0 || float64(total.Events+total.Merged) != g["delivered_total"] || float64(total.Merged) != g["conflated_total"] {
			t.Errorf("counted %d and %d merged; the server says %v and %v", total.Events, total.Merged, g["delivered_total"], g["conflated_total"])
		}
		if total.Snapshots != 200*4 {
			t.Errorf("%d snapshots, want %d", total.Snapshots, 200*4)
		}
		if r.Losses() != 0 || total.Disorder != 0 || total.Bad != 0 || len(r.Closes)+len(r.Refused)+len(r.DialErrors)+len(r.Errors) != 0 {
			t.Errorf("trouble: %+v, %v, %v, %v, %v", total, r.Closes, r.Refused, r.DialErrors, r.Errors)
		}
		if c := r.Clients; c.Peak != 200 || c.Opened != 200 || c.Left != 200 || c.OpenedIn <= 0 || c.Handshake.Count != 200 {
			t.Errorf("clients: %+v", c)
		}
		if r.Healthy.Age.Count != int64(r.Healthy.Window.Events) {
			t.Errorf("%d ages of %d events", r.Healthy.Age.Count, r.Healthy.Window.Events)
		}
		if a := r.Healthy.Age; a.P50 <= 0 || a.P50 > a.P99 || a.P99 > a.Max || a.Max > 60_000 {
			t.Errorf("ages: %+v", a)
		}
		if s := r.Server; s.Peak.Sockets != 200 || s.CPUSeconds <= 0 {
			t.Errorf("server: %+v", s)
		}
	})
}

func TestThoseWhoStallAreToldApart(t *testing.T) {
	engines(t, func(t *testing.T, portable bool) {
		t.Helper()
		ho := newHouse(t, gateway.Config{Bridge: bridge.Config{WriteStall: 300 * time.Millisecond}})
		r := ho.bench(Config{
			Clients: 20, Symbols: len(universe), Channels: []market.Channel{market.Trades}, Portable: portable,
			Stalled: 0.2, Drip: 0.1, Delivery: wire.Every,
		}, func(measured func() bool) {
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for measured() && ho.hub.Stats().Members >= 20 {
				<-tick.C
				ho.publish(50)
				ho.flushed() // a busy machine makes the feed slower, not healthy clients slow
			}
			time.Sleep(300 * time.Millisecond) // the client hears of its end, too
		})
		if r.Healthy.Clients+r.Slow.Clients != 20 || r.Slow.Clients < 5 || r.Slow.Clients > 7 {
			t.Errorf("%d healthy and %d slow clients of 20 with 20%% and 10%%", r.Healthy.Clients, r.Slow.Clients)
		}
		if r.Healthy.Total.Events == 0 || r.Losses() != 0 {
			t.Errorf("healthy: %+v, slow: %+v", r.Healthy.Total, r.Slow.Total)
		}
		var closed uint64
		for _, c := range r.Closes {
			if !c.Slow || c.Code != 4102 && c.Code != closedAbnormally {
				t.Errorf("a healthy client, or one for another reason, was closed: %+v", c)
			}
			closed += c.Count
		}
		if closed == 0 {
			t.Error("no stalled client was closed, though the server gives them 300 ms")
		}
		if r.Server.Gateway[`ended_total{reason="write_stalled"}`]+r.Server.Gateway[`ended_total{reason="slow_consumer"}`] == 0 {
			t.Errorf("the server ended nobody for being slow: %v", r.Server.Gateway)
		}
	})
}

func TestChurnAndVanish(t *testing.T) {
	engines(t, func(t *testing.T, portable bool) {
		t.Helper()
		ho := newHouse(t, gateway.Config{})
		r := ho.bench(Config{
			Clients: 50, Symbols: 2, Channels: []market.Channel{market.Trades}, Portable: portable,
			Churn: 500, Vanish: true, Delivery: wire.Every,
		}, func(measured func() bool) {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for measured() && ho.count(`ended_total{reason="client_closed"}`) < 40 {
				<-tick.C
				ho.publish(1)
			}
		})
		c, g := r.Clients, r.Server.Gateway
		if c.Churned < 30 || c.Opened <= 50 || c.Left != c.Opened || c.Peak != 50 {
			t.Errorf("clients: %+v", c)
		}
		for ho.count("sockets") > 0 && t.Context().Err() == nil {
			runtime.Gosched()
		}
		// Some of those that vanish have not heard yet that they were let in.
		if gone, closed := ho.count(`ended_total{reason="client_gone"}`), ho.count(`ended_total{reason="client_closed"}`); gone+closed < float64(c.Opened) || gone == 0 {
			t.Errorf("%v vanished and %v left of %d", gone, closed, c.Opened)
		}
		if r.Losses() != 0 || len(r.Closes) != 0 || r.Healthy.Total.Events == 0 {
			t.Errorf("%+v, %v, %v", r.Healthy.Total, r.Closes, g)
		}
	})
}

func TestARunThatIsInterruptedReports(t *testing.T) {
	engines(t, func(t *testing.T, portable bool) {
		t.Helper()
		ho := newHouse(t, gateway.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			for ho.hub.Stats().Members < 20 && t.Context().Err() == nil {
				runtime.Gosched()
			}
			cancel()
		})
		defer wg.Wait()
		r, err := Run(ctx, Config{URL: ho.url, Clients: 20, Universe: universe, Duration: time.Hour, Ramp: time.Millisecond, Portable: portable}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !r.Interrupted || r.Clients.Left == 0 || r.Clients.Left != r.Clients.Opened || r.Seconds > 60 || r.Server != nil {
			t.Errorf("interrupted: %t, %+v", r.Interrupted, r.Clients)
		}
	})
}

func TestManySymbolsAndAProfile(t *testing.T) {
	ho := newHouse(t, gateway.Config{})
	many := make([]market.Symbol, 900)
	for i := range many {
		many[i] = market.Symbol(fmt.Sprintf("SYMBOL%04d", i))
	}
	r, err := Run(t.Context(), Config{URL: ho.url, Clients: 4, Symbols: 900, Universe: many, Profile: "spike", Duration: 500 * time.Millisecond, Admin: []string{ho.admin}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Clients.Peak != 6 || r.Server.Peak.Sockets > 6 || len(r.Errors) != 0 {
		t.Errorf("%+v, errors %v", r.Clients, r.Errors)
	}
	if got := r.Server.Gateway[`commands_total{action="subscribe"}`]; got != 6*2*2 {
		t.Errorf("%v subscribe commands, want 2 for each of 2 channels and 6 clients", got)
	}
	if r.Server.SettledIn < 0 || r.Server.After.Sockets != 0 {
		t.Errorf("the server did not come to rest: %v", r.Server.Unsettled)
	}
}

func TestWhatCannotRunIsSaidBefore(t *testing.T) {
	ho := newHouse(t, gateway.Config{})
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"no address":        {Config{URL: "127.0.0.1:8080"}, "want one such as ws://127.0.0.1:8080/v1/stream"},
		"nobody there":      {Config{URL: "ws://127.0.0.1:1/v1/stream"}, "refused"},
		"refused":           {Config{URL: ho.url + "?nonsense=1"}, "400 Bad Request"},
		"no stream":         {Config{URL: strings.Replace(plain.URL, "http", "ws", 1)}, "404"},
		"admin":             {Config{URL: ho.url, Admin: []string{plain.URL}}, "404"},
		"admin nonsense":    {Config{URL: ho.url, Admin: []string{"http://"}}, "is no address"},
		"clients":           {Config{URL: ho.url, Clients: -1}, "want 1 or more"},
		"files":             {Config{URL: ho.url, Clients: math.MaxInt32}, "ulimit -n"},
		"symbols":           {Config{URL: ho.url, Symbols: 31}, "want 1 to 30"},
		"shares":            {Config{URL: ho.url, Stalled: 0.6, Drip: 0.6}, "both together"},
		"interval":          {Config{URL: ho.url, Interval: time.Second}, "delivery latest"},
		"profile":           {Config{URL: ho.url, Profile: "soak"}, "want smoke, spike, capacity"},
		"profile and ramp":  {Config{URL: ho.url, Profile: "smoke", Ramp: time.Second}, "has its own ramp"},
		"negative duration": {Config{URL: ho.url, Duration: -1}, "negative"},
	} {
		if _, err := Run(t.Context(), c.cfg, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: err = %v, want %q in it", name, err, c.want)
		}
	}
}

func TestAFullServerIsTriedAgain(t *testing.T) {
	engines(t, func(t *testing.T, portable bool) {
		t.Helper()
		ho := newHouse(t, gateway.Config{Connections: 5})
		fleet := Config{URL: ho.url, Clients: 8, Universe: universe, Profile: "smoke", Duration: 300 * time.Millisecond, Portable: portable}
		r, err := Run(t.Context(), fleet, nil)
		if err != nil {
			t.Fatal(err)
		}
		if r.Clients.Peak != 5 || r.Clients.OpenedIn != 0 || r.Refused["503 Service Unavailable"] < 3 {
			t.Errorf("%+v, refused %v", r.Clients, r.Refused)
		}
	})
}
