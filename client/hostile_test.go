package client_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/lzstock/lzstock/client"
	"github.com/lzstock/lzstock/internal/wire"
)

// hour runs a client against a gateway for an hour and gives the attempts.
func hour(t *testing.T, f *fake) (*client.Client, []time.Time) {
	t.Helper()
	c, err := client.New(f.config())
	if err != nil {
		t.Fatal(err)
	}
	var run sync.WaitGroup
	ctx := day(t)
	run.Go(func() { _ = c.Run(ctx) }) // its error is in the state
	t.Cleanup(func() {
		_ = c.Close()
		run.Wait()
	})
	time.Sleep(time.Hour)
	return c, f.attempts()
}

// patient fails where a client came back too often: with a limit that doubles
// from 500 ms to 30 s, the mean wait is 15 s in the end.
func patient(t *testing.T, what string, at []time.Time) {
	t.Helper()
	if len(at) < 100 || len(at) > 400 {
		t.Errorf("%s: %d attempts in an hour, want about 240", what, len(at))
	}
	for i := 10; i < len(at); i++ {
		if at[i].Sub(at[i-10]) < 5*time.Second {
			t.Fatalf("%s: attempts %d to %d within %s", what, i-10, i, at[i].Sub(at[i-10]))
		}
	}
}

// TestHostileGateway sends what no gateway should.
func TestHostileGateway(t *testing.T) {
	text := func(s string) []byte { return wire.AppendFrame(nil, wire.OpText, []byte(s)) }
	greeting := wire.AppendFrame(nil, wire.OpText, wire.AppendConnected(nil, wire.JSONNative, &wire.Connected{Ping: time.Second}))
	for name, bytes := range map[string][]byte{
		"nothing":          nil,
		"no JSON":          text("hello"),
		"no array":         text(`{"T":"success","msg":"connected"}`),
		"bad UTF-8":        text("[{\"T\":\"\xff\"}]"),
		"bad event":        text(`[{"T":"t","S":"A"}]`),
		"half a frame":     greeting[:len(greeting)-5],
		"half a header":    greeting[:1],
		"a huge frame":     append([]byte{0x81, 127}, binary.BigEndian.AppendUint64(nil, 1<<40)...),
		"a masked frame":   ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte("[]")))),
		"a reserved bit":   {0xc1, 0},
		"an opcode":        {0x83, 0},
		"a control opcode": {0x8b, 0},
		"a long ping":      {0x89, 126, 0, 126},
		"a lone fragment":  {0x80, 0},
		"two beginnings":   {0x01, 0, 0x01, 0},
		"a split ping":     {0x09, 0},
		"a bad close":      {0x88, 1, 3},
		"at once":          append(bytes.Clone(greeting), wire.AppendClose(nil, 4200, "")...),
		"greets twice":     append(bytes.Clone(greeting), greeting...),
		"binary as text":   wire.AppendFrame(nil, wire.OpText, wire.AppendConnected(nil, wire.MsgPackNative, &wire.Connected{})),
		"moves at once":    bytes.Join([][]byte{greeting, text(`[{"T":"reconnect","reason":"drain","delay_ms":0,"deadline_ms":0}]`), wire.AppendClose(nil, 4200, "")}, nil),
		"refuses":          text(`[{"T":"error","code":503,"msg":"not now"}]`),
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t, func(p *peer) error {
				_, err := p.conn.Write(bytes)
				return err
			})
			c, at := hour(t, f)
			patient(t, name, at)
			var e *client.Error
			if !errors.As(c.State().Err, &e) || e.Reason == "" || e.Retry == client.RetryNever {
				t.Errorf("%s: the reason is %v", name, c.State().Err)
			}
		})
	}
}

func TestRefusedUpgrades(t *testing.T) {
	answer := func(status int, header, body string) string {
		return fmt.Sprintf("HTTP/1.1 %d %s\r\n%sContent-Length: %d\r\n\r\n%s", status, http.StatusText(status), header, len(body), body)
	}
	for name, tc := range map[string]struct {
		answer string
		code   int
		retry  client.Retry
		reason string
	}{
		"unauthorized": {answer(401, "", `{"detail":"who are you?"}`), 401, client.RetryNever, "who are you?"},
		"not found":    {answer(404, "", "<html>"), 404, client.RetryNever, "Not Found"},
		"moved":        {answer(301, "Location: ws://there\r\n", ""), 301, client.RetryNever, "moved to ws://there"},
		"overloaded":   {answer(503, "Retry-After: 7\r\n", `{"detail":"full"}`), 503, client.RetryBackoff, "full"},
		"too many":     {answer(429, "", ""), 429, client.RetryBackoff, "Too Many Requests"},
		"no WebSocket": {answer(200, "", "hi"), 200, client.RetryBackoff, "OK"},
		"no HTTP":      {"SSH-2.0-OpenSSH_9.6\r\n", 0, client.RetryBackoff, "no connection"},
		"bad upgrade":  {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n", 0, client.RetryBackoff, "no connection"},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx := day(t)
			f := newRawFake(t, func(conn net.Conn, _ int) error {
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
					return err
				}
				_, err := conn.Write([]byte(tc.answer))
				return err
			})
			_, err := client.Dial(ctx, f.config())
			var e *client.Error
			if !errors.As(err, &e) || e.Code != tc.code || e.Retry != tc.retry || e.Reason != tc.reason || e.Op != "connect" {
				t.Errorf("%s: %v", name, err)
			}
			if name == "overloaded" && e.After != 7*time.Second {
				t.Errorf("come back after %s", e.After)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx := day(t)
		f := newRawFake(t, func(conn net.Conn, _ int) error {
			time.Sleep(time.Hour)
			return nil
		})
		begun := time.Now()
		if _, err := client.Dial(ctx, f.config()); err == nil || time.Since(begun) != 10*time.Second {
			t.Errorf("a mute gateway: %v after %s", err, time.Since(begun))
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, err := client.Dial(short, f.config()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a context that ends: %v", err)
		}
	})
}

// TestSilentPeerIsDead has a gateway that freezes, and one that only pings.
func TestSilentPeerIsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := day(t)
		f := newFake(t, func(p *peer) error {
			if err := p.greet(); err != nil {
				return err
			}
			if p.number > 1 {
				return p.serve()
			}
			for range 10 {
				if _, err := p.conn.Write(wire.AppendFrame(nil, wire.OpPing, nil)); err != nil {
					return err
				}
				time.Sleep(20 * time.Second)
			}
			time.Sleep(time.Hour) // reads nothing, says nothing
			return nil
		})
		c, err := client.Dial(ctx, f.config())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		time.Sleep(200 * time.Second)
		if n := len(f.attempts()); n != 1 {
			t.Errorf("%d attempts while the gateway pinged", n)
		}
		time.Sleep(time.Minute)
		if n := len(f.attempts()); n != 2 || !strings.Contains(c.State().Err.Error(), "silent") {
			t.Errorf("%d attempts, %v", n, c.State().Err)
		}
	})
}

// TestSlowReaderStaysAlive has nobody read events for an hour: the client pings,
// takes no more than its buffer holds, and loses nothing.
func TestSlowReaderStaysAlive(t *testing.T) {
	const many = 5000
	synctest.Test(t, func(t *testing.T) {
		ctx := day(t)
		pings := 0
		f := newFake(t, func(p *peer) error {
			if err := p.greet(); err != nil {
				return err
			}
			p.mute = true // since another goroutine writes
			sent := make(chan error, 1)
			go func() {
				for i := range many {
					if err := p.data(trade("A", wireSeq(i+1), wireSeq(i))); err != nil {
						sent <- err
						return
					}
				}
				sent <- nil
			}()
			err := p.serve()
			pings = p.pings
			return errors.Join(err, <-sent)
		})
		cfg := f.config()
		cfg.Buffer = 10
		c, err := client.Dial(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		time.Sleep(time.Hour)
		if st := c.Stats(); st.Events > 20 || st.Connections != 1 {
			t.Errorf("%+v after an hour without a reader", st)
		}
		for i, e := range take(t, c, many) {
			if e.Seq != wireSeq(i+1) || e.Broken {
				t.Fatalf("event %d is %+v", i, e)
			}
		}
		_ = c.Close()
		synctest.Wait()
		if pings < 300 {
			t.Errorf("%d pings in an hour", pings)
		}
	})
}

// TestCloseIsPolite sends a close frame, and does not wait for those who do not
// answer it.
func TestCloseIsPolite(t *testing.T) {
	for _, rude := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx := day(t)
			var got error
			f := newFake(t, func(p *peer) error {
				if err := p.greet(); err != nil {
					return err
				}
				if rude {
					time.Sleep(time.Minute)
				}
				got = p.serve()
				return nil
			})
			c, err := client.Dial(ctx, f.config())
			if err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			_ = c.Close()
			took := time.Since(begun)
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if !errors.Is(got, errClosedByClient) {
				t.Errorf("the gateway saw %v", got)
			}
			if rude && took != time.Second || !rude && took != 0 {
				t.Errorf("Close took %s", took)
			}
		})
	}
}

// TestFragmentsAndControl reads a message in pieces, with a ping between them.
func TestFragmentsAndControl(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := day(t)
		f := newFake(t, func(p *peer) error {
			if err := p.greet(); err != nil {
				return err
			}
			whole := wire.AppendFeed(nil, p.format, feedDown())
			frames := ws.MustCompileFrame(ws.NewFrame(ws.OpText, false, whole[:10]))
			frames = wire.AppendFrame(frames, wire.OpPing, []byte("between"))
			frames = append(frames, ws.MustCompileFrame(ws.NewFrame(ws.OpContinuation, false, whole[10:20]))...)
			frames = append(frames, ws.MustCompileFrame(ws.NewFrame(ws.OpContinuation, true, whole[20:]))...)
			if _, err := p.conn.Write(frames); err != nil {
				return err
			}
			return p.serve()
		})
		c, err := client.Dial(ctx, f.config())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		synctest.Wait()
		if s := c.State(); s.Feed.State != feedDown().State || !s.Feed.Since.Equal(feedDown().Since) || s.Feed.Epoch != 7 {
			t.Errorf("%+v", s.Feed)
		}
	})
}
