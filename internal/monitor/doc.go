// Package monitor is the Market Monitor: it reads the feed's bus in order into a
// hub, derives bars, and serves what it knows over gRPC.
//
// What it promises:
//
//   - M1. Replicas agree. What a monitor publishes depends on the bus alone: the
//     same events, bars included, at the same places, whenever it was started.
//   - M2. A snapshot and the events behind it fit: a Watch stream, and a
//     StreamPrices stream, misses nothing between the two and repeats nothing.
//   - M3. No stream slows the monitor or another stream. A Watch stream whose
//     reader is slow conflates, a StreamPrices stream ends.
//   - M4. What was lost is said. A hole in the bus's sequence is read again, and so
//     is what a stream that resumes lacks and the hub has no more; where events are no
//     longer held, come too late, or are bars, which no bus has, watchers get a Gap.
//   - M5. A lost bus makes the feed stale within one second and down after ten.
//     It is live again only when everything that the bus held at its return has
//     been read.
//   - M6. A start reads the last checkpoint and what came after it. The stretch
//     right before it is read into the history, so that a gateway which was
//     connected to the monitor before it stopped can resume.
//
// Nothing is served before the monitor has caught up for the first time: calls
// get UNAVAILABLE, and the health service says NOT_SERVING.
//
// Where the stream is created anew (another epoch), the monitor starts over and
// ends its streams with UNAVAILABLE; those who come back with a position of the
// old epoch are told by a Gap.
package monitor
