package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/gobwas/ws"

	"github.com/lzstock/lzstock/internal/wire"
)

// protocolMsgPack is the subprotocol that asks for MessagePack.
const protocolMsgPack = "lzstock.v1.msgpack"

// maxRetryAfter bounds what a gateway may ask for.
const maxRetryAfter = 5 * time.Minute

// dial makes the WebSocket, and gives the format that the gateway has agreed to.
// ctx bounds it.
func (c *Client) dial(ctx context.Context, address string) (net.Conn, *bufio.Reader, wire.Format, *Error) {
	refused := &Error{Op: "connect", Retry: RetryBackoff}
	d := ws.Dialer{
		NetDial: c.cfg.NetDial, TLSConfig: c.cfg.TLS,
		OnStatusError: func(status int, _ []byte, resp io.Reader) { refused.readRefusal(status, resp) },
	}
	if c.cfg.MsgPack {
		d.Protocols = []string{protocolMsgPack}
	}
	if len(c.cfg.Header) > 0 {
		d.Header = ws.HandshakeHeaderHTTP(c.cfg.Header)
	}
	conn, early, hs, err := d.Dial(ctx, address)
	if err == nil {
		if early == nil {
			early = bufio.NewReaderSize(conn, 16<<10)
		}
		format := wire.JSONNative
		if hs.Protocol == protocolMsgPack {
			format = wire.MsgPackNative
		}
		return conn, early, format, nil
	}
	switch {
	case refused.Code != 0: // readRefusal has said it all
	case isCertificate(err):
		refused.Reason, refused.Retry, refused.Err = "the gateway's certificate is not trusted", RetryNever, err
	default:
		refused.Reason, refused.Err = "no connection", err
	}
	return nil, nil, 0, refused
}

func isCertificate(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

// readRefusal reads why the upgrade was refused: the status, when to come back,
// and the detail of a problem document.
func (e *Error) readRefusal(status int, resp io.Reader) {
	e.Code, e.Reason = status, http.StatusText(status)
	switch {
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests:
	case status >= 400 && status < 500:
		e.Retry = RetryNever
	}
	const most = 16 << 10
	r, err := http.ReadResponse(bufio.NewReader(io.LimitReader(resp, most)), nil)
	if err != nil {
		return // the status alone has to do
	}
	defer r.Body.Close()
	e.After = retryAfter(r.Header.Get("Retry-After"))
	if location := r.Header.Get("Location"); location != "" {
		e.Reason, e.Retry = "moved to "+location, RetryNever
	}
	var problem struct {
		Title  string `json:"title"`
		Detail string `json:"detail"`
	}
	if json.NewDecoder(r.Body).Decode(&problem) != nil {
		return
	}
	switch {
	case problem.Title != "" && problem.Detail != "":
		e.Reason = problem.Title + ": " + problem.Detail
	case problem.Title+problem.Detail != "":
		e.Reason = problem.Title + problem.Detail
	}
}

// retryAfter reads seconds, or a date.
func retryAfter(header string) time.Duration {
	if s, err := strconv.Atoi(header); err == nil && s > 0 {
		return min(time.Duration(min(s, 1<<20))*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(header); err == nil {
		return min(max(0, time.Until(at)), maxRetryAfter)
	}
	return 0
}
