// Package memnet is a network in memory for tests, above all for
// testing/synctest bubbles: every wait is on a sync.Cond, so a bubble whose
// goroutines all wait on it is idle and its clock moves on.
//
// It behaves as TCP on one machine does, where tests care:
//
//   - each direction has a buffer of limited size (64 KiB unless told): a Write
//     returns once all is in the buffer, and blocks while it is full;
//   - a reader gets what was sent before the peer closed, then io.EOF;
//   - Close frees a blocked Read and Write of its own side with net.ErrClosed;
//     writing to a peer that has closed fails with syscall.EPIPE;
//   - deadlines end blocked calls with os.ErrDeadlineExceeded;
//   - CloseWrite ends one direction and leaves the other.
//
// Beyond that, Conn.TryWrite writes without ever blocking, Conn.Stall makes a
// peer look frozen, and Listener.Open counts what has not been closed.
package memnet
