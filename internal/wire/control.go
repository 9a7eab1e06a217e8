package wire

import (
	"strings"
	"time"

	"github.com/lzstock/lzstock/market"
)

// ID is what a client put into a command to know the answer by: the bytes of an
// integer or a string in the connection's encoding, echoed as they came. The
// empty ID is none.
type ID string

// IntID gives the ID that is the integer n.
func IntID(e Encoding, n int64) ID {
	w := writer{enc: e}
	w.int(n)
	return ID(w.dst)
}

// Limits are what a connection may do.
type Limits struct {
	Symbols           int // on one connection
	CommandsPerSecond int
	MessageBytes      int // of one command
}

// Connected is the first message on a connection.
type Connected struct {
	Conn   string        // names the connection in the server's log
	Epoch  market.Epoch  // of the feed; 0 while it is not known
	Ping   time.Duration // how often the server sends ping frames
	MaxAge time.Duration // after which it ends the connection; 0: never
	Limits Limits
}

// Authenticated says that the client may go on.
type Authenticated struct{}

// Subscription is the full set of what a client is subscribed to.
type Subscription struct {
	ID       ID
	Symbols  [market.NumChannels][]market.Symbol
	Delivery Delivery      // in effect
	Interval time.Duration // in effect; 0: none
	Rejected []Rejection
}

// Rejection is one topic that was refused while others were accepted.
type Rejection struct {
	Topic  market.Topic
	Code   Code
	Detail string // what was wrong, where the code's text is not enough
}

// ErrorMessage is an in-band error.
type ErrorMessage struct {
	ID     ID
	Code   Code
	Detail string // what was wrong; only the native dialect shows it
}

// Text gives the code's text, with the detail where there is one.
func (e *ErrorMessage) Text() string { return errorText(e.Code, e.Detail) }

func errorText(code Code, detail string) string {
	if detail == "" {
		return code.Text()
	}
	return code.Text() + ": " + detail
}

// errorDetail is the reverse of errorText. A text that is not ours is all detail.
func errorDetail(code Code, text string) string {
	if rest, ok := strings.CutPrefix(text, code.Text()); ok {
		if rest == "" {
			return ""
		}
		if detail, ok := strings.CutPrefix(rest, ": "); ok {
			return detail
		}
	}
	return text
}

// Pong answers the command ping.
type Pong struct {
	ID   ID
	Time time.Time
}

// Heartbeat is sent when nothing else was.
type Heartbeat struct {
	Time time.Time
	Seq  market.Seq // everything up to here was sent; 0: some of what was missed is still to come
}

// Throttle says that conflation began or ended.
type Throttle struct {
	On bool
}

// Reconnect asks the client to move to a new connection before this one ends.
type Reconnect struct {
	Reason   Reason          // Drain or MaxAge; in a decoded one 0 is a reason that this version does not know
	Delay    time.Duration   // how long to wait before that
	Deadline time.Duration   // after which this connection ends; until then it goes on as before
	Since    market.Position // all up to here was sent before the notice, and nothing behind it; zero: not known
}

// Expiring says until when the client's credentials are good.
type Expiring struct {
	At time.Time
}

// The functions below write a whole array of one message each. Messages that a
// dialect does not have are not written: dst comes back as it was.

// AppendConnected writes the first message of a connection.
func AppendConnected(dst []byte, f Format, m *Connected) []byte {
	w := begin(dst, f, "success")
	w.text("msg", "connected")
	if f.Native() {
		w.text("conn", m.Conn)
		if m.Epoch != 0 {
			w.number("epoch", uint64(m.Epoch))
		}
		w.number("ping_ms", uint64(m.Ping.Milliseconds()))
		if m.MaxAge > 0 {
			w.number("max_age_ms", uint64(m.MaxAge.Milliseconds()))
		}
		w.key("limits")
		outer := w.open()
		w.number("symbols", uint64(m.Limits.Symbols))
		w.number("commands_per_s", uint64(m.Limits.CommandsPerSecond))
		w.number("message_bytes", uint64(m.Limits.MessageBytes))
		w.close(outer)
	}
	return w.end()
}

// AppendAuthenticated writes that the client may go on.
func AppendAuthenticated(dst []byte, f Format) []byte {
	w := begin(dst, f, "success")
	w.text("msg", "authenticated")
	return w.end()
}

// AppendSubscription writes the full set of a client's subscriptions.
func AppendSubscription(dst []byte, f Format, m *Subscription) []byte {
	w := begin(dst, f, "subscription")
	if f.Native() {
		w.id(m.ID)
	}
	for _, c := range market.Channels() {
		if !f.Dialect().Has(c) {
			continue
		}
		w.key(c.String())
		w.array(len(m.Symbols[c]))
		for i, s := range m.Symbols[c] {
			w.comma(i)
			w.str(string(s))
		}
		w.endArray()
	}
	if f.Native() {
		if m.Delivery != 0 {
			w.text("delivery", m.Delivery.String())
		}
		if m.Interval > 0 {
			w.number("interval_ms", uint64(m.Interval.Milliseconds()))
		}
		if len(m.Rejected) > 0 {
			w.rejected(m.Rejected)
		}
	}
	return w.end()
}

func (w *writer) rejected(list []Rejection) {
	w.key("rejected")
	w.array(len(list))
	for i, r := range list {
		w.comma(i)
		outer := w.open()
		w.text("ch", r.Topic.Channel.String())
		w.text("S", string(r.Topic.Symbol))
		w.number("code", uint64(r.Code))
		w.text("msg", errorText(r.Code, r.Detail))
		w.close(outer)
	}
	w.endArray()
}

// AppendError writes an error.
func AppendError(dst []byte, f Format, m ErrorMessage) []byte {
	w := begin(dst, f, "error")
	if f.Native() {
		w.id(m.ID)
	}
	w.number("code", uint64(m.Code))
	if f.Native() {
		w.text("msg", m.Text())
		w.truth("retry", m.Code.Retry())
	} else {
		w.text("msg", m.Code.Text())
	}
	return w.end()
}

// AppendPong answers the command ping. Native only.
func AppendPong(dst []byte, f Format, m Pong) []byte {
	if !f.Native() {
		return dst
	}
	w := begin(dst, f, "pong")
	w.id(m.ID)
	w.time("t", m.Time)
	return w.end()
}

// AppendHeartbeat writes a heartbeat. Native only.
func AppendHeartbeat(dst []byte, f Format, m Heartbeat) []byte {
	if !f.Native() {
		return dst
	}
	w := begin(dst, f, "hb")
	w.time("t", m.Time)
	if m.Seq != 0 {
		w.number("q", uint64(m.Seq))
	}
	return w.end()
}

// AppendFeed writes the feed's state. Native only.
func AppendFeed(dst []byte, f Format, m market.Feed) []byte {
	if !f.Native() {
		return dst
	}
	w := begin(dst, f, "feed")
	w.text("state", m.State.String())
	w.time("since", m.Since)
	if m.Epoch != 0 {
		w.number("epoch", uint64(m.Epoch))
	}
	if m.Reason != 0 {
		w.text("reason", m.Reason.String())
	}
	if len(m.Sources) > 0 {
		w.key("sources")
		w.array(len(m.Sources))
		for i, s := range m.Sources {
			w.comma(i)
			outer := w.open()
			w.text("name", s.Name)
			w.text("state", s.State.String())
			w.time("since", s.Since)
			if s.Reason != 0 {
				w.text("reason", s.Reason.String())
			}
			w.close(outer)
		}
		w.endArray()
	}
	return w.end()
}

// AppendGap writes that events were lost for good. Native only.
func AppendGap(dst []byte, f Format, m *market.Gap) []byte {
	if !f.Native() {
		return dst
	}
	w := begin(dst, f, "gap")
	w.text("reason", m.Reason.String())
	w.text("from", m.From.String())
	w.text("to", m.To.String())
	return w.end()
}

// AppendExpiring writes that the client's credentials are good until a time, and
// are to be renewed. Native only.
func AppendExpiring(dst []byte, f Format, at time.Time) []byte {
	if !f.Native() {
		return dst
	}
	w := begin(dst, f, "expiring")
	w.time("expires", at)
	return w.end()
}

// AppendReconnect writes that the client is to move to a new connection. Native
// only.
func AppendReconnect(dst []byte, f Format, m Reconnect) []byte {
	if !f.Native() {
		return dst
	}
	w := begin(dst, f, "reconnect")
	w.text("reason", m.Reason.String())
	w.number("delay_ms", uint64(m.Delay.Milliseconds()))
	w.number("deadline_ms", uint64(m.Deadline.Milliseconds()))
	if !m.Since.IsZero() {
		w.text("since", m.Since.String())
	}
	return w.end()
}

// AppendThrottle writes that conflation began or ended. Native only.
func AppendThrottle(dst []byte, f Format, on bool) []byte {
	if !f.Native() {
		return dst
	}
	w := begin(dst, f, "throttle")
	state := "off"
	if on {
		state = "on"
	}
	w.text("state", state)
	return w.end()
}
