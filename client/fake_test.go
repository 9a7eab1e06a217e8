package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/lzstock/lzstock/client"
	"github.com/lzstock/lzstock/internal/leak"
	"github.com/lzstock/lzstock/internal/memnet"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

func TestMain(m *testing.M) { leak.Main(m) }

// peer is the gateway's end of one connection, played by a test.
type peer struct {
	conn   net.Conn
	format wire.Format
	pings  int  // pings of the client so far
	mute   bool // does not answer them
	number int  // of the connection, from 1
}

// fake is a gateway in memory that lets play each connection.
type fake struct {
	listener *memnet.Listener
	tasks    sync.WaitGroup

	mu     sync.Mutex
	dialed []time.Time
}

// newFake starts a gateway. Each connection is upgraded and then played; what play
// returns is of no interest, since clients vanish as they like.
func newFake(t *testing.T, play func(p *peer) error) *fake {
	t.Helper()
	return newRawFake(t, func(conn net.Conn, n int) error {
		u := ws.Upgrader{Protocol: func(p []byte) bool { return string(p) == "lzstock.v1.msgpack" }}
		h, err := u.Upgrade(conn)
		if err != nil {
			return err
		}
		p := &peer{conn: conn, format: wire.JSONNative, number: n}
		if h.Protocol != "" {
			p.format = wire.MsgPackNative
		}
		return play(p)
	})
}

func newRawFake(t *testing.T, play func(conn net.Conn, n int) error) *fake {
	t.Helper()
	f := &fake{listener: memnet.Listen()}
	f.tasks.Go(func() {
		for n := 1; ; n++ {
			conn, err := f.listener.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.dialed = append(f.dialed, time.Now())
			f.mu.Unlock()
			f.tasks.Go(func() {
				defer conn.Close()
				_ = play(conn, n)
			})
		}
	})
	t.Cleanup(func() {
		_ = f.listener.Close()
		f.tasks.Wait()
		if c, s := f.listener.Open(); c+s != 0 {
			t.Errorf("%d clients' and %d servers' connections were not closed", c, s)
		}
	})
	return f
}

// attempts gives when the client has dialed.
func (f *fake) attempts() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]time.Time(nil), f.dialed...)
}

func (f *fake) config() client.Config {
	return client.Config{URL: "ws://gateway", NetDial: f.listener.DialContext}
}

func (p *peer) send(payload []byte) error {
	_, err := p.conn.Write(wire.AppendFrame(nil, p.format.Opcode(), payload))
	return err
}

func (p *peer) greet() error {
	return p.send(wire.AppendConnected(nil, p.format, &wire.Connected{
		Conn: fmt.Sprintf("c%d", p.number), Epoch: 7, Ping: 20 * time.Second,
		Limits: wire.Limits{Symbols: 1024, CommandsPerSecond: 10, MessageBytes: 16 << 10},
	}))
}

// data sends events, each with its pq.
func (p *peer) data(events ...wire.Data) error {
	b := wire.BeginArray(nil, p.format)
	for i := range events {
		e := &events[i]
		b = wire.AppendData(b, p.format, wire.AppendEvent(nil, p.format, &e.Event), wire.Tail{Prev: e.Prev, Merged: e.Merged, Snapshot: e.Snapshot})
	}
	return p.send(wire.EndArray(b, p.format, 0, len(events)))
}

func (p *peer) close(r wire.Reason) error {
	if r.Code() != 0 {
		if err := p.send(wire.AppendError(nil, p.format, wire.ErrorMessage{Code: r.Code()})); err != nil {
			return err
		}
	}
	return p.closeWith(r.CloseCode(), r.Text())
}

// closeWith sends a close frame and waits until the client has answered it.
func (p *peer) closeWith(code uint16, text string) error {
	if _, err := p.conn.Write(wire.AppendClose(nil, code, text)); err != nil {
		return err
	}
	for {
		if _, err := p.command(); err != nil {
			return err
		}
	}
}

var errClosedByClient = errors.New("the client sent a close frame")

// command reads the client's next command. It answers pings, and close frames.
func (p *peer) command() (wire.Command, error) {
	for {
		h, err := ws.ReadHeader(p.conn)
		if err != nil {
			return wire.Command{}, err
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(p.conn, payload); err != nil {
			return wire.Command{}, err
		}
		if !h.Masked {
			return wire.Command{}, errors.New("a frame without a mask")
		}
		ws.Cipher(payload, h.Mask, 0)
		switch h.OpCode {
		case ws.OpPing:
			p.pings++
			if p.mute {
				continue
			}
			if _, err := p.conn.Write(wire.AppendFrame(nil, wire.OpPong, payload)); err != nil {
				return wire.Command{}, err
			}
		case ws.OpPong:
		case ws.OpClose:
			_, _ = p.conn.Write(wire.AppendFrame(nil, wire.OpClose, payload))
			return wire.Command{}, errClosedByClient
		default:
			return wire.ParseCommand(p.format, payload)
		}
	}
}

// ack answers a command with what it asked for.
func (p *peer) ack(cmd wire.Command) error {
	m := wire.Subscription{ID: cmd.ID, Delivery: cmd.Delivery}
	for _, t := range cmd.Topics {
		m.Symbols[t.Channel] = append(m.Symbols[t.Channel], t.Symbol)
	}
	return p.send(wire.AppendSubscription(nil, p.format, &m))
}

// serve acknowledges commands until the client goes.
func (p *peer) serve() error {
	for {
		cmd, err := p.command()
		if err != nil {
			return err
		}
		if err := p.ack(cmd); err != nil {
			return err
		}
	}
}

func trade(symbol market.Symbol, seq, prev market.Seq) wire.Data {
	return wire.Data{Event: market.Event{
		Seq: seq, Prev: prev, Channel: market.Trades, Symbol: symbol,
		Trade: &market.Trade{ID: int64(seq), Price: market.Price(seq) * market.Scale / 100, Size: market.Scale, Time: time.Unix(1_700_000_000, 0).UTC(), Exchange: "SIM"},
	}}
}

// day gives a context that ends where a test hangs.
func day(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
	t.Cleanup(cancel)
	return ctx
}

// take reads n events.
func take(t *testing.T, c *client.Client, n int) []client.Event {
	t.Helper()
	var out []client.Event
	for e, err := range c.Events() {
		if err != nil {
			t.Fatalf("after %d events: %v", len(out), err)
		}
		if out = append(out, e); len(out) == n {
			return out
		}
	}
	t.Fatalf("the client ended after %d events, want %d", len(out), n)
	return nil
}
func wireSeq(i int) market.Seq { return market.Seq(i) }

func feedDown() market.Feed {
	return market.Feed{State: market.FeedDown, Since: time.Unix(1_700_000_000, 0).UTC()}
}
