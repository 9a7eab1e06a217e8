// Package scan finds in the bytes of a native JSON frame what a load generator
// needs of each event: its topic, its source time, where it stands (q, pq, k) and
// whether it is a snapshot. It reads nothing else, and allocates nothing.
//
// A message as the gateway writes it takes a short path of a few searches for
// single bytes. Any other one, with its fields in whatever order, is walked over
// byte by byte. Each key is taken to come once in a message, as JSON wants it.
// What wire.DecodeFrame refuses may pass here: this is no validator.
package scan
