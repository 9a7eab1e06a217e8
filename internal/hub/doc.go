// Package hub spreads one ordered feed of events to many subscribers.
//
// A Hub is a few shards. A shard is one goroutine that shares nothing: it owns
// its members (subscribers) with their mailboxes, a window of recent events and, per
// topic, the last value and who listens. Batches of events and commands reach it
// through one bounded inbox; it takes what waits there, appends to mailboxes and
// then flushes each member that got something through the member's Sink.
//
// What it promises:
//
//   - H1. Every shard sees every batch in the order of Publish, so the snapshot
//     that a subscription brings and the events behind it fit together: no event
//     between the two is missing, none comes twice.
//   - H2. A Sink is called by its shard alone, one call at a time: whoever writes
//     to a connection only from there is its one writer.
//   - H3. A shard never waits for a member. Publish waits only where a shard
//     lacks processor time, which slows the feed's reader and nobody else.
//   - H4. A Sink that panics, or a member whose mailbox cannot keep its promise,
//     is removed and told by Fail; the others do not notice.
//   - H5. When Leave has returned, the shard holds nothing of the member and will
//     not call its Sink.
//
// The same type serves in the monitor (bus to gRPC streams) and in the gateway
// (gRPC to sockets). In the monitor it is Open: a topic exists as soon as it has
// an event. In a gateway a topic is live only from Replace (its current value
// came from upstream) to Forget.
package hub
