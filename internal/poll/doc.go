// Package poll holds a server's connections: it reads from many at once, and
// writes without waiting. On Linux a connection costs no goroutine and no buffer
// while it is silent, and leaves net and the runtime's poller behind; elsewhere
// it costs one small goroutine. TLS goes through memory on both. The build tag
// portable has Linux do as others do, for tests and measurements.
//
// What it promises, either way:
//
//   - P1. What a connection receives is passed on in order, one call at a time,
//     and then End is called once. After that, and after Close has returned,
//     nothing is called any more.
//   - P2. Offer never waits. Push waits for a bounded time, and Close frees it.
//   - P3. When Run has returned, End has been called for each connection, and no
//     goroutine is left.
package poll
