package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// floods are the attacks by sheer numbers.
func floods() []attack {
	return []attack{
		{name: "grpc-watch", text: "5,000 Watch streams of everything on one gRPC connection", symbols: few, memory: grpcMemory, play: grpcWatch},
		{name: "grpc-ingest", text: "a publisher of 400,000 symbols", symbols: few, memory: grpcMemory, publishes: true, play: grpcIngest},
		{name: "garbage", text: "connections that are no clients, from 32 addresses", symbols: few, machine: true, play: func(ctx context.Context, t *target, c *tally) error {
			newOpener(t, c).pace(ctx, t.Gateway)
			return nil
		}},
		{name: "elsewhere", text: "the same, to a listener of the attacker's own: what the machine does to prices", symbols: few, machine: true, play: elsewhere},
	}
}

// kind is one sort of garbage.
type kind struct {
	name string
	held bool // it does not let go by itself
	play func(ctx context.Context, conn net.Conn, key string) string
}

func kinds(host string) []kind {
	upgrade := upgradeRequest(host)
	say := func(text func(key string) string) func(context.Context, net.Conn, string) string {
		return func(_ context.Context, conn net.Conn, key string) string {
			_, _ = io.WriteString(conn, text(key)) // it may be closed already: the answer tells
			return answer(conn)
		}
	}
	return []kind{
		{"no upgrade", false, say(func(string) string { return "GET /v1/stream HTTP/1.1\r\nHost: " + host + "\r\n\r\n" })},
		{"bad upgrade", false, say(func(string) string { return strings.Replace(upgrade, "Version: 13", "Version: 12", 1) + "\r\n" })},
		{"unknown path", false, say(func(string) string {
			return "POST /wp-login.php HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 0\r\n\r\n"
		})},
		{"wrong secret", false, say(func(key string) string {
			return upgrade + "APCA-API-KEY-ID: " + key + "\r\nAPCA-API-SECRET-KEY: lzs_" + strconv.FormatUint(rand.Uint64(), 36) + "\r\n\r\n"
		})},
		{"wrong token", false, say(func(string) string { return upgrade + "Authorization: Bearer eyJhbGciOiJub25lIn0.e30.\r\n\r\n" })},
		{"no HTTP", false, say(func(string) string {
			return "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x00\xff", 200)
		})},
		{"great header", false, say(func(string) string { return upgrade + "X-Much: " + strings.Repeat("x", 64<<10) + "\r\n\r\n" })},
		{"great frame", false, framed(upgrade, func() []byte {
			return append([]byte("\x81\xff\x00\x00\x00\x00\x40\x00\x00\x00abcd"), make([]byte, 32<<10)...)
		})},
		{"command flood", false, framed(upgrade, func() []byte {
			return bytes.Repeat([]byte("\x81\x91\x00\x00\x00\x00{\"action\":\"list\"}"), 500)
		})},
		{"half-open", true, func(ctx context.Context, conn net.Conn, _ string) string {
			return hold(ctx, conn, "")
		}},
		{"slow", true, func(ctx context.Context, conn net.Conn, _ string) string {
			return hold(ctx, conn, upgrade+"X-Slow: "+strings.Repeat("x", 1000))
		}},
	}
}

// framed opens a socket, which asks for no credentials yet, and sends junk on it.
func framed(upgrade string, junk func() []byte) func(context.Context, net.Conn, string) string {
	return func(_ context.Context, conn net.Conn, _ string) string {
		_, _ = io.WriteString(conn, upgrade+"\r\n")
		got := answer(conn)
		if got != "101" {
			return got
		}
		_, _ = conn.Write(junk())
		_, err := io.Copy(io.Discard, conn) // until it is closed
		return "101, " + ending(err)
	}
}

// hold sends a byte a second of text, as long as there is one, until the other side
// closes.
func hold(ctx context.Context, conn net.Conn, text string) string {
	var one [1]byte
	for i := 0; ; i++ {
		if i < len(text) {
			if _, err := io.WriteString(conn, text[i:i+1]); err != nil {
				return ending(err)
			}
		}
		if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return ending(err)
		}
		_, err := conn.Read(one[:])
		switch {
		case ctx.Err() != nil:
			return "held to the end"
		case err == nil:
			return "answered"
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return ending(err)
		}
	}
}

// answer gives the status of what comes back.
func answer(conn net.Conn) string {
	var buf [512]byte
	n, err := io.ReadAtLeast(conn, buf[:], len("HTTP/1.1 200"))
	if n < len("HTTP/1.1 200") {
		return ending(err)
	}
	return string(buf[9:12])
}

func ending(err error) string {
	switch {
	case err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return "closed"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "still open after 10s"
	case errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE):
		return "reset"
	}
	return "lost"
}

// opener opens connections at a rate.
type opener struct {
	t     *target
	c     *tally
	quick chan struct{} // has room for those under way
	slow  chan struct{} // and for those that are held
	tasks sync.WaitGroup
}

func newOpener(t *target, c *tally) *opener {
	return &opener{t: t, c: c, quick: make(chan struct{}, 1000), slow: make(chan struct{}, 3000)}
}

// elsewhere floods a listener that closes all that comes.
func elsewhere(ctx context.Context, t *target, c *tally) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var deaf sync.WaitGroup
	defer deaf.Wait()
	defer func() { _ = l.Close() }()
	deaf.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			hangUp(conn)
		}
	})
	newOpener(t, c).pace(ctx, l.Addr().String())
	return nil
}

func (o *opener) pace(ctx context.Context, addr string) {
	defer o.tasks.Wait()
	all := kinds(addr)
	began := time.Now()
	for sent := 0; pause(ctx, 5*time.Millisecond) == nil; {
		due := int(time.Since(began).Seconds() * float64(o.t.Opens))
		due = min(due, sent+o.t.Opens/20) // no bursts if the machine was busy
		for ; sent < due; sent++ {
			k := all[rand.IntN(len(all))]
			room := o.quick
			if k.held {
				room = o.slow
			}
			select {
			case room <- struct{}{}:
			default:
				continue // enough are under way
			}
			n := sent
			o.tasks.Go(func() {
				defer func() { <-room }()
				o.play(ctx, addr, k, n)
			})
		}
	}
}

func (o *opener) play(ctx context.Context, addr string, k kind, n int) {
	conn, err := user{ip: net.IPv4(127, 66, 0, byte(1+n%32))}.dial(ctx, "tcp", addr)
	switch {
	case errors.Is(err, syscall.ECONNRESET): // it was open, for a moment
		o.c.count("opened")
		o.c.count("reset at once")
	case err == nil:
		o.c.count("opened")
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second)) // a connection that has ended says so later
		o.c.count("%s: %s", k.name, k.play(ctx, conn, o.t.Users[0].ID))
		hangUp(conn)
	case ctx.Err() == nil:
		o.c.count("not connected")
	}
}
