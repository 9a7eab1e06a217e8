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
	"slices"
	"strings"
	"time"

	"github.com/gobwas/ws"

	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/wire"
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
		g.refuse(w, problem{
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
	if p := checkUpgrade(r); p != nil {
		g.refuse(w, *p)
		return
	}
	d, err := g.newDialog(format, r.URL.Query())
	if err != nil {
		g.refuse(w, problem{Status: http.StatusBadRequest, cause: "bad-query", Detail: err.Error()})
		return
	}
	ctx, err := g.admit()
	if err != nil {
		cause := "over-capacity"
		if errors.Is(err, errStopping) {
			cause = "stopping"
		}
		g.refuse(w, problem{Status: http.StatusServiceUnavailable, cause: cause, Detail: err.Error(), retryAfter: 5 * time.Second})
		return
	}
	conn, early, err := upgrade(w, r)
	if err != nil {
		g.dismiss()
		g.metrics.refused.WithLabelValues("upgrade-failed").Inc()
		g.log.LogAttrs(ctx, slog.LevelDebug, "upgrade failed", slog.Any("error", err))
		return
	}
	g.serve(ctx, conn, early, d)
}

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
		Protocol: func(p string) bool { return p == protocolMsgPack || p == protocolJSON },
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

// serve hands the socket to a bridge. The HTTP server's goroutine, with its stack
// and buffers, ends then.
func (g *Gateway) serve(ctx context.Context, conn net.Conn, early []byte, d *dialog) {
	d.peer = conn.RemoteAddr().String()
	c, err := g.poller.Take(conn)
	if err != nil {
		g.dismiss()
		g.metrics.refused.WithLabelValues("upgrade-failed").Inc()
		g.log.LogAttrs(ctx, slog.LevelError, "socket lost", slog.String("peer", d.peer), slog.Any("error", err))
		return
	}
	g.bridges.Start(ctx, newSocket(c, early, g.cfg.MessageBytes), d, d.options())
}

// Close lets go of what the dialog holds; the bridge has ended.
func (d *dialog) Close(end *bridge.End) {
	d.stopDeadline()
	d.g.demand.Release(d.topics.all())
	d.g.ended(d, end)
	d.g.dismiss()
}

// ended logs a bridge's end as loudly as its reason deserves.
func (g *Gateway) ended(d *dialog, end *bridge.End) {
	level := slog.LevelDebug
	attrs := []slog.Attr{slog.String("conn", d.id), slog.String("peer", d.peer), slog.String("reason", end.Reason.String())}
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
}
