package bridge

import (
	"cmp"
	"errors"
	"math"
	"time"

	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// writer is the part of a bridge that its shard owns. Times are the bridge's age.
type writer struct {
	lane      []byte // frames that ride ahead of data
	format    wire.Format
	framing   wire.Framing
	busy      bool        // a helper writes
	throttled bool        // what the client was told
	begun     bool        // data was sent
	late      bool        // the hub shows prices late, so that their age says nothing
	sure      bool        // of an event stream: what was sent last is where to resume
	ordered   bool        // order was seen
	told      bool        // the client was told to move
	anonymous bool        // the client must not know any position
	why       wire.Reason // for which it ends at endAt
	made      uint32      // frames in what is offered next
	bytes     uint64      // offered to the connection
	sent      time.Duration
	interval  time.Duration // least time between two frames of data
	endAt     time.Duration // 0: never
	last      market.Seq    // everything up to here was sent
	epoch     market.Epoch  // of an event stream: that of its positions

	pingAt      time.Duration
	heartbeat   time.Duration // time between two
	heartbeatAt time.Duration
	downAt      time.Duration // when a feed that is down ends the bridge; 0: it is not down
}

func (b *Bridge) initWriter(opts Options) {
	cfg := &b.factory.cfg
	b.format, b.interval, b.heartbeat = opts.Format, opts.Interval, cmp.Or(opts.Heartbeat, cfg.HeartbeatEvery)
	b.pingAt, b.heartbeatAt = cfg.PingEvery, b.heartbeat
	b.endAt, b.why = cmp.Or(opts.MaxAge, cfg.MaxAge), wire.MaxAge
	b.anonymous = opts.Anonymous
	b.framing, b.lane = opts.Framing, append(b.lane, opts.Head...)
	if len(opts.Greeting) > 0 {
		b.control(opts.Greeting)
	}
}

// sink is the bridge as its shard sees it.
type sink Bridge

// Flush writes what waits, the lane first, as far as the connection takes it
// without waiting. Of data it writes once: where more waits, it asks for the next
// call at once, so that others come in between.
func (s *sink) Flush(box *mailbox.Mailbox, now time.Time) time.Time {
	b := (*Bridge)(s)
	age := now.Sub(b.born)
	b.settle()
	wake := b.live(box, age)
	for !b.busy && b.end.Load() == nil {
		due := b.dataAt(age)
		data := !box.Empty() && due <= age
		if !data && !box.Empty() {
			wake = min(wake, due)
		}
		if !data && len(b.lane) == 0 {
			break
		}
		b.writeOut(box, age, data)
		if data && !b.busy && !box.Empty() {
			wake = min(wake, max(age, b.dataAt(age)))
			break
		}
	}
	return b.born.Add(wake)
}

// dataAt gives the earliest age for the next frame of data.
func (b *Bridge) dataAt(age time.Duration) time.Duration {
	if b.interval == 0 || !b.begun {
		return age
	}
	return b.sent + b.interval
}

// live does what time asks for and returns when it asks again.
func (b *Bridge) live(box *mailbox.Mailbox, age time.Duration) time.Duration {
	cfg := &b.factory.cfg
	wake := time.Duration(math.MaxInt64)
	limit := func(at time.Duration, reason wire.Reason) {
		if at <= age {
			b.Stop(reason, nil)
		}
		wake = min(wake, at)
	}
	if b.framing == wire.WebSocket { // who reads an event stream has nothing to say
		limit(time.Duration(b.heard.Load())+cfg.PeerTimeout, wire.PeerSilent)
	}
	if at := b.depart(box, age); at > 0 {
		wake = min(wake, at)
	}
	if b.endAt > 0 {
		limit(b.endAt, b.why)
	}
	if b.downAt > 0 {
		limit(b.downAt, wire.UpstreamDown)
	}
	if oldest := box.Oldest(); !oldest.IsZero() {
		limit(oldest.Sub(b.born)+cfg.QueueAge+b.interval, wire.SlowConsumer)
	}
	if b.pingAt <= age {
		b.ahead(wire.OpPing, nil, market.Position{})
		b.pingAt = age + cfg.PingEvery
	}
	wake = min(wake, b.pingAt)
	if !b.format.Native() {
		return wake
	}
	if b.heartbeatAt <= age {
		b.heartbeatAt = age + b.heartbeat
		if box.Empty() && !b.busy {
			through := box.Through()
			if b.anonymous {
				through = 0
			}
			beat := wire.AppendHeartbeat(nil, b.format, wire.Heartbeat{Time: b.born.Add(age), Seq: through})
			b.ahead(b.format.Opcode(), beat, b.place(box, through))
		} else {
			b.factory.stats.shed.Add(1)
		}
	}
	return min(wake, b.heartbeatAt)
}

// writeOut makes one buffer of the lane and, where asked for, of the data that
// waits, and offers it to the connection once.
func (b *Bridge) writeOut(box *mailbox.Mailbox, age time.Duration, data bool) {
	buf := b.factory.buffers.Get().(*[]byte)
	out := append((*buf)[:0], b.lane...)
	b.lane = nil // an idle bridge holds none
	var last *market.Event
	if data {
		out, last = b.frames(out, box)
		b.sent, b.begun = age, true
	}
	*buf = out
	rest, err := b.conn.Offer(out)
	if n := b.factory.stats.writes.Add(1); n%ageEvery == 1 && last != nil && !b.late {
		b.factory.stats.took(time.Since(last.Time()))
	}
	b.factory.stats.bytes.Add(uint64(len(out)))
	b.factory.stats.frames.Add(uint64(b.made))
	b.bytes, b.made = b.bytes+uint64(len(out)), 0
	switch {
	case err != nil:
		b.Stop(wire.ClientGone, err)
		b.factory.release(buf)
	case len(rest) == 0:
		b.factory.release(buf)
	default:
		b.busy = true
		b.factory.stats.helpers.Add(1)
		b.helpers.Go(func() { b.push(buf, rest) })
	}
}

// frames appends what waits in the mailbox: one frame of snapshots, and once none is
// left one of events, both ascending. Frames end at FrameLimit, but not between equal
// positions. It gives the last trade or quote among the events.
func (b *Bridge) frames(out []byte, box *mailbox.Mailbox) ([]byte, *market.Event) {
	out = b.throttle(out, box)
	start := len(out)
	out, _, _ = b.array(out, box.PeekSnapshot, box.NextSnapshot)
	out = b.identify(out, box, start, b.reached(box, 0))
	if _, waits := box.PeekSnapshot(); waits {
		return out, nil
	}
	var newest *market.Event
	for more := true; more; more = box.Conflating() && !box.Empty() { // it asks to be emptied
		start = len(out)
		var last market.Seq
		var e *market.Event
		if out, last, e = b.array(out, box.Peek, box.Next); e != nil {
			newest = e
		}
		b.last = b.reached(box, max(b.last, last))
		out = b.identify(out, box, start, max(b.last, last))
	}
	return b.throttle(out, box), newest
}

// array appends a frame of what next gives, and gives the last position in it, and
// the last trade or quote.
func (b *Bridge) array(out []byte, peek func() (market.Seq, bool), next func() (mailbox.Delivery, bool)) (
	_ []byte, last market.Seq, newest *market.Event,
) {
	start, n := len(out), 0
	out = b.begin(out)
	for {
		if seq, ok := peek(); !ok || (len(out)-start >= b.factory.cfg.FrameLimit && seq != last) {
			break
		}
		d, ok := next() // also where nothing is left: that ends conflation
		if !ok {
			break
		}
		out = wire.AppendData(out, b.format, d.Item.Body(int(b.format)), wire.Tail{Prev: d.Prev, Merged: d.Merged, Snapshot: d.Snapshot})
		e := d.Item.Event()
		if last = e.Seq; !e.Channel.IsBar() {
			newest = e
		}
		n++
	}
	return b.complete(out, start, n), last, newest
}

// throttle tells the client where conflation has begun or ended.
func (b *Bridge) throttle(out []byte, box *mailbox.Mailbox) []byte {
	if on := box.Throttled(); on != b.throttled && b.format.Native() {
		b.throttled = on
		out = b.frame(out, b.format.Opcode(), wire.AppendThrottle(nil, b.format, on), market.Position{})
	}
	return out
}

// control puts a message of control into the lane.
func (b *Bridge) control(payload []byte) { b.ahead(b.format.Opcode(), payload, market.Position{}) }

// ahead puts a frame into the lane. at is where a client that has it may resume.
func (b *Bridge) ahead(op wire.Opcode, payload []byte, at market.Position) {
	b.lane = b.frame(b.lane, op, payload, at)
	if len(b.lane) > b.factory.cfg.LaneLimit {
		b.Stop(wire.SlowConsumer, errors.New("too many answers wait for the client"))
	}
}

// Announce tells the client what concerns more than one topic. Strict dialects
// have no words for it.
func (s *sink) Announce(n hub.Notice) {
	b := (*Bridge)(s)
	f := b.format
	switch {
	case n.Feed != nil:
		limit := b.factory.cfg.DownLimit
		switch {
		case n.Feed.State != market.FeedDown:
			b.downAt = 0
		case limit > 0 && b.downAt == 0: // what is told again goes on
			b.downAt = time.Since(b.born) + limit
		}
		if f.Native() {
			b.control(wire.AppendFeed(nil, f, *n.Feed))
		}
	case n.Gap != nil && f.Native():
		b.control(wire.AppendGap(nil, f, n.Gap))
	}
}

// Fail ends the bridge when the hub has let go of it.
func (s *sink) Fail(err error) {
	b := (*Bridge)(s)
	var p *hub.PanicError
	switch {
	case errors.Is(err, mailbox.ErrOverflow):
		b.Stop(wire.SlowConsumer, err)
	case errors.Is(err, mailbox.ErrMerged):
		b.Stop(wire.FeedMerged, err)
	case errors.As(err, &p):
		b.Stop(wire.Internal, err)
	default:
		b.Stop(wire.GoingAway, err)
	}
}
