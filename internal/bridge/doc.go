// Package bridge is one socket's life: from the moment that a connection speaks
// the protocol until nothing of it is left.
//
// What it promises:
//
//   - B1, one fate. Whatever ends first (the client is gone, the upstream
//     refuses, the client is slow, too old, silent, the process stops, a part
//     panics) is recorded as the one reason, and ends everything else: when Serve
//     returns, no goroutine, mailbox or descriptor of the bridge is left.
//   - B2, one writer. While the bridge is a member of the hub, only its shard
//     writes, or the one helper that finishes what the connection did not take at
//     once; after that, only the farewell. They follow one another, so there is
//     no lock.
//   - B3, data before control. Heartbeats are shed while data waits. Protocol
//     pings and pongs, close frames and answers are not data: they ride ahead, in
//     a lane of their own.
//   - B4. The in-band message goes out before the close frame, and both before
//     the connection is closed.
package bridge
