package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/gobwas/ws"
)

// user is an account, and the address that it comes from.
type user struct {
	key key
	ip  net.IP
}

func (u user) header() http.Header {
	h := http.Header{}
	if u.key.ID != "" {
		h.Set("APCA-API-KEY-ID", u.key.ID)
		h.Set("APCA-API-SECRET-KEY", u.key.Secret)
	}
	return h
}

func (u user) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: u.ip}, Timeout: 10 * time.Second}
	return d.DialContext(ctx, "tcp", addr)
}

// socket is a WebSocket.
type socket struct {
	conn net.Conn
	in   *bufio.Reader
	mu   sync.Mutex // of writes
}

// open connects a WebSocket. The error is a ws.StatusError if the handshake is refused.
func (u user) open(ctx context.Context, addr, path string) (*socket, error) {
	d := ws.Dialer{Timeout: 10 * time.Second, NetDial: u.dial, Header: ws.HandshakeHeaderHTTP(u.header())}
	conn, br, _, err := d.Dial(ctx, "ws://"+addr+path)
	if err != nil {
		return nil, err
	}
	if br == nil {
		br = bufio.NewReaderSize(conn, 4<<10)
	}
	return &socket{conn: conn, in: br}, nil
}

func (s *socket) write(frame ws.Frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.conn.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	return ws.WriteFrame(s.conn, ws.MaskFrameInPlace(frame))
}

// send sends a command.
func (s *socket) send(cmd command) error {
	text, err := json.Marshal(cmd)
	if err != nil {
		return err
	}
	return s.write(ws.NewTextFrame(text))
}

// read answers pings and hands out text frames until the connection ends. It returns
// the code of the close frame, 0 if none came.
func (s *socket) read(each func(frame []byte)) ws.StatusCode {
	var buf []byte
	for {
		h, err := ws.ReadHeader(s.in)
		if err != nil {
			return 0
		}
		buf = slices.Grow(buf[:0], int(h.Length))[:h.Length]
		if _, err := io.ReadFull(s.in, buf); err != nil {
			return 0
		}
		switch h.OpCode { //nolint:exhaustive // others do not come
		case ws.OpPing:
			if err := s.write(ws.NewPongFrame(bytes.Clone(buf))); err != nil {
				return 0
			}
		case ws.OpClose:
			code, _ := ws.ParseCloseFrameData(buf)
			return code
		case ws.OpText:
			each(buf)
		}
	}
}

// reset closes the connection so that its port is free again at once.
func (s *socket) reset() { hangUp(s.conn) }

func hangUp(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// command is a command of the client protocol.
type command map[string]any

// channels are those of the native dialect.
func channels() []string {
	return []string{"trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses"}
}

// about makes a command of symbols on all channels.
func about(action string, symbols ...string) command {
	c := command{"action": action}
	for _, ch := range channels() {
		c[ch] = symbols
	}
	return c
}

// client calls a gateway over HTTP.
type client struct {
	user
	addr string
	http http.Client
}

func newClient(addr string, u user) *client {
	t := &http.Transport{DialContext: u.dial, MaxIdleConnsPerHost: 10}
	return &client{user: u, addr: addr, http: http.Client{Transport: t, Timeout: 20 * time.Second}}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// do calls and returns the status and the whole body. A value of the header Host is the
// name that the request is for.
func (c *client) do(ctx context.Context, method, path string, body []byte, header ...string) (int, []byte, error) {
	resp, err := c.send(ctx, method, path, body, header...)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, text, err
}

// send is do for an answer that goes on: the caller closes its body.
func (c *client) send(ctx context.Context, method, path string, body []byte, header ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+c.addr+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = c.header()
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		} else {
			req.Header.Set(header[i], header[i+1])
		}
	}
	return c.http.Do(req)
}

// refused returns the status of a refused handshake as a word, or what else failed.
func refused(err error) string {
	if status, ok := errors.AsType[ws.StatusError](err); ok {
		return fmt.Sprintf("handshake refused with %d", int(status))
	}
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "handshake cut off"
	}
	return "handshake failed"
}
