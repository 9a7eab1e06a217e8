// Command subscriber prints prices that a Market Monitor streams over gRPC:
//
//	go run ./examples/subscriber --grpc 127.0.0.1:7000 --count 10 AAPL MSFT
//
// It is an example of the StreamPrices call. A consumer in another language needs
// no more than proto/lzstock/v1 and its own gRPC library.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/marketpb"
	"github.com/lzstock/lzstock/market"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "subscriber:", err)
		os.Exit(1)
	}
}

// run prints events until there were enough, ctx ends, or the stream fails.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("subscriber", flag.ContinueOnError)
	address := flags.String("grpc", "127.0.0.1:7000", "address of a monitor")
	count := flags.Int("count", 0, "end after this many events; 0 means never")
	if err := flags.Parse(args); err != nil {
		return err
	}
	symbols := flags.Args()
	if len(symbols) == 0 {
		symbols = []string{string(market.AllSymbols)}
	}
	conn, err := grpc.NewClient(*address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()

	// The current values come first, then each event as it happens.
	stream, err := pb.NewMarketMonitorClient(conn).StreamPrices(ctx, &pb.StreamPricesRequest{Topics: []*pb.Topics{
		{Channel: pb.Channel_CHANNEL_TRADES, Symbols: symbols},
		{Channel: pb.Channel_CHANNEL_QUOTES, Symbols: symbols},
		{Channel: pb.Channel_CHANNEL_STATUSES, Symbols: symbols},
	}})
	if err != nil {
		return err
	}
	for printed := 0; ; {
		msg, err := stream.Recv()
		if ctx.Err() != nil { // interrupted: that is how it ends
			return nil
		}
		if err != nil {
			return err
		}
		events, err := marketpb.FromEvents(msg.GetEvents())
		if err != nil {
			return err
		}
		for _, e := range events {
			if err := show(out, &e); err != nil {
				return err
			}
			if printed++; printed == *count {
				return nil
			}
		}
	}
}

func show(out io.Writer, e *market.Event) (err error) {
	at := e.Time().Format("15:04:05.000")
	switch {
	case e.Trade != nil:
		_, err = fmt.Fprintf(out, "%s %-10s trade %s × %s\n", at, e.Symbol, e.Trade.Price, e.Trade.Size)
	case e.Quote != nil:
		_, err = fmt.Fprintf(out, "%s %-10s quote %s / %s\n", at, e.Symbol, e.Quote.BidPrice, e.Quote.AskPrice)
	case e.Status != nil:
		_, err = fmt.Fprintf(out, "%s %-10s status %s: %s\n", at, e.Symbol, e.Status.Code, e.Status.Message)
	}
	return err
}
