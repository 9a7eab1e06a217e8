// Package bus carries the feed: batches of events, stored in one order that
// every reader sees. JetStream is the bus proper, over an embedded nats-server
// (StartEmbedded) or an external server or cluster (Config.URL). Memory is its
// twin for tests in bubbles. Both pass one conformance suite.
//
// The package owns the stream (named MD, subjects md.<source>), the envelope of
// its messages (EncodeBatch, DecodeBatch) and a bucket of checkpoints.
//
// What it promises:
//
//   - One order. The bus gives each batch a sequence, one more than that of the
//     batch before. Event i of batch n has the place market.MakeSeq(n, i), the
//     same for every reader, for ever, within one epoch. The epoch is the time
//     at which the stream was created, in Unix milliseconds.
//   - Order of a source. Whoever publishes a source's batches one after the
//     other (Batcher does) has them stored in this order, whatever was retried.
//   - Stored once. Publish repeats a batch under the same id until it is
//     acknowledged; the bus recognises an id for DedupWindow, and Publish itself
//     checks before it repeats anything later than that.
//   - No silent loss. Read gives every batch, or ends with an error: an
//     *ExpiredError names the first batch that is still held. Retention, by age
//     and by bytes, discards the oldest.
//   - A lost bus is known within one second: Health says so, reads end with
//     ErrLost, and publishers wait. All go on after its return; Read is called
//     again.
//
// Beside the stream, sources say how they are, on subjects that no stream keeps
// (mdpulse.<source>): Beat and Pulses.
//
// KV is a bucket of keys that expire one by one, in which gateways keep their
// clients' sessions; it promises what session.KV says. OpenKV is for tools that
// look into the bucket of a cluster.
//
// Sources share the stream but nothing else; who publishes the same source from
// two places at once gets both, interleaved.
package bus
