// Package mailbox is one subscriber's bounded queue of events. It has no
// goroutine, no lock and no clock: its owner (a shard of the hub) calls it from
// one goroutine and tells it the time.
//
// What it promises, by mode:
//
//   - Adaptive: every event in order until Limit wait; then, at most one event a
//     topic, the latest, with the number of events that it stands for, until the
//     mailbox has been emptied once.
//   - Every: every event in order, or ErrOverflow when more than Limit wait, or
//     ErrMerged when the feed itself no longer has each event.
//   - Latest: at most one event a topic, the latest.
//
// Events leave in ascending Seq in every mode, so the greatest Seq that has left
// tells all that has left. Snapshots (current values at subscribe) leave before
// events.
package mailbox
