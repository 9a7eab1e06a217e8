// Package upstream is the gateway's client of the Market Monitor. It holds one
// Watch stream for all clients of the gateway, carrying the union of what they
// want, and passes what comes on to a Sink, the gateway's hub.
//
// What it promises:
//
//   - U1. All calls of the Sink come from one goroutine, in the order of the
//     stream. A Sink that takes its time slows the stream, and through it the
//     monitor, which then conflates for this gateway.
//   - U2. Interest is counted. A topic is asked for with its first Acquire, and
//     dropped a linger (5 s) after its last Release; neither call waits for the
//     network, nor for anything but a short lock.
//   - U3. When a stream ends, for whatever reason, the next monitor of the list
//     is tried, after a random time that grows with failures. Topics that had
//     their value are resumed at the last position that was passed on: what
//     happened meanwhile follows, or a Gap and new values.
//   - U4. No event is passed on twice, out of order, or of a topic that has no
//     value yet or was dropped. What breaks the protocol ends the stream.
//   - U5. The Sink knows within a second when prices are not current: stale once
//     nothing was heard for 750 ms or the stream was lost, down after 10 s, live
//     when the stream is back and everything has been resumed. While the stream
//     is sound the monitor's own word counts.
package upstream
