package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/gobwas/ws"

	"github.com/lzstock/lzstock/client"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// exampleGateway stands in for a gateway: it has a quote and some trades of each
// symbol, and knows no symbol NOPE.
func exampleGateway() (url string, stop func()) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, _, err := ws.UpgradeHTTP(r, w)
		if err != nil {
			return
		}
		defer conn.Close()
		p := &peer{conn: conn, format: wire.JSONNative}
		for err = p.greet(); err == nil; {
			var cmd wire.Command
			if cmd, err = p.command(); err == nil {
				err = p.example(cmd)
			}
		}
	}))
	return "ws" + srv.URL[len("http"):] + "/v1/stream", srv.Close
}

func (p *peer) example(cmd wire.Command) error {
	ack := wire.Subscription{ID: cmd.ID}
	var events []wire.Data
	for _, t := range cmd.Topics {
		if t.Symbol == "NOPE" {
			ack.Rejected = append(ack.Rejected, wire.Rejection{Topic: t, Code: wire.CodeUnknownSymbol})
			continue
		}
		ack.Symbols[t.Channel] = append(ack.Symbols[t.Channel], t.Symbol)
		if cmd.Action == wire.Subscribe && t.Channel == market.Trades {
			snap := trade(t.Symbol, 18910, 0)
			snap.Snapshot = true
			events = append(events, snap, trade(t.Symbol, 18912, 18910), trade(t.Symbol, 18915, 18912))
		}
	}
	if err := p.send(wire.AppendSubscription(nil, p.format, &ack)); err != nil {
		return err
	}
	return p.data(events...)
}

func ExampleDial() {
	url, stop := exampleGateway()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	c, err := client.Dial(ctx, client.Config{URL: url})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	if err := c.Subscribe(ctx, client.Trades("AAPL")...); err != nil {
		fmt.Println(err)
		return
	}
	n := 0
	for e, err := range c.Events() {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(e.Symbol, e.Trade.Price, e.Snapshot)
		if n++; n == 3 {
			break
		}
	}
	// Output:
	// AAPL 189.1 true
	// AAPL 189.12 false
	// AAPL 189.15 false
}

func ExampleClient_Subscribe() {
	url, stop := exampleGateway()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	c, err := client.Dial(ctx, client.Config{URL: url, Delivery: client.Latest, Interval: 500 * time.Millisecond})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	err = c.Subscribe(ctx, client.Quotes("AAPL", "NOPE")...)
	if rejected, ok := errors.AsType[*client.RejectedError](err); ok {
		for _, r := range rejected.Rejected {
			fmt.Println(r.Topic, "is refused:", r.Reason)
		}
	}
	fmt.Println("subscribed to", c.Subscriptions())
	// Output:
	// quotes:NOPE is refused: unknown symbol
	// subscribed to [quotes:AAPL]
}

// A program that keeps trying from the start makes the client with New and runs it
// itself. OnState tells how it fares.
func ExampleClient_Run() {
	url, stop := exampleGateway()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	c, err := client.New(client.Config{URL: url, OnState: func(s client.State) {
		if s.Phase == client.Connected {
			cancel() // seen enough
		}
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = c.Run(ctx)
	fmt.Println(c.State().Phase, err)
	// Output:
	// closed <nil>
}

func ExampleError() {
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()

	_, err := client.Dial(context.Background(), client.Config{URL: srv.URL})
	if e, ok := errors.AsType[*client.Error](err); ok {
		fmt.Println(e.Code, e.Reason, e.Retry)
	}
	// Output:
	// 404 Not Found never
}
