package gateway

import (
	"crypto/sha1" //nolint:gosec // RFC 6455 wants it, and not to keep a secret
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

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
	g.serve(w, r, d, wire.WebSocket, upgradeHead)
}

// serve admits a client, takes its connection over and hands it to a bridge, whose first
// bytes are those of head. The HTTP server's goroutine, with its stack and buffers, ends
// then. Whatever fails before that, a panic included, closes the connection and releases
// all that the client holds.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request, d *dialog, framing wire.Framing, head func(http.ResponseWriter, *http.Request) []byte) {
	if p := g.admit(d.address); p != nil {
		g.refuse(w, r, *p)
		return
	}
	failed := func() {}
	begun := false
	defer func() {
		if !begun {
			failed()
			g.release(d)
		}
	}()
	p := g.introduce(r, d)
	if p == nil && d.who == nil && framing == wire.EventStream {
		p = notAuthenticated("; a browser's EventSource, which cannot send these, uses a session_id")
	}
	if p != nil {
		g.refuse(w, r, *p)
		return
	}
	first := head(w, r)
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		g.upgradeFailed(d, err)
		http.Error(w, "the connection cannot be taken over", http.StatusInternalServerError)
		return
	}
	failed = func() { _ = conn.Close() }
	if err := conn.SetDeadline(time.Time{}); err != nil {
		g.upgradeFailed(d, err)
		return
	}
	early, _ := rw.Peek(rw.Reader.Buffered()) // what is there cannot fail
	c, err := g.poller.Take(conn)
	if err != nil {
		g.upgradeFailed(d, err)
		return
	}
	failed = func() { _ = c.Close() }
	var on bridge.Conn
	if framing == wire.EventStream {
		poll.LimitSilence(c, g.bridges.Config().PeerTimeout) // a WebSocket's client answers pings
		on = &eventStream{Conn: c, came: len(early), limit: g.cfg.MessageBytes}
	} else {
		on = newSocket(c, early, g.limits)
	}
	opts := d.options(framing, first)
	begun = true
	g.bridges.Start(g.ctx, on, d, opts)
}

// upgradeFailed notes why a client that was admitted did not become a socket.
func (g *Gateway) upgradeFailed(d *dialog, err error) {
	g.metrics.refused.WithLabelValues("upgrade-failed").Inc()
	g.log.LogAttrs(g.ctx, slog.LevelDebug, "upgrade failed", slog.String("address", d.address.String()), slog.Any("error", err))
}

// release gives back what a client holds: its session, for which it waits elsewhere, and
// its place among the sockets.
func (g *Gateway) release(d *dialog) {
	if d.held == nil {
		g.dismiss(d.address)
		return
	}
	g.tasks.Go(func() {
		g.letGo(d.held)
		g.dismiss(d.address)
	})
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

// front refuses requests of an address that sends too many, those for a host that is
// not ours, and changes asked for by pages that may not use the gateway.
func (g *Gateway) front(r *http.Request) *problem {
	if g.opens != nil {
		if ok, after := g.opens.Allow(g.cfg.Addresses.Of(r)); !ok {
			return &problem{
				Status: http.StatusTooManyRequests, cause: "address-rate", retryAfter: max(after, time.Second),
				Detail: "too many requests from this address",
			}
		}
	}
	if g.cfg.Hosts != nil {
		if err := g.cfg.Hosts.Check(r); err != nil {
			return &problem{Status: http.StatusMisdirectedRequest, cause: "bad-host", Detail: err.Error()}
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

// checkUpgrade returns what is wrong with an upgrade request, nil where nothing is. What
// RFC 6455 wants once must stand once: of two, a proxy in front may believe the other.
func checkUpgrade(r *http.Request) *problem {
	is := func(v, token string) bool { return strings.EqualFold(v, token) }
	upgrade, version, key := tokens(r, "Upgrade"), tokens(r, "Sec-WebSocket-Version"), tokens(r, "Sec-WebSocket-Key")
	switch {
	case r.Method != http.MethodGet:
		return &problem{
			Status: http.StatusMethodNotAllowed, cause: "bad-method", allow: http.MethodGet,
			Detail: "a WebSocket begins with GET, not " + r.Method,
		}
	case !slices.ContainsFunc(tokens(r, "Connection"), func(v string) bool { return is(v, "upgrade") }) || len(upgrade) != 1 || !is(upgrade[0], "websocket"):
		return &problem{
			Status: http.StatusUpgradeRequired, cause: "not-an-upgrade",
			Detail: "this address speaks WebSocket only: connect with a WebSocket client, such as lzstock watch, which sends Upgrade: websocket and nothing beside it",
		}
	case !r.ProtoAtLeast(1, 1):
		return &problem{
			Status: http.StatusUpgradeRequired, cause: "bad-http-version",
			Detail: "the upgrade came as " + r.Proto + ": want HTTP/1.1, which a proxy in front may have to be told",
		}
	case len(version) != 1 || version[0] != "13":
		return &problem{
			Status: http.StatusUpgradeRequired, cause: "bad-version",
			Detail: "Sec-WebSocket-Version must be 13, once",
		}
	case len(key) != 1 || !isKey(key[0]):
		return &problem{
			Status: http.StatusBadRequest, cause: "bad-key",
			Detail: "Sec-WebSocket-Key must be 16 bytes in base64, once",
		}
	}
	return checkNoBody(r)
}

func isKey(s string) bool {
	key, err := base64.StdEncoding.DecodeString(s)
	return err == nil && len(key) == 16
}

// checkNoBody refuses a request with a body, which would be read as what follows it once
// the connection is taken over.
func checkNoBody(r *http.Request) *problem {
	if r.ContentLength == 0 {
		return nil
	}
	return &problem{
		Status: http.StatusBadRequest, cause: "bad-body", part: true,
		Detail: "the request has a body: want none, so neither Transfer-Encoding nor a Content-Length above 0",
	}
}

// upgradeHead makes the answer that turns a connection into a WebSocket. No extension is
// agreed on.
func upgradeHead(_ http.ResponseWriter, r *http.Request) []byte {
	const magic = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"                 // of RFC 6455
	proof := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + magic)) //nolint:gosec // see the import
	head := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(proof[:]) + "\r\n"
	offered := tokens(r, "Sec-WebSocket-Protocol")
	if i := slices.IndexFunc(offered, ours); i >= 0 {
		head += "Sec-WebSocket-Protocol: " + offered[i] + "\r\n"
	}
	return []byte(head + "\r\n")
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
