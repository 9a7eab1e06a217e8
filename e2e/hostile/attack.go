package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// outcome is what an attacker reports.
type outcome struct {
	Time   time.Duration
	Opens  int
	Failed int            // to connect
	Kinds  map[string]int // opens by what they were for
	Ends   map[string]int // and how they ended
}

// add adds another outcome to the first.
func (o *outcome) add(more outcome) {
	if o.Kinds == nil {
		o.Kinds, o.Ends = map[string]int{}, map[string]int{}
	}
	o.Opens += more.Opens
	o.Failed += more.Failed
	o.Time += more.Time
	for name, n := range more.Kinds {
		o.Kinds[name] += n
	}
	for name, n := range more.Ends {
		o.Ends[name] += n
	}
}

// flood is the attacker's process. It gives way to the others: on the internet it
// would have processors of its own.
type flood struct {
	cmd *exec.Cmd
	out bytes.Buffer
}

func startFlood(ctx context.Context, o options, g *gateway, at string, d time.Duration) (*flood, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f := &flood{cmd: exec.CommandContext(ctx, "nice", "-n", "19", self,
		"-attack", at, "-key", g.key.ID, "-duration", d.String(),
		"-opens", strconv.Itoa(o.opens), "-addresses", strconv.Itoa(o.addresses))}
	f.cmd.Stdout, f.cmd.Stderr = &f.out, os.Stderr
	return f, f.cmd.Start()
}

func (f *flood) wait() (outcome, error) {
	var o outcome
	if err := f.cmd.Wait(); err != nil {
		return o, fmt.Errorf("the flood: %w", err)
	}
	return o, json.Unmarshal(f.out.Bytes(), &o)
}

// stop ends it where it goes on.
func (f *flood) stop() {
	if f.cmd.ProcessState == nil {
		_ = f.cmd.Process.Kill()
		_ = f.cmd.Wait()
	}
}

// kind is one sort of garbage.
type kind struct {
	name string
	held bool // it does not let go by itself
	play func(ctx context.Context, conn net.Conn, key string) string
}

const upgrade = "GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"

func kinds() []kind {
	say := func(text func(key string) string) func(context.Context, net.Conn, string) string {
		return func(_ context.Context, conn net.Conn, key string) string {
			_, _ = io.WriteString(conn, text(key)) // it may be closed already: the answer tells
			return answer(conn)
		}
	}
	return []kind{
		{"no upgrade", false, say(func(string) string { return "GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n" })},
		{"bad upgrade", false, say(func(string) string { return strings.Replace(upgrade, "Version: 13", "Version: 12", 1) + "\r\n" })},
		{"unknown path", false, say(func(string) string {
			return "POST /wp-login.php HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
		})},
		{"wrong secret", false, say(func(key string) string {
			return upgrade + "APCA-API-KEY-ID: " + key + "\r\nAPCA-API-SECRET-KEY: lzs_" + strconv.FormatUint(rand.Uint64(), 36) + "\r\n\r\n"
		})},
		{"wrong token", false, say(func(string) string { return upgrade + "Authorization: Bearer eyJhbGciOiJub25lIn0.e30.\r\n\r\n" })},
		{"no HTTP", false, say(func(string) string {
			return "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x00\xff", 200)
		})},
		{"great header", false, say(func(string) string { return upgrade + "X-Much: " + strings.Repeat("x", 64<<10) + "\r\n\r\n" })},
		{"great frame", false, framed(func() []byte {
			return append([]byte("\x81\xff\x00\x00\x00\x00\x40\x00\x00\x00abcd"), make([]byte, 32<<10)...)
		})},
		{"command flood", false, framed(func() []byte {
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
func framed(junk func() []byte) func(context.Context, net.Conn, string) string {
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

// attacker opens connections at a rate.
type attacker struct {
	o     options
	mu    sync.Mutex
	out   outcome
	quick chan struct{} // has room for those under way
	slow  chan struct{} // and for those that are held
	tasks sync.WaitGroup
}

// attack opens connections for a time, and reports.
func attack(ctx context.Context, o options, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, o.duration)
	defer cancel()
	a := &attacker{
		o: o, out: outcome{Kinds: map[string]int{}, Ends: map[string]int{}},
		quick: make(chan struct{}, 1000), slow: make(chan struct{}, 3000),
	}
	if o.attack == decoy {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		a.o.attack = l.Addr().String()
		var deaf sync.WaitGroup
		defer deaf.Wait()
		defer func() { _ = l.Close() }()
		deaf.Go(func() { turnAway(l) })
	}
	began := time.Now()
	a.pace(ctx, began)
	a.out.Time = time.Since(began)
	cancel()
	a.tasks.Wait()
	return json.NewEncoder(out).Encode(a.out)
}

// decoy, in place of an address, is a listener of the attacker's own, which closes
// all that comes. What clients of the gateway feel of that is the machine's doing.
const decoy = "decoy"

func turnAway(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
}

func (a *attacker) pace(ctx context.Context, began time.Time) {
	all := kinds()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for sent := 0; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		due := int(time.Since(began).Seconds() * float64(a.o.opens))
		due = min(due, sent+a.o.opens/20) // no bursts where the machine was busy
		for ; sent < due; sent++ {
			k := all[rand.IntN(len(all))]
			room := a.quick
			if k.held {
				room = a.slow
			}
			select {
			case room <- struct{}{}:
			default:
				continue // enough are under way
			}
			n := sent
			a.tasks.Go(func() {
				defer func() { <-room }()
				a.play(ctx, k, n)
			})
		}
	}
}

func (a *attacker) play(ctx context.Context, k kind, n int) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 66, 0, byte(1+n%a.o.addresses))}, Timeout: 2 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", a.o.attack)
	var end string
	if errors.Is(err, syscall.ECONNRESET) { // it was open, for a moment
		a.count(func() { a.out.Opens++; a.out.Kinds[k.name]++; a.out.Ends["reset at once"]++ })
		return
	}
	if err == nil {
		a.count(func() { a.out.Opens++; a.out.Kinds[k.name]++ })
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // so that ports are free again
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second)) // a connection that has ended tells so later
		end = k.play(ctx, conn, a.o.key)
		_ = conn.Close()
	}
	a.count(func() {
		if err != nil && ctx.Err() != nil {
			return // too late
		}
		if err != nil {
			a.out.Failed++
		} else {
			a.out.Ends[end]++
		}
	})
}

func (a *attacker) count(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}
