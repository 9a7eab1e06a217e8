package gateway

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/poll"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// How long a browser is told to wait before it connects again where a stream breaks:
// drawn, so that the clients of a gateway that dies do not come together.
const (
	retryLeast = time.Second
	retryMost  = 5 * time.Second
)

// lastEvent is the header in which a browser that comes again says what it saw last.
const lastEvent = "Last-Event-ID"

// events answers with an event stream (server-sent events): the native dialect, one
// way, in one HTTP answer that goes on. What must be refused is refused as an HTTP
// answer of its own. Then the connection is taken over, and a bridge has it, as it
// has a WebSocket's.
func (g *Gateway) events(w http.ResponseWriter, r *http.Request) {
	if g.cfg.Origins.CORS(w, r) {
		return
	}
	d, p := g.examineEvents(r)
	if p != nil {
		g.refuse(w, r, *p)
		return
	}
	g.serve(w, r, d, wire.EventStream, g.streamHead)
}

// examineEvents looks at a request for an event stream on its own.
func (g *Gateway) examineEvents(r *http.Request) (*dialog, *problem) {
	if r.Method != http.MethodGet {
		return nil, &problem{
			Status: http.StatusMethodNotAllowed, cause: "bad-method", allow: http.MethodGet,
			Detail: "an event stream begins with GET, not " + r.Method,
		}
	}
	if p := g.checkOrigin(r); p != nil {
		return nil, p
	}
	if p := checkNoBody(r); p != nil {
		return nil, p
	}
	if _, p := credentialsOf(r); p != nil {
		return nil, p
	}
	query := r.URL.Query()
	since, p := lastPosition(r, query)
	if p != nil {
		return nil, p
	}
	d, p := g.asked(r, wire.JSONNative, query, since)
	if p == nil && d.first == nil && !r.URL.Query().Has("session_id") {
		p = &problem{
			Status: http.StatusBadRequest, cause: "nothing-asked",
			Detail: "nothing can be sent to ask for more later: name trades, quotes, bars, updatedBars, dailyBars or statuses, or a session_id",
		}
	}
	if p != nil {
		return nil, p
	}
	return d, nil
}

// lastPosition reads where a browser was. It takes the place of since, which stands in
// the URL that the browser began with.
func lastPosition(r *http.Request, query url.Values) (since market.Position, p *problem) {
	last := r.Header.Get(lastEvent)
	switch last {
	case "":
		return since, nil
	case wire.NoReturn:
		return since, &problem{Status: http.StatusNoContent, cause: "no-return"}
	}
	since, err := market.ParsePosition(last)
	if err != nil {
		return since, &problem{Status: http.StatusBadRequest, cause: "bad-last-event-id", Detail: lastEvent + ": " + err.Error()}
	}
	query.Del("since")
	return since, nil
}

// streamHead makes the head of the answer. Its end is the connection's: there is no
// length, and no chunk would tell more than the event close does.
func (g *Gateway) streamHead(w http.ResponseWriter, r *http.Request) []byte {
	g.headers(w, r)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store, no-transform")
	h.Set("X-Accel-Buffering", "no") // nginx passes it on as it comes
	h.Set("Connection", "close")
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 200 OK\r\n")
	_ = h.Write(&b) // memory takes it
	b.WriteString("\r\n")
	return wire.AppendEventRetry(b.Bytes(), retryLeast+rand.N(retryMost-retryLeast))
}

// eventStream is a connection that carries an event stream, as bridge.Conn. Nothing is to
// come from the client; a little is overlooked.
type eventStream struct {
	poll.Conn
	in     bridge.Inbox
	came   int // bytes
	limit  int
	broken bool
}

// Start waits for the connection's end.
func (s *eventStream) Start(in bridge.Inbox) {
	s.in = in
	s.Conn.Start(s)
}

// Data counts what the client sends.
func (s *eventStream) Data(p []byte) {
	if s.came += len(p); s.came > s.limit && !s.broken {
		s.broken = true
		s.in.Broken(&bridge.End{Reason: wire.ProtocolViolation, Err: errors.New("the client keeps sending, where nothing is to be said")})
	}
}

// End says that nothing comes any more.
func (s *eventStream) End(err error) { s.in.End(err) }

// notAuthenticated says that somebody must be known, and how.
func notAuthenticated(more string) *problem {
	return &problem{
		Status: http.StatusUnauthorized, cause: "not-authenticated", challenge: true,
		Detail: "want credentials: Authorization: Bearer and a token, or APCA-API-KEY-ID and APCA-API-SECRET-KEY" + more,
	}
}
