// Package client reads prices from an LZStock gateway: it dials, subscribes, and
// hands out events one by one. When a connection ends it makes another one and
// goes on where the last one was, so that its user need not know of drops, drains
// and deploys.
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
//     decimals; each topic ascends, and no event comes twice, whichever connection
//     it came by. Each says whether it is a current value (Snapshot) and how many
//     events it stands for (Count).
//   - C2. An event that follows the one before it on its topic without a mark
//     (Broken) follows it in the feed too: pq is checked. What is missing on the
//     way is asked for again, on a new connection; what cannot be had is marked,
//     counted, and told to Config.OnGap with its reason. A gateway whose pq is
//     wrong over and over is taken at its word, at most once a minute doubted.
//   - C3. When a connection ends, the client does what the close code asks for:
//     it connects at once, backs off with full jitter, or gives up with an *Error
//     that says why, and what has to change (Remedy). A refusal by HTTP is final
//     when all of Config.URLs refuse. It never connects in a hot loop, whatever
//     the gateway does: the count of failures begins anew only after a connection
//     that has lasted 10 s.
//   - C4. After it has connected again, it resumes behind the last whole frame.
//     Topics that had no value yet, and all where the gateway no longer holds what
//     came between, are subscribed anew: their current values come first.
//   - C5. When a gateway asks to move, the next connection is made, elsewhere if
//     there are several gateways, and has resumed before the old one is left; until
//     then that one goes on delivering. If it cannot be made, the old one is used
//     to its end. State.Moving is all that shows.
//   - C6. A peer that is silent for two of its own ping intervals, or two of
//     Config.Heartbeat, is dead, and the connection is ended.
//   - C7. At most Config.Buffer events wait for Events. When they do, the client
//     stops reading, TCP slows the gateway, and the gateway conflates, or ends the
//     connection where the delivery is Every. The client's own pings go on, so the
//     gateway knows that it lives. Answers to Subscribe stand behind events, so
//     whoever subscribes must read events meanwhile.
//   - C8. After Close, or after Run has returned, no goroutine of the client is
//     left.
package client
