package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// Handler speaks the protocol for one client. Its methods are called one at a
// time.
type Handler interface {
	// Open is called first, when the bridge has joined the hub.
	Open(ctx context.Context, b *Bridge) error
	// Message is called for each text or binary message. An error that holds an
	// *End ends the bridge for its reason, any other for wire.Internal.
	Message(ctx context.Context, b *Bridge, m Message) error
	// Close is called last, when the connection is closed and nothing is left of
	// the bridge.
	Close(end *End)
}

// Options are what one bridge has of its own.
type Options struct {
	Hub       *hub.Hub // where its events come from; nil means the factory's
	ID        string   // names the connection in logs, and to the client where something failed here
	Greeting  []byte   // the first message, ahead of anything that the hub has to say
	Format    wire.Format
	Framing   wire.Framing
	Anonymous bool   // it is not known who the client is: until Admit it is told no position
	Head      []byte // what goes ahead of all messages: the answer over HTTP
	Mailbox   mailbox.Options
	Interval  time.Duration // least time between two frames of data; 0: none
	Heartbeat time.Duration // 0 means Config.HeartbeatEvery
	MaxAge    time.Duration // 0 means Config.MaxAge
}

// End says how a bridge ended: the reason, and the error behind it where there is
// one.
type End struct { //nolint:errname // a clean end is one, too
	Reason wire.Reason
	Err    error
}

func (e *End) Error() string {
	if e.Err == nil {
		return e.Reason.String()
	}
	return fmt.Sprintf("%s: %v", e.Reason, e.Err)
}

func (e *End) Unwrap() error { return e.Err }

// Bridge is one client's connection to the hub. It costs no goroutine while it
// runs, other than what its connection needs to read, and no context of its own:
// all that is the bridge's ends through Stop.
type Bridge struct {
	factory *Factory
	conn    Conn
	handler Handler
	ctx     context.Context //nolint:containedctx // bounds what the bridge waits for in the hub; all bridges' together
	member  atomic.Pointer[hub.Member]
	id      string
	born    time.Time

	end     atomic.Pointer[End] // the first reason
	moving  sync.Mutex          // held while the bridge joins or changes its hub; the farewell waits for that
	joined  bool                // the hub knows the member
	torn    bool                // a frame was left unfinished: nothing may follow it
	silent  bool                // nothing comes from the peer any more; the reader's
	flooded bool                // Flooded was called; the reader's
	order   atomic.Uint32       // milliseconds in which the bridge is to end because of a drain; 0: none
	helpers sync.WaitGroup
	heard   atomic.Int64   // when the peer was heard last, in nanoseconds since born
	talking sync.WaitGroup // until nothing comes from the peer any more

	writer // owned by the shard
}

// Start runs a bridge on a connection and returns when it has begun. Waits for
// the hub end with ctx, which lives longer than the bridge: Stop ends that.
func (f *Factory) Start(ctx context.Context, conn Conn, handler Handler, opts Options) {
	b := &Bridge{
		factory: f, conn: conn, handler: handler, ctx: ctx, id: opts.ID, born: time.Now(),
	}
	f.live.Add(1)
	b.talking.Add(1)
	b.initWriter(opts)
	f.stats.opened(b.framing, 1)
	b.moving.Lock() // the hub may fail the member, at its end, before it says so here
	err := b.join(ctx, cmp.Or(opts.Hub, f.hub), opts.Mailbox)
	b.joined = err == nil
	b.moving.Unlock()
	if err != nil {
		b.Stop(wire.GoingAway, err)
	}
	f.add(b) // the farewell waits for the connection's end, which Start brings: it cannot be over before
	if b.end.Load() == nil {
		b.Run(func() error { return handler.Open(ctx, b) })
	}
	b.Run(func() error {
		conn.Start((*inbox)(b))
		return nil
	})
}

func (b *Bridge) join(ctx context.Context, h *hub.Hub, opts mailbox.Options) error {
	b.late = h != b.factory.hub
	m := h.NewMember((*sink)(b), opts)
	b.member.Store(m) // before the shard's first call, which may need it
	return m.Join(ctx)
}

// Move has the bridge get its events from another hub. It waits for what is being
// written, so it is not for the goroutine that reads from connections. What the
// bridge was subscribed to is gone, and so is what was sent to the lane meanwhile
// by others than the caller.
func (b *Bridge) Move(ctx context.Context, to *hub.Hub, opts mailbox.Options) error {
	b.moving.Lock()
	defer b.moving.Unlock()
	if b.end.Load() != nil {
		return nil
	}
	b.Member().Leave()
	b.helpers.Wait()
	b.busy = false // the shard that knows better is not asked any more
	if err := b.join(ctx, to, opts); err != nil {
		b.joined = false
		return err
	}
	return nil
}

// Stop ends the bridge. The first call's reason is the one that counts. It does
// not wait.
func (b *Bridge) Stop(reason wire.Reason, err error) {
	if b.end.CompareAndSwap(nil, &End{Reason: reason, Err: err}) {
		b.factory.stats.ended(reason)
		b.factory.live.Go(b.farewell)
	}
}

// Member gives the bridge's place in the hub, for subscribing.
func (b *Bridge) Member() *hub.Member { return b.member.Load() }

// Send puts a message of control into the lane: it goes out ahead of data that
// waits, in the order of Send.
func (b *Bridge) Send(ctx context.Context, payload []byte) error {
	return b.Member().Do(ctx, func(time.Time) { b.control(payload) })
}

// Admit is Send for the message that says that the client is known now. From then on
// it is told positions.
func (b *Bridge) Admit(ctx context.Context, payload []byte) error {
	return b.Member().Do(ctx, func(time.Time) {
		b.anonymous = false
		b.control(payload)
	})
}

// SendNow is Send for callers on the shard's goroutine, such as the functions
// that Subscribe runs there.
func (b *Bridge) SendNow(payload []byte) { b.control(payload) }

// SetDelivery changes mode and interval.
func (b *Bridge) SetDelivery(ctx context.Context, opts mailbox.Options, interval time.Duration) error {
	if err := b.Member().Do(ctx, func(time.Time) { b.interval = interval }); err != nil {
		return err
	}
	return b.Member().SetMode(ctx, opts)
}

// SetHeartbeat changes how often in-band heartbeats are sent.
func (b *Bridge) SetHeartbeat(ctx context.Context, every time.Duration) error {
	return b.Member().Do(ctx, func(now time.Time) { b.heartbeat, b.heartbeatAt = every, now.Sub(b.born)+every })
}

// inbox is the bridge as its connection sees it.
type inbox Bridge

// Message takes what the peer sends, after a stop too: the peer's answer to our
// close frame is waited for.
func (in *inbox) Message(m Message) {
	b := (*Bridge)(in)
	b.heard.Store(int64(time.Since(b.born)))
	switch m.Op {
	case wire.OpPong:
	case wire.OpPing:
		payload := append([]byte(nil), m.Payload...)
		_ = b.Member().Do(b.ctx, func(time.Time) { b.ahead(wire.OpPong, payload, market.Position{}) }) // an error: the bridge ends already
	case wire.OpClose:
		b.Stop(wire.ClientClosed, nil)
		b.silence()
	default:
		if b.end.Load() == nil {
			b.Run(func() error { return b.handler.Message(b.ctx, b, m) })
		}
	}
}

// Broken ends the bridge for what the peer did.
func (in *inbox) Broken(end *End) { (*Bridge)(in).Stop(end.Reason, end.Err) }

// Flooded closes the connection at once.
func (in *inbox) Flooded() {
	b := (*Bridge)(in)
	if !b.flooded {
		b.flooded = true
		b.factory.live.Go(func() { _ = b.conn.Close() }) // it waits for the reader, which is the caller
	}
}

// End is the connection's last word.
func (in *inbox) End(err error) {
	b := (*Bridge)(in)
	b.Stop(wire.ClientGone, err)
	b.silence()
}

// silence says that nothing is waited for from the peer. Message and End do not
// run beside one another.
func (b *Bridge) silence() {
	if !b.silent {
		b.silent = true
		b.talking.Done()
	}
}

// Run runs the handler's code, also what it does on goroutines of its own: an
// error or a panic ends this bridge alone.
func (b *Bridge) Run(f func() error) {
	defer func() {
		if r := recover(); r != nil {
			b.Stop(wire.Internal, &hub.PanicError{Value: r, Stack: debug.Stack()})
		}
	}()
	err := f()
	var end *End
	switch {
	case err == nil, b.end.Load() != nil:
	case errors.As(err, &end):
		b.Stop(end.Reason, end.Err)
	case errors.Is(err, hub.ErrClosed):
		b.Stop(wire.GoingAway, err)
	default:
		b.Stop(wire.Internal, err)
	}
}

// farewell runs once, when the bridge has been stopped for whatever reason: it
// makes the shard let go, says goodbye, waits for the peer's answer and closes
// the connection.
func (b *Bridge) farewell() {
	reason := b.end.Load().Reason
	if reason == wire.ClientGone {
		_ = b.conn.Close()
	}
	limit := time.AfterFunc(b.factory.cfg.CloseWait, func() { _ = b.conn.Close() })
	defer limit.Stop()
	b.moving.Lock()
	if b.joined {
		b.Member().Leave()
	}
	b.moving.Unlock()
	b.helpers.Wait()
	switch {
	case reason == wire.ClientGone:
	case b.torn: // whatever came now would stand inside a frame
		_ = b.conn.Close()
	default:
		rest, err := b.conn.Offer(b.goodbye(reason))
		if err == nil && len(rest) > 0 {
			_, err = b.conn.Push(rest, b.factory.cfg.CloseWait)
		}
		if err != nil {
			_ = b.conn.Close()
		}
	}
	if b.framing == wire.EventStream { // its end is the connection's: no answer is to come
		_ = b.conn.Close()
	}
	b.talking.Wait()
	_ = b.conn.Close()
	b.factory.stats.opened(b.framing, -1)
	b.factory.remove(b)
	b.handler.Close(b.end.Load())
	b.factory.live.Done()
}

// goodbye gives what is left in the lane, the in-band message and the close frame
// of a reason. The shard has let go by then.
func (b *Bridge) goodbye(reason wire.Reason) []byte {
	frames := b.lane
	if code := reason.Code(); code != 0 {
		m := wire.ErrorMessage{Code: code}
		if reason == wire.Internal { // its text is for the log alone
			m.Detail = "connection " + b.id
		}
		frames = b.frame(frames, b.format.Opcode(), wire.AppendError(nil, b.format, m), market.Position{})
	}
	return b.parting(frames, reason)
}

// push finishes what the connection did not take at once. It runs in a helper,
// the bridge's one writer until it reports.
//
// What is given up before anything of it was taken tears no frame, since a buffer
// holds whole ones; a connection that cannot go on all the same says so itself.
func (b *Bridge) push(buf *[]byte, rest []byte) {
	defer b.factory.release(buf)
	all := len(*buf)
	for len(rest) > 0 {
		left, err := b.conn.Push(rest, b.factory.cfg.WriteStall)
		progress := len(left) < len(rest)
		rest = left
		switch {
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded):
			b.torn = len(rest) < all
			b.Stop(wire.ClientGone, err)
			return
		case !progress:
			b.torn = len(rest) < all
			b.Stop(wire.WriteStalled, err)
			return
		}
	}
	_ = b.Member().Do(b.ctx, func(time.Time) { b.busy = false }) // an error: the hub has ended, and tells the bridge
}
