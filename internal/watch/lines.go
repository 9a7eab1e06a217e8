package watch

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lzstock/lzstock/client"
	"github.com/lzstock/lzstock/internal/safetext"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// clock is how lines show times.
const clock = "15:04:05.000"

// lines writes one line an event.
type lines struct {
	json    bool
	color   bool
	url     string
	several bool // gateways: the URL alone does not say which
	buf     []byte
	shown   client.State     // what was said last
	feed    market.FeedState // what was said of it on this connection
}

// take gives what is to be written now, perhaps nothing.
func (l *lines) take() []byte {
	out := l.buf
	l.buf = nil
	if l.json {
		return safetext.EscapeJSON(nil, out)
	}
	return out
}

// full bounds what waits for a slow reader of the output: the client stops reading
// then, and the gateway conflates.
func (l *lines) full() bool {
	const most = 1 << 20
	return len(l.buf) > most
}

func (l *lines) event(e *client.Event, now time.Time) {
	if l.json {
		if e.Broken {
			l.say(now, "loss", e.Topic().String()+": something may be missing before "+strconv.FormatUint(uint64(e.Seq), 10))
		}
		l.buf = wire.AppendData(l.buf, wire.JSONNative, wire.AppendEvent(nil, wire.JSONNative, &e.Event), wire.Tail{
			Prev: e.Prev, Merged: e.Merged, Snapshot: e.Snapshot,
		})
		l.buf = append(l.buf, '\n')
		return
	}
	b := e.Time().UTC().AppendFormat(l.buf, clock)
	b = fmt.Appendf(b, " %-8s ", safetext.Clean(string(e.Symbol)))
	switch {
	case e.Trade != nil:
		b = fmt.Appendf(b, "trade %s × %s", e.Trade.Price, e.Trade.Size)
	case e.Quote != nil:
		q := e.Quote
		b = fmt.Appendf(b, "quote %s × %s  %s × %s", q.BidPrice, q.AskPrice, q.BidSize, q.AskSize)
	case e.Bar != nil:
		r := e.Bar
		word := map[market.Channel]string{market.Bars: "bar", market.UpdatedBars: "updated bar", market.DailyBars: "day"}[e.Channel]
		b = fmt.Appendf(b, "%s %s %s %s %s volume %s", word, r.Open, r.High, r.Low, r.Close, r.Volume)
	case e.Status != nil:
		b = append(b, statusText(e.Status)...)
	}
	if e.Snapshot {
		b = append(b, "  snapshot"...)
	}
	if e.Count() > 1 {
		b = fmt.Appendf(b, "  stands for %d", e.Count())
	}
	if e.Broken {
		b = append(b, "  after a loss"...)
	}
	if simulated(&e.Event) {
		b = append(b, "  simulated"...)
	}
	l.buf = append(b, '\n')
}

// statusText gives a status in words, such as "halted: Trading Halt, T12 Trading
// Halted; For information requested by NASDAQ".
func statusText(s *market.Status) string {
	text := "status"
	if t := s.Trading(); t != 0 {
		text = t.String()
	}
	text += ": " + cmp.Or(s.Message, s.Code)
	if why := strings.TrimSpace(s.ReasonCode + " " + s.ReasonMessage); why != "" {
		text += ", " + why
	}
	return safetext.Clean(text)
}

func simulated(e *market.Event) bool {
	const sim = "SIM"
	return e.Trade != nil && e.Trade.Exchange == sim || e.Quote != nil && (e.Quote.BidExchange == sim || e.Quote.AskExchange == sim)
}

// state says what has changed for whoever reads.
func (l *lines) state(s client.State, now time.Time) {
	before := l.shown
	l.shown = s
	if s.Phase != before.Phase {
		switch s.Phase {
		case client.Connected:
			word := "connected"
			if before.Again {
				word = "reconnected"
			}
			l.say(now, word, "to "+l.gateway(s))
		case client.Waiting:
			l.say(now, "disconnected", reason(s.Err)+"; next attempt "+wait(s, now))
		case client.Closed:
			if s.Err != nil && before.Phase != client.Connected {
				l.say(now, "closed", reason(s.Err))
			}
		case client.Connecting:
			if before.Phase == client.Connected { // the next connection was being made already
				l.say(now, "disconnected", reason(s.Err)+"; next attempt at once")
			}
		}
	}
	if s.Phase == client.Connected && before.Phase == client.Connected {
		switch {
		case before.Moving && !s.Moving && s.Conn != before.Conn:
			l.say(now, "moved", "to "+l.gateway(s))
		case s.Moving && !before.Moving:
			l.say(now, "moving", "the gateway asks for it; prices go on")
		}
	}
	if s.Phase != client.Connected {
		l.feed = 0
	} else if s.Feed.State != l.feed {
		l.feed = s.Feed.State
		l.say(now, "feed "+s.Feed.State.String(), "since "+s.Feed.Since.UTC().Format(clock))
	}
	if s.Throttled != before.Throttled {
		l.say(now, "throttled "+map[bool]string{true: "on", false: "off"}[s.Throttled], "")
	}
}

// gateway names the one in use.
func (l *lines) gateway(s client.State) string {
	url := l.url
	if l.several {
		url = s.URL
	}
	return safetext.Redact(url)
}

func (l *lines) gap(g client.Gap, now time.Time) {
	if !l.json {
		l.say(now, "gap", lossOf(g))
		return
	}
	topics := make([]string, len(g.Topics))
	for i, t := range g.Topics {
		topics[i] = t.String()
	}
	b, err := json.Marshal(struct {
		T      string    `json:"T"`
		Reason string    `json:"reason"`
		From   string    `json:"from"`
		To     string    `json:"to"`
		Topics []string  `json:"topics,omitempty"`
		Time   time.Time `json:"t"`
	}{"gap", g.Reason.String(), g.From.String(), g.To.String(), topics, now.UTC()})
	if err == nil { // it cannot fail
		l.buf = append(append(l.buf, b...), '\n')
	}
}

// lossOf gives a gap in words.
func lossOf(g client.Gap) string {
	text := g.Reason.String() + ", from " + g.From.String() + " to " + g.To.String()
	if n := len(g.Topics); n == 1 {
		text += " of " + g.Topics[0].String()
	} else if n > 1 {
		text += " of " + strconv.Itoa(n) + " topics"
	}
	return text
}

func (l *lines) rejected(r client.Rejection, now time.Time) {
	l.say(now, "refused", r.Topic.String()+": "+r.Reason)
}

// say writes what is not an event.
func (l *lines) say(now time.Time, what, detail string) {
	if l.json {
		b, err := json.Marshal(struct {
			T      string    `json:"T"`
			What   string    `json:"what"`
			Detail string    `json:"detail,omitempty"`
			Time   time.Time `json:"t"`
		}{"watch", what, detail, now.UTC()})
		if err == nil { // it cannot fail
			l.buf = append(append(l.buf, b...), '\n')
		}
		return
	}
	text := now.UTC().Format(clock) + " -- " + what
	if detail != "" {
		text += ": " + detail
	}
	l.buf = append(styled(l.buf, yellow, safetext.Clean(text), l.color), '\n')
}
