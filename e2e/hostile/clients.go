package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
)

// The phases of a measurement.
const (
	idle int32 = iota
	peace
	noise // a flood that does not reach the gateway
	war
	phases
)

// fleet are the healthy clients.
type fleet struct {
	phase atomic.Int32
	lost  atomic.Int64
	ended atomic.Bool
	tasks sync.WaitGroup
	all   []*healthy
}

// healthy is a client, and how old prices were when they came to it, in µs.
type healthy struct {
	conn net.Conn
	ages [phases][]int32
}

// from gives the address that the nth client comes from.
func from(n int) net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 1, byte(n>>8), byte(n))} }

func connect(ctx context.Context, g *gateway, n int) (*fleet, error) {
	f := &fleet{}
	names := g.symbols
	for i := range n {
		d := net.Dialer{LocalAddr: from(i + 1), Timeout: 5 * time.Second}
		dial := ws.Dialer{
			NetDial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return d.DialContext(ctx, network, addr)
			},
			Header: ws.HandshakeHeaderHTTP(http.Header{"Apca-Api-Key-Id": {g.key.ID}, "Apca-Api-Secret-Key": {g.key.Secret}}),
		}
		conn, br, _, err := dial.Dial(ctx, "ws://"+g.addr+"/v1/stream?delivery=every&snapshot=false&quotes="+names[i%len(names)])
		if err != nil {
			f.close()
			return nil, fmt.Errorf("client %d: %w", i, err)
		}
		if br == nil {
			br = bufio.NewReaderSize(conn, 4<<10)
		}
		c := &healthy{conn: conn}
		f.all = append(f.all, c)
		f.tasks.Go(func() {
			if err := c.read(br, &f.phase); err != nil && !f.ended.Load() {
				f.lost.Add(1)
			}
		})
	}
	return f, nil
}

func (f *fleet) close() {
	f.ended.Store(true)
	for _, c := range f.all {
		_ = c.conn.Close()
	}
	f.tasks.Wait()
}

// read reads frames, and notes the age of the last event of each.
func (c *healthy) read(br *bufio.Reader, phase *atomic.Int32) error {
	var buf []byte
	for {
		h, err := ws.ReadHeader(br)
		if err != nil {
			return err
		}
		buf = slices.Grow(buf[:0], int(h.Length))[:h.Length]
		if _, err := io.ReadFull(br, buf); err != nil {
			return err
		}
		switch h.OpCode { //nolint:exhaustive // others do not come
		case ws.OpPing:
			if err := ws.WriteFrame(c.conn, ws.MaskFrame(ws.NewPongFrame(buf))); err != nil {
				return err
			}
		case ws.OpClose:
			return io.EOF
		case ws.OpText:
			if at, ok := eventTime(buf); ok {
				p := phase.Load()
				if p != idle {
					c.ages[p] = append(c.ages[p], int32(time.Since(at).Microseconds()))
				}
			}
		}
	}
}

// eventTime gives the time of the last event of a frame of quotes.
func eventTime(frame []byte) (time.Time, bool) {
	if !bytes.HasPrefix(frame, []byte(`[{"T":"q"`)) {
		return time.Time{}, false
	}
	const name = `"t":"`
	i := bytes.LastIndex(frame, []byte(name))
	if i < 0 {
		return time.Time{}, false
	}
	text, _, _ := bytes.Cut(frame[i+len(name):], []byte(`"`))
	at, err := time.Parse(time.RFC3339Nano, string(text))
	return at, err == nil
}

// ages gives all ages of a phase, sorted. The readers go on: what they note for
// other phases is left alone.
func (f *fleet) ages(phase int32) []int32 {
	var all []int32
	for _, c := range f.all {
		all = append(all, c.ages[phase]...)
	}
	slices.Sort(all)
	return all
}
