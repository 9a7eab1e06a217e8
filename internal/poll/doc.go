// Package poll reads from many connections at once. A connection costs no
// goroutine and no buffer while it is silent where the system has epoll, and one
// small goroutine elsewhere.
//
// What it promises, either way:
//
//   - P1. What a connection receives is passed on in order, one call at a time,
//     and then end is called once. After that, and after Remove has returned,
//     nothing is called any more.
//   - P2. When Run has returned, end has been called for each connection, and no
//     goroutine is left.
package poll
