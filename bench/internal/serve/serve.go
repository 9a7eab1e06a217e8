// Package serve is what the baselines have in common and what is not compared:
// flags, the monitor's client, the list of topics that a client asks for, and the
// admin listener whose metrics the load generator reads.
package serve

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/obs"
	"github.com/lzstock/lzstock/market"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Baseline is one way to bring prices to clients.
type Baseline struct {
	Listen, Admin, Monitor string
	Open                   atomic.Int64 // sockets
	Client                 pb.MarketMonitorClient
}

// Flags declares the flags that all baselines have. They are parsed by Run.
func Flags() *Baseline {
	b := &Baseline{}
	flag.StringVar(&b.Listen, "listen", "127.0.0.1:8081", "where clients connect")
	flag.StringVar(&b.Admin, "admin", "127.0.0.1:9091", "where metrics are read")
	flag.StringVar(&b.Monitor, "monitor", "127.0.0.1:7000", "the Market Monitor")
	return b
}

// Main runs a baseline until a signal comes, and gives the exit code. tasks run
// beside the handler.
func (b *Baseline) Main(handler http.Handler, tasks ...func(ctx context.Context) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := b.run(ctx, handler, tasks)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (b *Baseline) run(ctx context.Context, handler http.Handler, tasks []func(ctx context.Context) error) error {
	conn, err := grpc.NewClient(b.Monitor, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	b.Client = pb.NewMarketMonitorClient(conn)
	reg, err := obs.NewRegistry(obs.Build{})
	if err != nil {
		return err
	}
	if err := reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "lzstock_gateway_sockets", Help: "Open sockets.",
	}, func() float64 { return float64(b.Open.Load()) })); err != nil {
		return err
	}
	admin, err := obs.NewAdmin(obs.AdminConfig{Registry: reg, Logger: slog.New(slog.DiscardHandler), Title: "baseline"})
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	al, err := lc.Listen(ctx, "tcp", b.Admin)
	if err != nil {
		return err
	}
	l, err := lc.Listen(ctx, "tcp", b.Listen)
	if err != nil {
		return errors.Join(err, al.Close())
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return admin.Serve(ctx, al) })
	for _, task := range tasks {
		g.Go(func() error {
			if err := task(ctx); ctx.Err() == nil {
				return err
			}
			return nil
		})
	}
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	g.Go(func() error {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		return srv.Close() // hijacked connections end with the process
	})
	return g.Wait()
}

// Topics reads what a client asks for in its URL, as the gateway does.
func Topics(r *http.Request) (out []*pb.Topics) {
	for channel, c := range map[market.Channel]pb.Channel{market.Trades: pb.Channel_CHANNEL_TRADES, market.Quotes: pb.Channel_CHANNEL_QUOTES} {
		if list := r.URL.Query().Get(channel.String()); list != "" {
			out = append(out, &pb.Topics{Channel: c, Symbols: strings.Split(list, ",")})
		}
	}
	return out
}
