package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// raw is a bare WebSocket client: it keeps the frames as they come, so that what
// is compared is what was on the wire.
type raw struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader

	mu     sync.Mutex
	frames [][]byte
	close  ws.StatusCode // of the close frame; 0: none came
	done   chan struct{} // closed when the connection has ended
}

// message is one message of the protocol, numbers as they were written.
type message map[string]any

func (m message) text(key string) string {
	switch v := m[key].(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

func (m message) number(key string) int64 {
	n, ok := m[key].(json.Number)
	if !ok {
		return 0
	}
	v, err := n.Int64()
	if err != nil {
		return 0
	}
	return v
}

// open connects, with the header that is given, and leaves it to the test when to
// read.
func open(t *testing.T, addr, path string, header ...http.Header) *raw {
	t.Helper()
	d := ws.Dialer{Timeout: patience}
	for _, h := range header {
		d.Protocols = h["Sec-Websocket-Protocol"] // the dialer's own, so that it takes the answer
		h = h.Clone()
		h.Del("Sec-Websocket-Protocol")
		d.Header = ws.HandshakeHeaderHTTP(h)
	}
	conn, br, _, err := d.Dial(t.Context(), "ws://"+addr+path)
	if err != nil {
		t.Fatalf("dial %s: %v", path, err)
	}
	if br == nil {
		br = bufio.NewReaderSize(conn, 64<<10)
	}
	r := &raw{t: t, conn: conn, in: br, done: make(chan struct{})}
	t.Cleanup(func() { _ = conn.Close() })
	return r
}

// refused connects, which must be refused, and gives the answer's status.
func refused(t *testing.T, addr, path string, header http.Header) int {
	t.Helper()
	conn, _, _, err := ws.Dialer{Timeout: patience, Header: ws.HandshakeHeaderHTTP(header)}.Dial(t.Context(), "ws://"+addr+path)
	if err == nil {
		_ = conn.Close()
		return http.StatusSwitchingProtocols
	}
	status, ok := errors.AsType[ws.StatusError](err)
	if !ok {
		t.Fatalf("dial %s: %v", path, err)
	}
	return int(status)
}

// say sends a message. It must not be called while a ping may be answered, which
// no test lives long enough for.
func (r *raw) say(text string) {
	r.t.Helper()
	if err := ws.WriteFrame(r.conn, ws.MaskFrame(ws.NewTextFrame([]byte(text)))); err != nil {
		r.t.Fatal(err)
	}
}

// listen reads frames in the background, at most one in each pause.
func (r *raw) listen(pause time.Duration) *raw {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(r.done)
		defer cancel()
		tick := time.NewTicker(max(pause, 1))
		defer tick.Stop()
		for {
			if pause > 0 {
				<-tick.C
			}
			f, err := ws.ReadFrame(r.in)
			if err != nil {
				return
			}
			switch f.Header.OpCode { //nolint:exhaustive // others do not matter here
			case ws.OpText:
				r.mu.Lock()
				r.frames = append(r.frames, f.Payload)
				r.mu.Unlock()
			case ws.OpPing:
				_ = ws.WriteFrame(r.conn, ws.MaskFrame(ws.NewPongFrame(f.Payload)))
			case ws.OpClose:
				r.mu.Lock()
				r.close, _ = ws.ParseCloseFrameData(f.Payload)
				r.mu.Unlock()
				_ = ws.WriteFrame(r.conn, ws.MaskFrame(ws.NewCloseFrame(f.Payload)))
			}
		}
	}()
	r.t.Cleanup(func() { _ = r.conn.Close(); <-r.done; <-ctx.Done() })
	return r
}

// messages gives all that came so far. Every frame must be an array of messages
// in ascending q.
func (r *raw) messages() []message {
	r.t.Helper()
	r.mu.Lock()
	frames := r.frames
	r.mu.Unlock()
	var out []message
	for _, f := range frames {
		d := json.NewDecoder(bytes.NewReader(f))
		d.UseNumber()
		var batch []message
		if err := d.Decode(&batch); err != nil || len(batch) == 0 {
			r.t.Fatalf("junk frame %q: %v", f, err)
		}
		if _, err := d.Token(); err != io.EOF {
			r.t.Fatalf("junk behind frame %q", f)
		}
		last := int64(0)
		for _, m := range batch {
			if q := m.number("q"); q < last {
				r.t.Fatalf("q runs back in frame %q", f)
			} else {
				last = q
			}
		}
		out = append(out, batch...)
	}
	if len(out) > 0 && out[0].text("msg") != "connected" {
		r.t.Fatalf("the first message is %v", out[0])
	}
	return out
}

// of gives the messages of one type.
func (r *raw) of(typ string) (out []message) {
	r.t.Helper()
	for _, m := range r.messages() {
		if m.text("T") == typ {
			out = append(out, m)
		}
	}
	return out
}

func (r *raw) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.frames)
}

func (r *raw) waitSubscribed() *raw {
	r.t.Helper()
	eventually(r.t, "the subscription", func() bool { return len(r.of("subscription")) > 0 })
	return r
}
