package gateway

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gobwas/ws"

	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/poll"
	"github.com/lzstock/lzstock/internal/session"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// The subprotocols that a client may ask for.
const (
	protocolJSON    = "lzstock.v1.json"
	protocolMsgPack = "lzstock.v1.msgpack"
)

func (g *Gateway) native(w http.ResponseWriter, r *http.Request) {
	g.accept(w, r, wire.JSONNative, wire.MsgPackNative)
}

func (g *Gateway) stock(w http.ResponseWriter, r *http.Request) {
	if feed := r.PathValue("feed"); !slices.Contains(g.cfg.Feeds, feed) {
		g.refuse(w, r, problem{
			Status: http.StatusNotFound, cause: "unknown-feed",
			Detail: fmt.Sprintf("no feed %q here, want one of %s", feed, strings.Join(g.cfg.Feeds, ", ")),
		})
		return
	}
	g.accept(w, r, wire.JSONStock, wire.MsgPackStock)
}

func (g *Gateway) crypto(w http.ResponseWriter, r *http.Request) {
	g.accept(w, r, wire.JSONCrypto, wire.MsgPackCrypto)
}

// accept refuses what must be refused, upgrades the rest and hands the socket to
// a bridge, which lives on when accept has returned.
func (g *Gateway) accept(w http.ResponseWriter, r *http.Request, text, binary wire.Format) {
	format := text
	if wantsMsgPack(r) {
		format = binary
	}
	d, p := g.examine(r, format)
	if p != nil {
		g.refuse(w, r, *p)
		return
	}
	if p := g.admit(d.address); p != nil {
		g.refuse(w, r, *p)
		return
	}
	if p := g.introduce(r, d); p != nil {
		g.dismiss(d.address)
		g.refuse(w, r, *p)
		return
	}
	conn, early, err := upgrade(w, r)
	if err != nil {
		g.lose(r.Context(), d, err)
		return
	}
	g.serve(conn, early, d, nil)
}

// ServeHTTP routes requests that pass front. Each counts for its address, also one
// that no route answers.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p := g.front(r); p != nil {
		g.refuse(w, r, *p)
		return
	}
	g.mux.ServeHTTP(w, r)
}

// front refuses requests of an address that sends too many, and changes asked for by
// pages that may not use the gateway.
func (g *Gateway) front(r *http.Request) *problem {
	if g.opens != nil {
		if ok, after := g.opens.Allow(g.cfg.Addresses.Of(r)); !ok {
			return &problem{
				Status: http.StatusTooManyRequests, cause: "address-rate", retryAfter: max(after, time.Second),
				Detail: "too many requests from this address",
			}
		}
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions: // they change nothing
		return nil
	}
	return g.checkOrigin(r)
}

// checkOrigin refuses requests of pages that may not use the gateway.
func (g *Gateway) checkOrigin(r *http.Request) *problem {
	if err := g.cfg.Origins.Check(r); err != nil {
		return &problem{Status: http.StatusForbidden, cause: "bad-origin", Detail: err.Error()}
	}
	return nil
}

// examine looks at an upgrade request on its own.
func (g *Gateway) examine(r *http.Request, format wire.Format) (*dialog, *problem) {
	if p := checkUpgrade(r); p != nil {
		return nil, p
	}
	if p := g.checkOrigin(r); p != nil {
		return nil, p
	}
	if _, p := credentialsOf(r); p != nil {
		return nil, p
	}
	if offered := tokens(r, "Sec-WebSocket-Protocol"); len(offered) > 0 && !slices.ContainsFunc(offered, ours) {
		return nil, &problem{
			Status: http.StatusBadRequest, cause: "bad-subprotocol",
			Detail: "want " + protocolJSON + " or " + protocolMsgPack + " among the subprotocols, bearer.<token> beside it where a token is sent",
		}
	}
	return g.asked(r, format, r.URL.Query(), market.Position{})
}

// asked reads what the client asks for in its URL. since, where it is not zero, has
// come in another way.
func (g *Gateway) asked(r *http.Request, format wire.Format, query url.Values, since market.Position) (*dialog, *problem) {
	attaches := format.Native() && query.Has("session_id")
	if attaches {
		query.Del("session_id")
		if len(query) > 1 || (len(query) == 1 && !query.Has("since")) {
			return nil, &problem{Status: http.StatusBadRequest, cause: "bad-query", Detail: "beside session_id only since may stand: the session says what it is subscribed to"}
		}
	}
	first, err := g.command(format, query)
	if err != nil {
		return nil, &problem{Status: http.StatusBadRequest, cause: "bad-query", Detail: err.Error()}
	}
	if !since.IsZero() {
		first.Since = since
	}
	if !first.Since.IsZero() && len(first.Topics) == 0 && !attaches {
		return nil, &problem{
			Status: http.StatusBadRequest, cause: "bad-query",
			Detail: "since needs to know what to resume: name trades, quotes, bars, updatedBars, dailyBars or statuses, or send since with subscribe",
		}
	}
	d := g.newDialog(format, first)
	d.address = g.cfg.Addresses.Of(r)
	return d, nil
}

// introduce finds out who the client is, as far as the request says.
func (g *Gateway) introduce(r *http.Request, d *dialog) *problem {
	if query := r.URL.Query(); d.format.Native() && query.Has("session_id") {
		c, p := credentialsOf(r)
		if p == nil {
			p = g.attach(r.Context(), session.ID(query.Get("session_id")), c, d)
		}
		return p
	}
	who, p := g.identify(r)
	if p != nil {
		return p
	}
	d.who = who
	if d.first == nil {
		return nil
	}
	if n, limit := d.topics.symbols(d.first.Topics), d.symbolLimit(); n > limit {
		return &problem{Status: http.StatusBadRequest, cause: "bad-query", Detail: tooManySymbols(n, limit).Error()}
	}
	return nil
}

func ours(protocol string) bool { return protocol == protocolMsgPack || protocol == protocolJSON }

// wantsMsgPack reports whether the client asked for MessagePack in one of the
// two ways.
func wantsMsgPack(r *http.Request) bool {
	return r.Header.Get("Content-Type") == "application/msgpack" || slices.Contains(tokens(r, "Sec-WebSocket-Protocol"), protocolMsgPack)
}

// tokens gives what the comma lists of a header hold.
func tokens(r *http.Request, header string) (out []string) {
	for _, line := range r.Header.Values(header) {
		for token := range strings.SplitSeq(line, ",") {
			out = append(out, strings.TrimSpace(token))
		}
	}
	return out
}

// checkUpgrade returns what is wrong with an upgrade request, nil where nothing
// is.
func checkUpgrade(r *http.Request) *problem {
	has := func(header, token string) bool {
		return slices.ContainsFunc(tokens(r, header), func(v string) bool { return strings.EqualFold(v, token) })
	}
	switch {
	case r.Method != http.MethodGet:
		return &problem{
			Status: http.StatusMethodNotAllowed, cause: "bad-method", allow: http.MethodGet,
			Detail: "a WebSocket begins with GET, not " + r.Method,
		}
	case !has("Connection", "upgrade") || !has("Upgrade", "websocket"):
		return &problem{
			Status: http.StatusUpgradeRequired, cause: "not-an-upgrade",
			Detail: "this address speaks WebSocket only: connect with a WebSocket client, such as lzstock watch",
		}
	case !has("Sec-WebSocket-Version", "13"):
		return &problem{
			Status: http.StatusUpgradeRequired, cause: "bad-version",
			Detail: "Sec-WebSocket-Version must be 13",
		}
	}
	if key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-WebSocket-Key")); err != nil || len(key) != 16 {
		return &problem{
			Status: http.StatusBadRequest, cause: "bad-key",
			Detail: "Sec-WebSocket-Key must be 16 bytes in base64",
		}
	}
	return nil
}

// upgrade answers 101 and gives the connection, with what the client had sent
// early.
func upgrade(w http.ResponseWriter, r *http.Request) (net.Conn, []byte, error) {
	u := ws.HTTPUpgrader{
		Timeout:  5 * time.Second,
		Protocol: ours,
	}
	conn, rw, _, err := u.Upgrade(r, w)
	if err != nil {
		return nil, nil, fmt.Errorf("upgrade: %w", err)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("upgrade: %w", err), conn.Close())
	}
	return conn, buffered(rw.Reader), nil
}

func buffered(r *bufio.Reader) []byte {
	early, _ := r.Peek(r.Buffered()) // what is there cannot fail
	return early
}

// serve hands the socket to a bridge; what begins with a head is an event stream. The
// HTTP server's goroutine, with its stack and buffers, ends then.
func (g *Gateway) serve(conn net.Conn, early []byte, d *dialog, head []byte) {
	c, err := g.poller.Take(conn)
	if err != nil {
		g.lose(g.ctx, d, err)
		return
	}
	var on bridge.Conn
	if head != nil {
		poll.LimitSilence(c, g.bridges.Config().PeerTimeout) // a WebSocket's client answers pings
		on = &eventStream{Conn: c, came: len(early), limit: g.cfg.MessageBytes}
	} else {
		on = newSocket(c, early, g.cfg.MessageBytes)
	}
	g.bridges.Start(g.ctx, on, d, d.options(head))
}

// lose lets go of a client that was admitted, but has not come about.
func (g *Gateway) lose(ctx context.Context, d *dialog, err error) {
	g.metrics.refused.WithLabelValues("upgrade-failed").Inc()
	g.log.LogAttrs(ctx, slog.LevelDebug, "upgrade failed", slog.String("address", d.address.String()), slog.Any("error", err))
	if d.held != nil {
		g.letGo(d.held)
	}
	g.dismiss(d.address)
}

// ended logs a bridge's end as loudly as its reason deserves.
func (g *Gateway) ended(d *dialog, end *bridge.End) {
	level := slog.LevelDebug
	attrs := []slog.Attr{slog.String("conn", d.id), slog.String("address", d.address.String()), slog.String("reason", end.Reason.String())}
	if end.Err != nil {
		attrs = append(attrs, slog.Any("error", end.Err))
	}
	if end.Reason == wire.Internal {
		level = slog.LevelError
		if p, ok := errors.AsType[*hub.PanicError](end.Err); ok {
			attrs = append(attrs, slog.String("stack", string(p.Stack)))
		}
	}
	g.log.LogAttrs(g.ctx, level, "socket ended", attrs...)
	g.audit.ended(g.ctx, d, end)
}
