package gateway

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/session"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// warning is how long before its credentials expire a client is told.
const warning = time.Minute

func ended(reason wire.Reason, err error) error { return &bridge.End{Reason: reason, Err: err} }

// errKept says that a command keeps the dialog's turn: it goes on elsewhere.
var errKept = errors.New("the turn goes on elsewhere")

// auth answers the auth message. Looking at credentials may take seconds: it runs
// on a goroutine of its own, which keeps the turn, and what the client sends
// meanwhile waits.
func (d *dialog) auth(ctx context.Context, cmd wire.Command) error {
	refresh := d.greeted && d.who.Method == session.Token && cmd.Token != ""
	if d.greeted && !refresh {
		return refuse(cmd.ID, wire.CodeAlreadyAuthenticated, "")
	}
	if d.g.auth.Open() {
		return d.welcome(ctx, open())
	}
	if !d.g.slots.TryAcquire(1) {
		return refuse(cmd.ID, wire.CodeTooManyRequests, "too many clients authenticate at this moment")
	}
	c := credentials{token: cmd.Token, key: cmd.Key, secret: cmd.Secret}
	d.g.tasks.Go(func() {
		defer d.turn.give()
		defer d.g.slots.Release(1)
		d.bridge.Run(func() error {
			if d.over {
				return nil
			}
			return d.answer(ctx, d.settle(ctx, c, cmd, refresh))
		})
	})
	return errKept
}

// settle checks credentials and lets the client in, or not.
func (d *dialog) settle(ctx context.Context, c credentials, cmd wire.Command, refresh bool) error {
	who, err := d.g.authenticate(d.g.asking, c) //nolint:contextcheck // which ends with the gateway's stop
	switch {
	case d.left(), d.g.asking.Err() != nil:
		return nil //nolint:nilerr // nobody is left to be told
	case err == nil && refresh && who.User != d.who.User:
		return refuse(cmd.ID, wire.CodeAuthFailed, "the token is of another user")
	case err == nil && refresh && who.Grant.Delay != d.who.Grant.Delay:
		return refuse(cmd.ID, wire.CodeAuthFailed, "with this token prices are delayed otherwise: connect anew")
	case err == nil && refresh:
		return d.renew(ctx, &who)
	case err == nil:
		return d.welcome(ctx, who)
	}
	d.g.audit.refused(ctx, d, err)
	switch {
	case errors.Is(err, session.ErrUnavailable):
		return refuse(cmd.ID, wire.CodeUpstreamUnavailable, err.Error())
	case refresh:
		return refuse(cmd.ID, wire.CodeAuthFailed, err.Error())
	}
	return ended(wire.AuthFailed, err)
}

// welcome lets a client in that has just said who it is, and subscribes to what it
// asked for in its URL.
func (d *dialog) welcome(ctx context.Context, who session.Identity) error {
	if h := d.g.hubOf(&who); h != nil {
		if err := d.bridge.Move(ctx, h, d.mailbox()); err != nil {
			return err
		}
	}
	d.who = &who
	if err := d.enter(ctx); err != nil {
		return err
	}
	if err := d.bridge.Admit(ctx, wire.AppendAuthenticated(nil, d.format)); err != nil {
		return err
	}
	d.greeted = true
	return d.begin(ctx)
}

// enter makes what follows from the client's identity hold.
func (d *dialog) enter(ctx context.Context) error {
	d.expire(d.who.Expires)
	if d.who.Method == session.Open {
		return nil
	}
	for _, old := range d.g.users.add(d.who.User, d, cmp.Or(d.who.Grant.Limits.Sockets, d.g.cfg.UserSockets)) {
		old.bridge.Stop(wire.ConnectionLimit, nil)
	}
	// What was taken back since the credentials were looked at has not found this
	// socket; what is from now on does.
	who, err := d.check(ctx)
	if err != nil {
		return err
	}
	d.who = &who
	d.g.audit.admitted(ctx, d)
	return d.restrict(ctx, nil)
}

// restrict holds the hub to the client's grant.
func (d *dialog) restrict(ctx context.Context, then func()) error {
	if len(d.who.Grant.Symbols) == 0 && len(d.who.Grant.Channels) == 0 && then == nil {
		return nil
	}
	grant := &d.who.Grant
	return d.bridge.Member().Restrict(ctx, func(t market.Topic) bool { return grant.Allows(t) }, then)
}

// renew takes over a new token of the same user.
func (d *dialog) renew(ctx context.Context, who *session.Identity) error {
	d.expire(who.Expires)
	if err := d.regrant(ctx, who); err != nil {
		return err
	}
	return d.bridge.Send(ctx, wire.AppendAuthenticated(nil, d.format))
}

// regrant takes over an identity whose grant may have changed. What the client may
// not see any more is taken back, and it is told.
func (d *dialog) regrant(ctx context.Context, who *session.Identity) error {
	d.who = who
	var gone []market.Topic
	for _, t := range d.topics.all() {
		if !who.Grant.Allows(t) {
			gone = append(gone, t)
		}
	}
	if len(gone) == 0 {
		return d.restrict(ctx, func() {})
	}
	gone, release := d.drop(gone)
	defer release()
	cmd := wire.Command{}
	for _, t := range gone {
		cmd.Rejected = append(cmd.Rejected, rejection(&who.Grant, t))
	}
	news := d.current(cmd)
	b := d.bridge
	if err := b.Member().Unsubscribe(ctx, gone, nil); err != nil {
		return err
	}
	return d.restrict(ctx, func() { b.SendNow(news) })
}

// rejection says why a topic is not granted.
func rejection(g *session.Grant, t market.Topic) wire.Rejection {
	if !g.Channel(t.Channel) {
		return wire.Rejection{Topic: t, Code: wire.CodeInsufficientScope, Detail: "the credentials do not cover this channel"}
	}
	return wire.Rejection{Topic: t, Code: wire.CodeInsufficientSubscription, Detail: "the credentials do not cover this symbol"}
}

// expire has the client be told before its credentials expire, and end then.
func (d *dialog) expire(at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if !at.IsZero() && !d.closed {
		d.timer = &timer{time.AfterFunc(max(time.Until(at)-warning, 0), d.expiring), at}
	}
}

// expiring is what the timer does: the credentials that are in force tell what.
func (d *dialog) expiring() {
	d.mu.Lock()
	if d.closed || d.timer == nil {
		d.mu.Unlock()
		return
	}
	at := d.timer.expires
	left := time.Until(at)
	if left > 0 {
		d.timer.Reset(left)
	}
	d.mu.Unlock()
	switch {
	case left <= 0:
		d.bridge.Stop(wire.TokenExpired, nil)
	case d.format.Native():
		_ = d.bridge.Send(d.g.ctx, wire.AppendExpiring(nil, d.format, at)) // an error: it ends already
	}
}

// await ends the bridge where nobody says in time who the client is.
func (d *dialog) await() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timer = &timer{Timer: time.AfterFunc(d.g.cfg.AuthTimeout, func() { d.bridge.Stop(wire.AuthTimeout, nil) })}
}

// left reports whether the client has gone.
func (d *dialog) left() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

func (d *dialog) stopTimer() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	if d.timer != nil {
		d.timer.Stop()
	}
}

// hubOf gives the hub that shows a client what it may see; nil is the gateway's own.
func (g *Gateway) hubOf(who *session.Identity) *hub.Hub {
	if who == nil {
		return nil
	}
	return g.cfg.Delayed[who.Grant.Delay].Hub
}

// epochOf gives the epoch of what a client is shown.
func (g *Gateway) epochOf(who *session.Identity) market.Epoch {
	if who != nil && who.Grant.Delay > 0 {
		return g.cfg.Delayed[who.Grant.Delay].Epoch()
	}
	return g.demand.Epoch()
}
