package gateway

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/internal/wire"
)

// abuse is how many refused commands in a row end a socket.
const abuse = 20

// dialog speaks the client protocol on one socket. Its reader alone calls it.
type dialog struct {
	g        *Gateway
	id       string // of the connection
	peer     string // the client's address
	format   wire.Format
	limiter  *rate.Limiter // of commands; made with the first
	first    *wire.Command // from the query: subscribed at once, and forgotten
	topics   topics
	delivery wire.Delivery
	interval time.Duration
	authed   bool
	refused  int // commands in a row

	mu       sync.Mutex
	deadline *time.Timer // for auth; guarded by mu, because close comes from elsewhere
}

func (g *Gateway) newDialog(f wire.Format, query url.Values) (*dialog, error) {
	first := &wire.Command{}
	if f.Native() { // the strict dialects subscribe by message alone, as Alpaca's do
		cmd, err := wire.ParseQuery(query)
		if err != nil {
			return nil, err
		}
		first = &cmd
	}
	d := &dialog{
		g: g, id: strings.Clone(rand.Text()[:12]), format: f, first: first, delivery: wire.Adaptive,
	}
	d.apply(first.Options)
	if n := d.topics.symbols(first.Topics); n > g.cfg.Symbols {
		return nil, tooManySymbols(n, g.cfg.Symbols)
	}
	return d, nil
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
	changed := delivery != d.delivery || interval != d.interval
	d.delivery, d.interval = delivery, interval
	return changed
}

// options gives what the bridge begins with.
func (d *dialog) options() bridge.Options {
	cfg, common := &d.g.cfg, d.g.bridges.Config()
	hello := wire.Connected{
		Conn: d.id, Epoch: d.g.demand.Epoch(), Ping: common.PingEvery, MaxAge: common.MaxAge,
		Limits: wire.Limits{Symbols: cfg.Symbols, CommandsPerSecond: cfg.CommandRate, MessageBytes: cfg.MessageBytes},
	}
	return bridge.Options{
		ID: d.id, Greeting: wire.AppendConnected(nil, d.format, &hello),
		Format: d.format, Mailbox: d.mailbox(), Interval: d.interval, Heartbeat: d.first.Heartbeat,
	}
}

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

// Open subscribes to what the query asked for, or waits for auth.
func (d *dialog) Open(ctx context.Context, b *bridge.Bridge) error {
	if !d.format.Native() {
		d.mu.Lock()
		d.deadline = time.AfterFunc(d.g.cfg.AuthTimeout, func() { b.Stop(wire.AuthTimeout, nil) })
		d.mu.Unlock()
		return nil
	}
	first := *d.first
	d.first = nil
	if len(first.Topics) > 0 {
		return d.subscribe(ctx, b, first)
	}
	return nil
}

func (d *dialog) stopDeadline() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.deadline != nil {
		d.deadline.Stop()
	}
}

// Message carries out a command. Whatever is wrong with it is answered, and the
// socket lives on, until too many in a row were refused.
func (d *dialog) Message(ctx context.Context, b *bridge.Bridge, m bridge.Message) error {
	if m.Op != d.format.Opcode() {
		return &bridge.End{Reason: wire.WrongFrameType}
	}
	cmd, err := d.parse(m.Payload)
	if err == nil {
		d.g.metrics.commands.WithLabelValues(cmd.Action.String()).Inc()
		err = d.do(ctx, b, cmd)
	}
	var refusal *wire.CommandError
	if !errors.As(err, &refusal) {
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
		return &bridge.End{Reason: reason, Err: refusal}
	}
	return b.Send(ctx, wire.AppendError(nil, d.format, refusal.ErrorMessage))
}

// parse limits before it parses.
func (d *dialog) parse(payload []byte) (wire.Command, error) {
	if d.limiter == nil {
		d.limiter = rate.NewLimiter(rate.Limit(d.g.cfg.CommandRate), d.g.cfg.CommandBurst)
	}
	if !d.limiter.Allow() {
		return wire.Command{}, refuse("", wire.CodeTooManyRequests, "")
	}
	return wire.ParseCommand(d.format, payload)
}

func refuse(id wire.ID, code wire.Code, detail string) error {
	return &wire.CommandError{ErrorMessage: wire.ErrorMessage{ID: id, Code: code, Detail: detail}}
}

func (d *dialog) do(ctx context.Context, b *bridge.Bridge, cmd wire.Command) error {
	if !d.authed && !d.format.Native() && cmd.Action != wire.Auth {
		return refuse(cmd.ID, wire.CodeNotAuthenticated, "")
	}
	switch cmd.Action {
	case wire.Auth:
		if d.authed {
			return refuse(cmd.ID, wire.CodeAlreadyAuthenticated, "")
		}
		d.authed = true // whoever reaches an open gateway may see everything
		d.stopDeadline()
		return b.Send(ctx, wire.AppendAuthenticated(nil, d.format))
	case wire.Subscribe:
		return d.subscribe(ctx, b, cmd)
	case wire.Unsubscribe:
		return d.unsubscribe(ctx, b, cmd)
	case wire.List:
		return b.Send(ctx, d.current(cmd))
	case wire.Ping:
		return b.Send(ctx, wire.AppendPong(nil, d.format, wire.Pong{ID: cmd.ID, Time: time.Now()}))
	}
	return refuse(cmd.ID, wire.CodeInvalidSyntax, "unknown action")
}

func (d *dialog) subscribe(ctx context.Context, b *bridge.Bridge, cmd wire.Command) error {
	if n := d.topics.symbols(cmd.Topics); n > d.g.cfg.Symbols {
		return refuse(cmd.ID, wire.CodeSymbolLimit, tooManySymbols(n, d.g.cfg.Symbols).Error())
	}
	if d.apply(cmd.Options) {
		if err := b.SetDelivery(ctx, d.mailbox(), d.interval); err != nil {
			return err
		}
	}
	if cmd.Heartbeat > 0 {
		if err := b.SetHeartbeat(ctx, cmd.Heartbeat); err != nil {
			return err
		}
	}
	fresh := d.topics.add(cmd.Topics)
	// The demand comes after the subscription, so that what upstream answers
	// finds who waits for it.
	defer d.g.demand.Acquire(fresh)
	ack := d.current(cmd)
	return b.Member().Subscribe(ctx, hub.Subscription{
		Topics: fresh, Snapshot: cmd.Snapshot && d.format.Native(),
	}, func(hub.Result) { b.SendNow(ack) })
}

func (d *dialog) unsubscribe(ctx context.Context, b *bridge.Bridge, cmd wire.Command) error {
	gone := d.topics.remove(cmd.Topics)
	defer d.g.demand.Release(gone)
	ack := d.current(cmd)
	return b.Member().Unsubscribe(ctx, gone, func() { b.SendNow(ack) })
}

// current makes the message of all that the client is subscribed to.
func (d *dialog) current(cmd wire.Command) []byte {
	m := wire.Subscription{ID: cmd.ID, Delivery: d.delivery, Interval: d.interval, Rejected: cmd.Rejected}
	for _, t := range d.topics.all() {
		m.Symbols[t.Channel] = append(m.Symbols[t.Channel], t.Symbol)
	}
	return wire.AppendSubscription(nil, d.format, &m)
}
