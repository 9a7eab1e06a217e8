package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/gobwas/ws"
)

// edges are the attacks on how connections begin and what keeps them.
func edges() []attack {
	return []attack{
		{name: "handshakes", text: "70 failed handshakes of each kind from an address each, which must not be locked out", symbols: few, play: handshakes},
		{name: "control", text: "pings, pongs and empty fragments without end, before and after authentication", symbols: few, play: control},
	}
}

// badHandshakes are upgrade requests that must be refused.
func badHandshakes(t *target) map[string]string {
	good := upgradeRequest(t.Gateway) + keyHeaders(t.Users[0])
	all := map[string]string{
		"unread body":     good + "Content-Length: 100000\r\n\r\n" + strings.Repeat("x", 1000),
		"body":            good + "Content-Length: 5\r\n\r\nhello",
		"chunked body":    good + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"no upgrade at /": strings.Replace(good, "/v1/stream", "/v1/events", 1) + "\r\n", // nothing is asked for
	}
	for name, swap := range map[string][2]string{
		"HTTP/1.0":          {"HTTP/1.1", "HTTP/1.0"},
		"two versions":      {"Version: 13", "Version: 13, 8"},
		"repeated versions": {"Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Version: 13"},
		"version 12":        {"Version: 13", "Version: 12"},
		"two upgrades":      {"Upgrade: websocket", "Upgrade: h2c\r\nUpgrade: websocket"},
		"list of upgrades":  {"Upgrade: websocket", "Upgrade: websocket, h2c"},
		"two keys":          {"Sec-WebSocket-Key:", "Sec-WebSocket-Key: BBBBBBBBBBBBBBBBBBBBBB==\r\nSec-WebSocket-Key:"},
		"short key":         {"AAAAAAAAAAAAAAAAAAAAAA==", "AAAA"},
		"no key":            {"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", ""},
		"no connection":     {"Connection: Upgrade", "Connection: keep-alive"},
		"POST":              {"GET ", "POST "},
		"bad extensions":    {"Upgrade: websocket", "Upgrade: websocket\r\nSec-WebSocket-Extensions: ;;=\x01"},
	} {
		all[name] = strings.Replace(good, swap[0], swap[1], 1) + "\r\n"
	}
	return all
}

func upgradeRequest(host string) string {
	return "GET /v1/stream HTTP/1.1\r\nHost: " + host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
}

func keyHeaders(k key) string {
	return "APCA-API-KEY-ID: " + k.ID + "\r\nAPCA-API-SECRET-KEY: " + k.Secret + "\r\n"
}

// lockout is how many connections that are no sockets yet an address may have.
const lockout = 64

func handshakes(ctx context.Context, t *target, c *tally) error {
	ctx, cancel := counted(ctx)
	defer cancel()
	all := badHandshakes(t)
	names := sortedKeys(all)
	each(len(names), func(i int) {
		u := user{t.Users[i%len(t.Users)], net.IPv4(127, 77, 0, byte(i+1))}
		for range lockout + 6 {
			handshake(ctx, c, t.Gateway, u, names[i], all[names[i]])
			_ = pause(ctx, 60*time.Millisecond) // below the rate of an address
		}
		for try := 0; ; try++ {
			s, err := u.open(ctx, t.Gateway, "/v1/stream")
			if err == nil {
				s.reset()
				c.count("good handshakes behind them")
				return
			}
			if pause(ctx, time.Second) != nil || try > 10 {
				c.fault("behind handshakes with %s: %s: want the address to get in", names[i], refused(err))
				return
			}
		}
	})
	return nil
}

// counted is for attacks that have a number of things to try, whatever time that takes.
func counted(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), patience)
}

// handshake sends a bad request and looks at the answer.
func handshake(ctx context.Context, c *tally, addr string, u user, name, text string) {
	conn, err := u.dial(ctx, "tcp", addr)
	if err != nil {
		c.count("not connected")
		return
	}
	defer hangUp(conn)
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second)) // a connection that has ended says so later
	_, _ = io.WriteString(conn, text)                     // it may be closed already: the answer says so
	switch got := answer(conn); {
	case got[0] == '4' || got == "505":
		c.count("%s", got)
	case got == "closed" || got == "reset":
		c.count("closed unread")
	default:
		c.fault("a handshake with %s got %s: want 4xx or 505", name, got)
	}
}

const fragments = "empty fragments"

// control floods sockets with frames that carry nothing.
func control(ctx context.Context, t *target, c *tally) error {
	kinds := map[string][]byte{
		"pings":           maskedFrames(ws.NewPingFrame(nil)),
		"pings with data": maskedFrames(ws.NewPingFrame(bytes.Repeat([]byte("x"), 125))),
		"pongs":           maskedFrames(ws.NewPongFrame(nil)),
		fragments:         maskedFrames(ws.NewFrame(ws.OpContinuation, false, nil)),
	}
	names := sortedKeys(kinds)
	each(2*len(names), func(i int) {
		name, who, when := names[i/2], t.user(i*5), "after authentication"
		if i%2 == 1 {
			who, when = t.nobody(i*5), "before authentication"
		}
		for range 3 {
			switch code, err := drown(ctx, t.Gateway, who, name, kinds[name]); {
			case code == 4101 || (code == 1009 && name == fragments): // a message may have so many alone
				c.count("%s %s: closed with %d", name, when, code)
				return
			case ctx.Err() != nil:
				c.fault("%s %s go on: want the socket to be closed with 4101", name, when)
				return
			case err != nil:
				c.count("%s", refused(err))
			case code == 0:
				c.count("%s %s: cut off", name, when)
			default:
				c.fault("%s %s: closed with %d: want 4101", name, when, code)
				return
			}
			_ = pause(ctx, time.Second)
		}
		c.fault("%s %s: cut off three times: want the socket to be closed with 4101", name, when)
	})
	return nil
}

// drown sends frames 40,000 times a second until the socket ends.
func drown(ctx context.Context, addr string, u user, name string, frames []byte) (code ws.StatusCode, err error) {
	s, err := u.open(ctx, addr, "/v1/stream")
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, s.reset)()
	defer s.reset()
	if name == fragments {
		if err := s.write(ws.NewFrame(ws.OpText, false, nil)); err != nil {
			return 0, err
		}
	}
	each(2, func(i int) {
		if i == 0 {
			code = s.read(func([]byte) {})
			cancel()
			return
		}
		for pause(ctx, 5*time.Millisecond) == nil {
			if _, err := s.conn.Write(frames); err != nil && !errors.Is(err, net.ErrClosed) {
				return // what came before that is read to its end
			}
		}
	})
	return code, nil
}

// maskedFrames makes 200 frames of one.
func maskedFrames(f ws.Frame) []byte {
	var b bytes.Buffer
	if err := ws.WriteFrame(&b, ws.MaskFrame(f)); err != nil {
		panic(err) // a buffer takes all
	}
	return bytes.Repeat(b.Bytes(), 200)
}
