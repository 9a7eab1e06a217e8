// Package client reads prices from an LZStock gateway: it dials, subscribes, and
// hands out events one by one, and connects again by itself when a connection
// ends.
//
//	c, err := client.Dial(ctx, client.Config{URL: "ws://127.0.0.1:8080/v1/stream"})
//	if err != nil { … }
//	defer c.Close()
//	if err := c.Subscribe(ctx, client.Quotes("AAPL", "MSFT")...); err != nil { … }
//	for e, err := range c.Events() {
//		if err != nil { … }
//		fmt.Println(e.Symbol, e.Quote.BidPrice, e.Quote.AskPrice)
//	}
//
// What it promises:
//
//   - C1. Events come in the order in which the gateway sent them, with exact
//     decimals. Each says whether it is a snapshot, how many events it stands for
//     (Count), and whether something is missing before it (Broken).
//   - C2. When a connection ends, the client does what the close code asks for:
//     it connects at once, backs off with full jitter, or gives up with an *Error
//     that says why. It never connects in a hot loop, whatever the gateway does.
//   - C3. After it has connected again, it is subscribed to the same topics, and
//     their current values come first, as snapshots. What happened in between is
//     not sent again.
//   - C4. A peer that is silent for two of its own ping intervals is dead, and the
//     connection is ended.
//   - C5. At most Config.Buffer events wait for Events. When they do, the client
//     stops reading, TCP slows the gateway, and the gateway conflates, or ends the
//     connection where the delivery is Every. The client's own pings go on, so the
//     gateway knows that it lives. Answers to Subscribe stand behind events, so
//     whoever subscribes must read events meanwhile.
//   - C6. After Close, or after Run has returned, no goroutine of the client is
//     left.
package client
