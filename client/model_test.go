package client_test

import (
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lzstock/lzstock/client"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// model is a feed and its gateways in one: it holds what was published, resumes
// as the protocol says, and can be told to misbehave.
type model struct {
	*fake
	held int // events behind which nothing can be resumed, from the end; 0: all

	mu     sync.Mutex
	epoch  market.Epoch
	q      market.Seq
	log    []published
	conns  []*link
	since  []market.Position // that clients resumed from
	skip   map[market.Topic]bool
	lie    map[market.Topic]bool
	refuse bool          // does not know since
	hold   chan struct{} // new connections wait for it with their answers
}

type published struct {
	epoch market.Epoch
	event market.Event
}

// link is one connection of a model.
type link struct {
	*peer
	topics map[market.Topic]bool
	last   map[market.Topic]market.Seq // sent last
	frozen bool
	over   chan struct{}
}

func newModel(t *testing.T) *model {
	t.Helper()
	m := &model{epoch: 7, q: 1000, skip: map[market.Topic]bool{}, lie: map[market.Topic]bool{}}
	m.fake = newFake(t, m.play)
	return m
}

func (m *model) play(p *peer) error {
	l := &link{peer: p, topics: map[market.Topic]bool{}, last: map[market.Topic]market.Seq{}, over: make(chan struct{})}
	p.mute = true // for whoever writes must hold the lock
	m.mu.Lock()
	hold := m.hold
	m.conns = append(m.conns, l)
	err := p.send(wire.AppendConnected(nil, p.format, &wire.Connected{
		Conn: "c", Epoch: m.epoch, Ping: 20 * time.Second, Limits: wire.Limits{Symbols: 1024, CommandsPerSecond: 10, MessageBytes: 400},
	}))
	m.mu.Unlock()
	m.tasks.Go(func() {
		for {
			select {
			case <-time.After(20 * time.Second):
			case <-l.over:
				return
			}
			m.mu.Lock()
			if !l.frozen {
				_, _ = l.conn.Write(wire.AppendFrame(nil, wire.OpPing, nil))
			}
			m.mu.Unlock()
		}
	})
	defer close(l.over)
	for err == nil {
		var cmd wire.Command
		if cmd, err = p.command(); err == nil {
			if hold != nil {
				<-hold
			}
			m.mu.Lock()
			err = m.command(l, cmd)
			m.mu.Unlock()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conns = slices.DeleteFunc(m.conns, func(x *link) bool { return x == l })
	return err
}

func (m *model) command(l *link, cmd wire.Command) error {
	if l.frozen {
		return nil
	}
	if m.refuse && !cmd.Since.IsZero() {
		return l.send(wire.AppendError(nil, l.format, wire.ErrorMessage{ID: cmd.ID, Code: wire.CodeUnsupportedOption}))
	}
	if err := l.ack(cmd); err != nil {
		return err
	}
	if cmd.Action != wire.Subscribe {
		for _, t := range cmd.Topics {
			delete(l.topics, t)
			delete(l.last, t)
		}
		return nil
	}
	for _, t := range cmd.Topics {
		l.topics[t] = true
	}
	if cmd.Since.IsZero() {
		return m.snapshots(l, cmd.Topics)
	}
	m.since = append(m.since, cmd.Since)
	first := 0
	if m.held > 0 {
		first = max(0, len(m.log)-m.held)
	}
	expired := first > 0 && m.log[first-1].epoch == m.epoch && m.log[first-1].event.Seq > cmd.Since.Seq
	if cmd.Since.Epoch != m.epoch || expired {
		gap := market.Gap{Reason: market.GapExpired, From: cmd.Since, To: market.Position{Epoch: m.epoch, Seq: m.q}}
		if cmd.Since.Epoch != m.epoch {
			gap.Reason = market.GapEpoch
		}
		if err := l.send(wire.AppendGap(nil, l.format, &gap)); err != nil {
			return err
		}
		return m.snapshots(l, cmd.Topics)
	}
	for _, t := range cmd.Topics {
		delete(l.last, t)
	}
	for _, e := range m.log {
		if e.epoch == m.epoch && e.event.Seq <= cmd.Since.Seq && slices.Contains(cmd.Topics, e.event.Topic()) {
			l.last[e.event.Topic()] = e.event.Seq
		}
	}
	var replay []wire.Data
	for _, e := range m.log {
		if e.epoch == m.epoch && e.event.Seq > cmd.Since.Seq && slices.Contains(cmd.Topics, e.event.Topic()) {
			replay = append(replay, l.next(e.event))
		}
	}
	for part := range slices.Chunk(replay, 7) {
		if err := l.data(part...); err != nil {
			return err
		}
	}
	return nil
}

// next gives an event with its pq.
func (l *link) next(e market.Event) wire.Data {
	e.Prev = l.last[e.Topic()]
	l.last[e.Topic()] = e.Seq
	return wire.Data{Event: e}
}

func (m *model) snapshots(l *link, topics []market.Topic) error {
	var out []wire.Data
	for _, t := range topics {
		for _, e := range slices.Backward(m.log) {
			if e.epoch == m.epoch && e.event.Topic() == t {
				l.last[t] = e.event.Seq
				out = append(out, wire.Data{Event: e.event, Snapshot: true})
				break
			}
		}
	}
	slices.SortFunc(out, func(a, b wire.Data) int { return int(a.Seq) - int(b.Seq) })
	if len(out) == 0 {
		return nil
	}
	return l.data(out...)
}

// publish has one event of each topic, in one frame of each connection.
func (m *model) publish(topics ...market.Topic) {
	m.mu.Lock()
	defer m.mu.Unlock()
	from := len(m.log)
	for _, t := range topics {
		m.q += 1 + m.q%3
		e := trade(t.Symbol, m.q, 0).Event
		e.Trade.ID = int64(len(m.log) + 1)
		m.log = append(m.log, published{m.epoch, e})
	}
	for _, l := range m.conns {
		if l.frozen {
			continue
		}
		var out []wire.Data
		for _, e := range m.log[from:] {
			t := e.event.Topic()
			if !l.topics[t] {
				continue
			}
			d := l.next(e.event)
			if m.lie[t] {
				delete(m.lie, t)
				d.Prev += 5
			}
			if m.skip[t] {
				delete(m.skip, t)
				continue // and the next one's pq tells
			}
			out = append(out, d)
		}
		if len(out) > 0 {
			_ = l.data(out...) // the client may be gone
		}
	}
}

// each does something to all connections.
func (m *model) each(f func(l *link)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range slices.Clone(m.conns) {
		f(l)
	}
}

func (m *model) drop() { m.each(func(l *link) { _ = l.conn.Close() }) }

// cut ends connections in the middle of a frame.
func (m *model) cut() {
	m.each(func(l *link) {
		frame := wire.AppendFrame(nil, wire.OpText, []byte(`[{"T":"t","S":"A","p":1`))
		_, _ = l.conn.Write(frame[:len(frame)-3])
		_ = l.conn.Close()
	})
}

func (m *model) end(code uint16) {
	m.each(func(l *link) { _, _ = l.conn.Write(wire.AppendClose(nil, code, "so be it")) })
}

// drain asks to move, and ends what is left at the deadline.
func (m *model) drain(reason wire.Reason, delay, deadline time.Duration) {
	var told []net.Conn
	m.each(func(l *link) {
		_ = l.send(wire.AppendReconnect(nil, l.format, wire.Reconnect{Reason: reason, Delay: delay, Deadline: deadline}))
		told = append(told, l.conn)
	})
	m.tasks.Go(func() {
		time.Sleep(deadline)
		for _, conn := range told {
			_, _ = conn.Write(wire.AppendClose(nil, reason.CloseCode(), reason.Text()))
		}
	})
}

// renumber begins a new epoch, which connections are told of.
func (m *model) renumber() {
	m.mu.Lock()
	from := market.Position{Epoch: m.epoch, Seq: m.q}
	m.epoch, m.q = m.epoch+1, 10
	to := market.Position{Epoch: m.epoch, Seq: m.q}
	m.mu.Unlock()
	m.each(func(l *link) {
		clear(l.last)
		_ = l.send(wire.AppendGap(nil, l.format, &market.Gap{Reason: market.GapEpoch, From: from, To: to}))
	})
}

// reader takes all that a client hands out.
type reader struct {
	mu     sync.Mutex
	events []client.Event
	done   chan struct{}
}

func read(c *client.Client) *reader {
	r := &reader{done: make(chan struct{})}
	go func() {
		defer close(r.done)
		for e, err := range c.Events() {
			if err != nil {
				return
			}
			r.mu.Lock()
			r.events = append(r.events, e)
			r.mu.Unlock()
		}
	}()
	return r
}

// got gives the events so far.
func (r *reader) got() []client.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// compare checks what was handed out against what was published: in order, each
// once, exact, and where something is missing the next event says so. It gives
// the number of events that are marked.
func (m *model) compare(got []client.Event, wanted []market.Topic, fail func(string, ...any)) (broken int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := map[market.Topic]int{} // index in the log of what came last, + 1
	for i, e := range got {
		n := int(e.Trade.ID)
		if n < 1 || n > len(m.log) || m.log[n-1].event.Seq != e.Seq || m.log[n-1].event.Symbol != e.Symbol {
			fail("event %d was never published: %+v", i, e)
			return broken
		}
		t := e.Topic()
		before, seen := at[t]
		if seen && n <= before {
			fail("event %d of %s, number %d, comes after number %d", i, t, n, before)
		}
		if e.Broken {
			broken++
		} else if seen {
			for _, p := range m.log[before : n-1] {
				if p.event.Topic() == t {
					fail("event %d of %s: number %d is missing between %d and %d, and nothing says so", i, t, p.event.Trade.ID, before, n)
				}
			}
		}
		at[t] = n
	}
	last := map[market.Topic]int{}
	for i, p := range m.log {
		last[p.event.Topic()] = i + 1
	}
	for _, t := range wanted {
		if at[t] != last[t] {
			fail("the last event of %s was number %d, want %d", t, at[t], last[t])
		}
	}
	return broken
}
