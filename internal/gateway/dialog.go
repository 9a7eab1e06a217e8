package gateway

import (
	"cmp"
	"context"
	crand "crypto/rand"
	"errors"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/internal/session"
	"github.com/lzstock/lzstock/internal/wire"
)

// abuse is how many refused commands in a row end a socket.
const abuse = 20

// queue is how many messages of a client may wait while one of them takes long.
const queue = 32

// dialog speaks the client protocol on one socket. What it does for the client it
// does in turns.
//
// There are as many as sockets, nearly all of them silent: what few need is behind
// a pointer, and flags stand together.
type dialog struct {
	g       *Gateway
	bridge  *bridge.Bridge
	id      string // of the connection
	address netip.Addr

	turn      turn
	who       *session.Identity   // nil: it is not known yet
	held      *session.Attachment // nil: there is no session
	limiter   *rate.Limiter       // of commands; made with the first
	first     *wire.Command       // from the query or the session: subscribed at once, and forgotten; nil: nothing
	topics    topics
	paid      time.Duration // when all that it subscribed to is paid for, in the gateway's life; see charge
	interval  time.Duration
	heartbeat time.Duration // that the client asked for; 0: it did not
	format    wire.Format
	delivery  wire.Delivery
	lost      session.Cause // why the session was lost before the bridge began; 0: it was not
	refused   uint8         // commands in a row
	greeted   bool          // the client was told that it is in
	over      bool          // Close has been called
	unsaved   bool          // the session does not know what the client is subscribed to

	closed bool // no timer may start; guarded by mu
	mu     sync.Mutex
	timer  *timer // guarded by mu; nil: there is nothing to wait for
}

// timer runs until the client has said who it is, or until its credentials expire.
type timer struct {
	*time.Timer
	expires time.Time
}

func (g *Gateway) newDialog(f wire.Format, first *wire.Command) *dialog {
	d := &dialog{g: g, id: strings.Clone(crand.Text()[:12]), format: f, delivery: wire.Adaptive}
	d.want(first)
	return d
}

// want notes what the client is to be subscribed to at once.
func (d *dialog) want(first *wire.Command) {
	d.apply(first.Options)
	if len(first.Topics) > 0 || !first.Since.IsZero() {
		d.first = first
	}
}

// command reads what the client asks for in its URL. The strict dialects subscribe
// by message alone, as Alpaca's do.
func (g *Gateway) command(f wire.Format, query url.Values) (*wire.Command, error) {
	if !f.Native() {
		return &wire.Command{}, nil
	}
	cmd, err := wire.ParseQuery(query)
	if err != nil {
		return nil, err
	}
	return &cmd, nil
}

// symbolLimit gives how many symbols the client may have.
func (d *dialog) symbolLimit() int {
	if d.who == nil {
		return d.g.cfg.Symbols
	}
	return cmp.Or(d.who.Grant.Limits.Symbols, d.g.cfg.Symbols)
}

func tooManySymbols(n, limit int) error {
	return errors.New("symbols: " + strconv.Itoa(n) + ", but a socket may have at most " + strconv.Itoa(limit))
}

// apply takes options over and reports whether the delivery changed.
func (d *dialog) apply(o wire.Options) bool {
	delivery, interval := cmp.Or(o.Delivery, d.delivery), d.interval
	if o.Interval != nil {
		interval = *o.Interval
	}
	if delivery != wire.Latest {
		interval = 0
	}
	d.heartbeat = cmp.Or(o.Heartbeat, d.heartbeat)
	changed := delivery != d.delivery || interval != d.interval
	d.delivery, d.interval = delivery, interval
	return changed
}

// options gives what the bridge begins with. head is that of the answer over HTTP.
func (d *dialog) options(framing wire.Framing, head []byte) bridge.Options {
	cfg, common := &d.g.cfg, d.g.bridges.Config()
	limits := wire.Limits{Symbols: d.symbolLimit(), CommandsPerSecond: cfg.CommandRate, MessageBytes: cfg.MessageBytes}
	age := around(common.MaxAge)
	hello := wire.Connected{
		Conn: d.id, Epoch: d.g.epochOf(d.who), Ping: common.PingEvery, MaxAge: age, Limits: limits,
	}
	return bridge.Options{
		Hub: d.g.hubOf(d.who), ID: d.id, Anonymous: d.who == nil, Greeting: wire.AppendConnected(nil, d.format, &hello),
		Format: d.format, Framing: framing, Head: head, Mailbox: d.mailbox(), Interval: d.interval, Heartbeat: d.heartbeat, MaxAge: age,
	}
}

// around draws a time up to a fifth longer or shorter, so that sockets that began
// together do not end together.
func around(d time.Duration) time.Duration { return d - d/5 + rand.N(d/5*2+1) }

func (d *dialog) mailbox() mailbox.Options {
	switch d.delivery {
	case wire.Every:
		return mailbox.Options{Mode: mailbox.Every, Limit: d.g.cfg.EveryQ}
	case wire.Latest:
		return mailbox.Options{Mode: mailbox.Latest}
	case wire.Adaptive:
	}
	return mailbox.Options{Mode: mailbox.Adaptive, Limit: d.g.cfg.AdaptiveQ}
}

// Open lets in who is known already, and waits for the others to say who they are.
func (d *dialog) Open(ctx context.Context, b *bridge.Bridge) error {
	d.turn.do(func() bool {
		if d.bridge = b; d.lost != 0 {
			b.Stop(reasonOf(d.lost), nil)
		}
		return false
	})
	if d.who == nil || (d.who.Method == session.Open && !d.format.Native()) {
		d.await()
		return nil
	}
	d.turn.do(func() bool {
		b.Run(func() error { return d.open(ctx) })
		return false
	})
	return nil
}

func (d *dialog) open(ctx context.Context) error {
	if err := d.enter(ctx); err != nil {
		return err
	}
	if d.who.Method != session.Open {
		if err := d.bridge.Send(ctx, wire.AppendAuthenticated(nil, d.format)); err != nil {
			return err
		}
		d.greeted = true
	}
	return d.begin(ctx)
}

// begin subscribes to what the client asked for before it was let in.
func (d *dialog) begin(ctx context.Context) error {
	if d.first == nil {
		return nil
	}
	first := *d.first
	d.first = nil
	err := d.subscribe(ctx, first)
	d.unsaved = false // that is where it came from
	if r, ok := errors.AsType[*wire.CommandError](err); ok && r.Code == wire.CodeTooManyRequests {
		return ended(wire.RateLimited, r) // it comes again, later
	}
	return d.answer(ctx, err)
}

// Message carries out a command, in its turn. Whatever is wrong with it is
// answered, and the socket lives on, until too many in a row were refused.
func (d *dialog) Message(ctx context.Context, _ *bridge.Bridge, m bridge.Message) error {
	if d.turn.free() {
		err := d.message(ctx, m)
		if errors.Is(err, errKept) {
			return nil
		}
		d.turn.give()
		return err
	}
	if d.turn.wait() >= queue {
		return ended(wire.RateLimited, errors.New("too many messages wait for their turn"))
	}
	m.Payload = slices.Clone(m.Payload)
	d.turn.do(func() (kept bool) {
		d.bridge.Run(func() error {
			err := d.message(ctx, m)
			if kept = errors.Is(err, errKept); kept {
				return nil
			}
			return err
		})
		return kept
	})
	return nil
}

func (d *dialog) message(ctx context.Context, m bridge.Message) error {
	if d.over {
		return nil
	}
	if m.Op != d.format.Opcode() {
		return ended(wire.WrongFrameType, nil)
	}
	cmd, err := d.parse(m.Payload)
	if err == nil {
		d.g.metrics.commands.WithLabelValues(cmd.Action.String()).Inc()
		err = d.do(ctx, cmd)
	}
	err = d.answer(ctx, err)
	if err == nil && d.saving(ctx) {
		return errKept
	}
	return err
}

// answer tells the client what was wrong with a command, where something was.
func (d *dialog) answer(ctx context.Context, err error) error {
	refusal, ok := errors.AsType[*wire.CommandError](err)
	if !ok {
		if err == nil {
			d.refused = 0
		}
		return err
	}
	d.g.metrics.errors.WithLabelValues(strconv.Itoa(int(refusal.Code))).Inc()
	if d.refused++; d.refused > abuse {
		reason := wire.ProtocolViolation
		if refusal.Code == wire.CodeTooManyRequests {
			reason = wire.RateLimited
		}
		return ended(reason, refusal)
	}
	return d.bridge.Send(ctx, wire.AppendError(nil, d.format, refusal.ErrorMessage))
}

// bigCommand is for how many bytes a command counts as one.
const bigCommand = 2 << 10

// parse limits before it parses: a long command counts as several.
func (d *dialog) parse(payload []byte) (wire.Command, error) {
	if d.limiter == nil {
		d.limiter = rate.NewLimiter(rate.Limit(d.g.cfg.CommandRate), d.g.cfg.CommandBurst)
	}
	if n := 1 + len(payload)/bigCommand; !d.limiter.AllowN(time.Now(), min(n, d.g.cfg.CommandBurst)) {
		return wire.Command{}, refuse("", wire.CodeTooManyRequests, "")
	}
	return wire.ParseCommand(d.format, payload)
}

func refuse(id wire.ID, code wire.Code, detail string) error {
	return &wire.CommandError{ErrorMessage: wire.ErrorMessage{ID: id, Code: code, Detail: detail}}
}

func (d *dialog) do(ctx context.Context, cmd wire.Command) error {
	known := d.greeted || (d.who != nil && d.format.Native())
	if !known && cmd.Action != wire.Auth && cmd.Action != wire.Ping {
		return refuse(cmd.ID, wire.CodeNotAuthenticated, "")
	}
	switch cmd.Action {
	case wire.Auth:
		return d.auth(ctx, cmd)
	case wire.Subscribe:
		return d.subscribe(ctx, cmd)
	case wire.Unsubscribe:
		return d.unsubscribe(ctx, cmd)
	case wire.List:
		return d.bridge.Send(ctx, d.current(cmd))
	case wire.Ping:
		return d.bridge.Send(ctx, wire.AppendPong(nil, d.format, wire.Pong{ID: cmd.ID, Time: time.Now()}))
	}
	return refuse(cmd.ID, wire.CodeInvalidSyntax, "unknown action")
}

// Close lets go of what the dialog holds; the bridge has ended.
func (d *dialog) Close(end *bridge.End) {
	d.stopTimer()
	d.turn.do(func() bool {
		d.over = true
		d.g.demand.Release(d.payer(), d.topics.all())
		d.g.topics.release(d.topics)
		if d.who != nil && d.who.Method != session.Open {
			d.g.users.remove(d.who.User, d)
		}
		d.g.ended(d, end)
		d.g.release(d)
		return false
	})
}
