// Package wire is the client protocol as pure functions: the messages of both
// dialects, the one table of reasons and codes, and the bytes of each message as
// JSON or MessagePack in a WebSocket frame, or as JSON in an event stream. It does no I/O, starts no goroutine
// and keeps no state.
//
// The way of an event has three steps. AppendEvent writes its body, once for all
// clients of one Format. AppendData completes the body for one client: where it
// stands among what that client got. PutFrameHeader puts the frame around the
// array that BeginArray and EndArray made. None of them allocates where dst has
// room.
//
// What comes from the other side is read by ParseCommand (in the gateway) and
// DecodeFrame (in the client). Both take any bytes and answer with a value or an
// error that says what was wrong.
package wire
