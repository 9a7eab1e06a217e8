// Package bench puts load on a gateway and measures what arrives: many clients
// that subscribe to a few symbols each, some of which stall, drip, come and go, or
// vanish. It is cheap enough not to be what is measured: on Linux a few epoll
// loops share all sockets and large buffers, elsewhere (and for wss) each socket
// has a goroutine; events are found in the bytes (package scan), not parsed.
//
// What it promises:
//
//   - Each event is checked: pq must be the last q of its topic. What is not so is
//     a loss, and counted.
//   - The age of an event is the time of its receipt less its source time, which
//     must be wall clock, as that of the simulator is. No event is left out because
//     an earlier one was late: omission is not coordinated with the server.
//   - A client that does not read learns that the server has closed it when it
//     leaves: the close frame waits behind all that it did not read.
//   - A run ends by itself, and where its context ends before, with a report.
package bench
