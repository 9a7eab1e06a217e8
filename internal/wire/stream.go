package wire

import (
	"strconv"
	"time"

	"github.com/lzstock/lzstock/market"
)

// Framing is how messages are set apart from one another on a connection.
type Framing uint8

// The framings. Event streams carry JSON alone.
const (
	WebSocket   Framing = iota
	EventStream         // server-sent events: a message each, which the browser's EventSource reads
)

// NoReturn is the id of the last event where the client is not to connect again
// unchanged. A browser does so all the same, and sends the id of what it saw last.
const NoReturn = "end"

// BeginEvent starts an event of an event stream. A message follows, which has no
// line break, as none of ours in JSON has.
func BeginEvent(dst []byte) []byte { return append(dst, "data: "...) }

// EndEvent completes an event. at is where a client that has it may resume; zero:
// where the one before it says.
func EndEvent(dst []byte, at market.Position) []byte {
	if !at.IsZero() {
		dst = append(dst, "\nid: "...)
		dst = strconv.AppendUint(dst, uint64(at.Epoch), 10)
		dst = append(dst, '-')
		dst = strconv.AppendUint(dst, uint64(at.Seq), 10)
	}
	return append(dst, '\n', '\n')
}

// AppendEventPing writes a line that readers skip: it keeps proxies from giving up
// a quiet connection, and lets its end be noticed.
func AppendEventPing(dst []byte) []byte { return append(dst, ":\n\n"...) }

// AppendEventRetry writes how long a browser waits before it connects again.
func AppendEventRetry(dst []byte, after time.Duration) []byte {
	dst = append(dst, "retry: "...)
	dst = strconv.AppendInt(dst, after.Milliseconds(), 10)
	return append(dst, '\n', '\n')
}

// AppendEventClose writes the last event, named close: what a close frame says, and
// what the client is to do, after how long.
func AppendEventClose(dst []byte, r Reason, after time.Duration) []byte {
	advice := r.Advice()
	dst = append(dst, "event: close\ndata: "...)
	w := &writer{enc: JSON, dst: dst}
	outer := w.open()
	w.number("code", uint64(r.CloseCode()))
	w.text("reason", r.String())
	w.text("msg", r.Text())
	w.text("retry", advice.String())
	if advice != RetryNever {
		w.number("retry_ms", uint64(after.Milliseconds()))
	}
	w.close(outer)
	if advice == RetryNever {
		return append(w.dst, "\nid: "+NoReturn+"\n\n"...)
	}
	return AppendEventRetry(append(w.dst, '\n'), after)
}
