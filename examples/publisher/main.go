// Command publisher pushes made-up prices into LZStock through its gRPC service
// Ingest:
//
//	lzstock up --source none
//	go run ./examples/publisher --grpc 127.0.0.1:7000 --symbol DEMO --count 100
//
// To publish from a module of your own, where internal/gen cannot be imported,
// copy proto/ into it and generate the client there: with a buf.gen.yaml like the
// one of this repository, but for your module's go_package_prefix, `buf generate`
// does it. For other languages, name their plugins instead.
//
// It gives up when the connection is lost. A publisher that must not lose events
// keeps what was not acknowledged and sends it again under the same numbers, as
// `lzstock publish` does (internal/publish).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/market"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "publisher:", err)
		os.Exit(1)
	}
}

// run publishes until there were enough events, ctx ends, or the stream
// fails.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("publisher", flag.ContinueOnError)
	address := flags.String("grpc", "127.0.0.1:7000", "address of a monitor")
	name := flags.String("name", "example", "the publisher's name on the bus")
	symbol := flags.String("symbol", "DEMO", "what trades")
	count := flags.Int("count", 0, "end after this many events; 0 means never")
	every := flags.Duration("every", 100*time.Millisecond, "time between made-up trades")
	if err := flags.Parse(args); err != nil {
		return err
	}
	conn, err := grpc.NewClient(*address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()

	g, gctx := errgroup.WithContext(ctx)
	stream, err := pb.NewIngestClient(conn).Publish(gctx)
	if err != nil {
		return err
	}
	g.Go(func() error { // send, without waiting for answers
		// Numbers must grow, also over restarts within two minutes: what has a number
		// that was seen counts as sent twice.
		number := uint64(time.Now().UnixNano())
		price := market.Price(100 * market.Scale)
		for n := 0; *count == 0 || n < *count; n++ {
			select {
			case <-time.After(*every):
			case <-gctx.Done():
				return context.Cause(gctx)
			}
			price = max(price+market.Price(rand.IntN(11)-5)*cent, cent)
			// One event a batch is simple. Up to 256 cost the service little more.
			err := stream.Send(&pb.PublishRequest{
				Publisher: *name, Number: number + uint64(n), Events: []*pb.Event{trade(*symbol, price)},
			})
			if err != nil {
				return nil //nolint:nilerr // the receiver learns why the stream ended
			}
		}
		return stream.CloseSend()
	})
	stored := 0
	g.Go(func() error { // take the answers, which come in order
		for {
			answer, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			for _, r := range answer.GetRefused() {
				if _, err := fmt.Fprintln(out, "refused:", r.GetReason()); err != nil {
					return err
				}
			}
			if answer.GetLast() != nil {
				stored++
			}
		}
	})
	err = g.Wait()
	if ctx.Err() != nil { // interrupted: that is how it ends
		err = nil
	}
	_, printed := fmt.Fprintln(out, stored, "events stored")
	return errors.Join(err, printed)
}

// cent is a hundredth: prices and sizes are whole billionths, 189.1 is
// 189100000000.
const cent = market.Scale / 100

func trade(symbol string, price market.Price) *pb.Event {
	return &pb.Event{
		Channel: pb.Channel_CHANNEL_TRADES, Symbol: symbol,
		Payload: &pb.Event_Trade{Trade: &pb.Trade{
			Price: int64(price), Size: int64(1+rand.IntN(200)) * market.Scale, Exchange: "DEMO", Time: time.Now().UnixNano(),
		}},
	}
}
