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
//   - U3. When a stream ends, for whatever reason, another monitor is tried at once,
//     in random order, each once; a stream that is silent for a second ends. Only a
//     round that brought nothing is followed by a random wait, whose limit grows with
//     failures. Topics that had their value are resumed at the last position that
//     was passed on: what happened meanwhile follows, or a Gap and new values. A
//     monitor that does not serve, or has read less than we have, is left for
//     another one.
//   - U4. No event is passed on twice, out of its topic's order, or of a topic that
//     has no value yet or was dropped. What breaks the protocol ends the stream.
//   - U5. The Sink knows within a second when prices are not current: stale once
//     nothing was heard for 750 ms, down after 10 s, live when the stream is back and
//     everything has been resumed. A move that takes less is told to nobody. While
//     the stream is sound the monitor's own word counts.
//   - U6. Each live event follows the one that was passed on before it on its topic.
//     One that is missing ends the stream, and is replayed by the next before anything
//     else of its topic; it then comes behind younger events of other topics. What
//     two replays do not bring is announced as a Gap.
package upstream
