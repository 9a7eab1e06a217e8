// Command floor does nothing but the writes: bytes that were encoded once go to
// each socket by a bare net.Conn.Write, one for each event, or (-coalesce) one for
// all that wait. Nothing is buffered for a client, nothing is done about one that
// is slow, nobody is told anything. No gateway can cost less for the same writes.
// It is here to be compared with.
package main

import (
	"context"
	"flag"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync/atomic"

	"github.com/gobwas/ws"
	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/marketpb"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"

	"github.com/lzstock/lzstock/bench/internal/serve"
)

func main() {
	b := serve.Flags()
	coalesce := flag.Bool("coalesce", false, "write all that waits at once")
	flag.Parse()
	f := &floor{b: b}
	tasks := []func(context.Context) error{f.read}
	for range runtime.GOMAXPROCS(0) {
		w := &writer{
			in: make(chan work, inbox), coalesce: *coalesce,
			sockets: map[market.Topic]map[*socket]struct{}{}, last: map[market.Topic]ready{},
		}
		f.writers = append(f.writers, w)
		tasks = append(tasks, w.run)
	}
	os.Exit(b.Main(f, tasks...))
}

const inbox = 256

// floor hands events and sockets to its writers.
type floor struct {
	b       *serve.Baseline
	writers []*writer
	next    atomic.Uint64
}

// ready is an event whose bytes are made.
type ready struct {
	topic market.Topic
	body  []byte // as a snapshot needs it
	item  []byte // as an element of an array
	frame []byte // as a frame of its own
}

// work is one thing for a writer: events, a socket that joins, or one that left.
type work struct {
	events []ready
	join   *socket
	left   *socket
}

type socket struct {
	conn   net.Conn
	topics []market.Topic
	buf    []byte // of a write that coalesces
}

// read takes all events from the monitor, and encodes each once.
func (f *floor) read(ctx context.Context) error {
	stream, err := f.b.Client.Watch(ctx)
	if err != nil {
		return err
	}
	all := []string{string(market.AllSymbols)}
	if err := stream.Send(&pb.WatchRequest{Add: []*pb.Topics{
		{Channel: pb.Channel_CHANNEL_TRADES, Symbols: all}, {Channel: pb.Channel_CHANNEL_QUOTES, Symbols: all},
	}}); err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		list := append(m.GetSnapshots().GetEvents(), m.GetBatch().GetEvents()...)
		if len(list) == 0 {
			continue
		}
		events, err := encode(list)
		if err != nil {
			return err
		}
		for _, w := range f.writers {
			select {
			case w.in <- work{events: events}:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

func encode(list []*pb.Event) ([]ready, error) {
	events, err := marketpb.FromEvents(list)
	if err != nil {
		return nil, err
	}
	out := make([]ready, len(events))
	for i := range events {
		e := &events[i]
		body := wire.AppendEvent(nil, wire.JSONNative, e)
		item := wire.AppendData(nil, wire.JSONNative, body, wire.Tail{Prev: e.Prev, Merged: e.Merged})
		out[i] = ready{topic: e.Topic(), body: body, item: item, frame: frameOf(item)}
	}
	return out, nil
}

func frameOf(item []byte) []byte {
	payload := append(append([]byte{'['}, item...), ']')
	return wire.AppendFrame(nil, wire.OpText, payload)
}

// ServeHTTP gives a socket to a writer, and waits until the client has left.
func (f *floor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var topics []market.Topic
	list, err := marketpb.FromTopics(serve.Topics(r))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	topics = list
	conn, _, _, err := ws.UpgradeHTTP(r, w)
	if err != nil {
		return // it has answered
	}
	f.b.Open.Add(1)
	defer f.b.Open.Add(-1)
	defer conn.Close()
	s := &socket{conn: conn, topics: topics}
	own := f.writers[f.next.Add(1)%uint64(len(f.writers))]
	own.in <- work{join: s}
	var one [1]byte // a client that says something is leaving
	_, _ = io.ReadFull(conn, one[:])
	_ = conn.Close() // frees the writer, where it waits for this socket
	own.in <- work{left: s}
}

// writer writes to a share of the sockets.
type writer struct {
	in       chan work
	coalesce bool
	sockets  map[market.Topic]map[*socket]struct{}
	last     map[market.Topic]ready
	dirty    []*socket
}

func (w *writer) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case x := <-w.in:
			w.do(x)
		}
		for n := len(w.in); n > 0 && w.coalesce; n-- {
			w.do(<-w.in)
		}
		for _, s := range w.dirty {
			s.flush()
		}
		w.dirty = w.dirty[:0]
	}
}

func (w *writer) do(x work) {
	switch {
	case x.join != nil:
		w.join(x.join)
	case x.left != nil:
		for _, t := range x.left.topics {
			delete(w.sockets[t], x.left)
		}
	}
	for i := range x.events {
		e := &x.events[i]
		w.last[e.topic] = *e
		for s := range w.sockets[e.topic] {
			if !w.coalesce {
				_, _ = s.conn.Write(e.frame) // who has gone is taken out by its reader
				continue
			}
			if len(s.buf) == 0 {
				var room [wire.MaxHeader]byte
				s.buf = append(append(s.buf, room[:]...), '[')
				w.dirty = append(w.dirty, s)
			} else {
				s.buf = append(s.buf, ',')
			}
			s.buf = append(s.buf, e.item...)
		}
	}
}

// join sends the current values, so that the chain of positions has a beginning.
func (w *writer) join(s *socket) {
	for _, t := range s.topics {
		if w.sockets[t] == nil {
			w.sockets[t] = map[*socket]struct{}{}
		}
		w.sockets[t][s] = struct{}{}
		if e, ok := w.last[t]; ok {
			s.flush()
			item := wire.AppendData(nil, wire.JSONNative, e.body, wire.Tail{Snapshot: true})
			_, _ = s.conn.Write(frameOf(item)) // as above
		}
	}
}

// flush writes what has gathered as one frame.
func (s *socket) flush() {
	if len(s.buf) == 0 {
		return
	}
	s.buf = append(s.buf, ']')
	start := wire.PutFrameHeader(s.buf, wire.OpText, len(s.buf)-wire.MaxHeader)
	_, _ = s.conn.Write(s.buf[start:]) // as above
	s.buf = s.buf[:0]
}
