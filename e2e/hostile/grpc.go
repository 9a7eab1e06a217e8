package main

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
)

// manyStreams and manySymbols are far more than a caller needs.
const (
	manyStreams = 5000
	manySymbols = 400_000
	// grpcMemory is in MiB: callers of gRPC are our own, and may take more than clients.
	grpcMemory = 512
)

func callMonitor(t *target, f func(conn *grpc.ClientConn) error) error {
	conn, err := grpc.NewClient(t.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	return errors.Join(f(conn), conn.Close())
}

// grpcWatch opens streams that watch everything and are hardly read.
func grpcWatch(ctx context.Context, t *target, c *tally) error {
	return callMonitor(t, func(conn *grpc.ClientConn) error {
		each(manyStreams, func(int) {
			stream, err := pb.NewMarketMonitorClient(conn).Watch(ctx)
			if err == nil {
				if err = stream.Send(watchAll()); errors.Is(err, io.EOF) {
					err = nil // Recv says why
				}
			}
			for range 10 {
				if err == nil {
					_, err = stream.Recv()
				}
			}
			if err == nil {
				c.count("streams held")
				<-ctx.Done()
				return
			}
			ended(ctx, c, "Watch", err)
		})
		return nil
	})
}

func watchAll() *pb.WatchRequest {
	req := &pb.WatchRequest{Id: 1}
	for ch := range pb.Channel_name {
		if ch != int32(pb.Channel_CHANNEL_UNSPECIFIED) {
			req.Add = append(req.Add, &pb.Topics{Channel: pb.Channel(ch), Symbols: []string{"*"}})
		}
	}
	return req
}

// ended counts how a call ended before the attack did.
func ended(ctx context.Context, c *tally, what string, err error) {
	code := status.Code(err)
	c.count("%s: %s", what, code)
	if over := ctx.Err() != nil || code == codes.DeadlineExceeded; !over && code != codes.ResourceExhausted {
		c.fault("%s: %v: want RESOURCE_EXHAUSTED", what, err)
	}
}

// grpcIngest publishes symbols that nobody has ever heard of.
func grpcIngest(ctx context.Context, t *target, c *tally) error {
	return callMonitor(t, func(conn *grpc.ClientConn) error {
		// A publisher that is cut off in the middle is a source that is lost, of which all
		// are told: this one ends properly.
		whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		stream, err := pb.NewIngestClient(conn).Publish(whole)
		if err != nil {
			return err
		}
		const size = 4000
		for n := 0; n < manySymbols && ctx.Err() == nil; n += size {
			req := &pb.PublishRequest{Publisher: "hostile", Number: uint64(n + 1)}
			for _, name := range invented(t, n, size) {
				req.Events = append(req.Events, &pb.Event{
					Channel: pb.Channel_CHANNEL_QUOTES, Symbol: name,
					Payload: &pb.Event_Quote{Quote: &pb.Quote{BidPrice: 1e9, BidSize: 1e9, AskPrice: 2e9, AskSize: 1e9, Time: time.Now().UnixNano()}},
				})
			}
			var answer *pb.PublishResponse
			if err = stream.Send(req); err == nil || errors.Is(err, io.EOF) {
				answer, err = stream.Recv()
			}
			if err != nil {
				ended(whole, c, "Publish", err)
				return nil
			}
			c.add(c.Counts, size-len(answer.GetRefused()), "events stored")
			c.add(c.Counts, len(answer.GetRefused()), "events refused")
		}
		if err := stream.CloseSend(); err != nil {
			return err
		}
		if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
			ended(whole, c, "Publish", err)
		}
		return nil
	})
}
