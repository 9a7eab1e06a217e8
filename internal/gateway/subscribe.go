package gateway

import (
	"context"
	"log/slog"
	"time"

	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// catchUpWithin is how long a client may take for what it missed.
const catchUpWithin = 30 * time.Second

func (d *dialog) subscribe(ctx context.Context, cmd wire.Command) error {
	if err := d.owes(cmd.ID); err != nil {
		return err
	}
	if err := d.grant(&cmd); err != nil {
		return err
	}
	if n, limit := d.topics.symbols(cmd.Topics), d.symbolLimit(); n > limit {
		return refuse(cmd.ID, wire.CodeSymbolLimit, tooManySymbols(n, limit).Error())
	}
	fresh := d.topics.missing(cmd.Topics)
	if err := d.charge(fresh, &cmd); err != nil {
		return err
	}
	fresh, err := d.take(fresh)
	if err != nil {
		return refuse(cmd.ID, wire.CodeSymbolLimit, err.Error())
	}
	b := d.bridge
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
	d.unsaved = d.held != nil
	ack := d.current(cmd)
	m := b.Member()
	sub := hub.Subscription{Topics: fresh, Snapshot: cmd.Snapshot && d.format.Native()}
	if !cmd.Since.IsZero() {
		sub.CatchUp = &hub.CatchUp{Since: cmd.Since, Within: catchUpWithin, Fetch: func(w hub.Want) {
			d.g.tasks.Go(func() { b.Run(func() error { return d.refill(d.g.asking, m, w) }) })
		}}
	}
	return m.Subscribe(ctx, sub, func(market.Seq) { b.SendNow(ack) })
}

// take notes topics that the client is subscribed to from now on, and gives them as
// others have them, too. An error says what is too many.
func (d *dialog) take(fresh []market.Topic) ([]market.Topic, error) {
	shared := d.g.topics.take(fresh)
	for i, t := range shared {
		fresh[i] = t.Topic
	}
	if err := d.g.demand.Acquire(d.payer(), fresh); err != nil {
		d.g.topics.release(shared)
		return nil, err
	}
	d.topics.add(shared)
	return fresh, nil
}

// drop takes out topics that the client is subscribed to no longer. They are released
// when the hub has been told.
func (d *dialog) drop(list []market.Topic) (gone []market.Topic, release func()) {
	shared := topics(d.topics.remove(list))
	d.unsaved = d.held != nil
	gone = shared.all()
	return gone, func() {
		d.g.demand.Release(d.payer(), gone)
		d.g.topics.release(shared)
	}
}

// refill gets what the hub lacks for a client that resumes. A client that has gone in
// the meantime is not worth an error, and what does not come is lost, and said to be.
func (d *dialog) refill(ctx context.Context, m *hub.Member, w hub.Want) error {
	limited, cancel := context.WithTimeout(ctx, d.g.cfg.ReplayTimeout)
	defer cancel()
	events, through, missed, err := d.g.demand.Replay(limited, w.Topics, w.After)
	if err != nil {
		d.g.log.LogAttrs(ctx, slog.LevelWarn, "the past was not to be had", slog.String("conn", d.id),
			slog.String("after", w.After.String()), slog.Any("error", err))
		missed = w.Topics
	}
	return m.Refill(ctx, w, hub.Refill{Events: events, Through: through, Missed: missed})
}

// grant takes out what the client may not see. The strict dialects, as Alpaca's,
// refuse the whole command then.
func (d *dialog) grant(cmd *wire.Command) error {
	g := &d.who.Grant
	allowed := make([]market.Topic, 0, len(cmd.Topics))
	for _, t := range cmd.Topics {
		if g.Allows(t) {
			allowed = append(allowed, t)
			continue
		}
		r := rejection(g, t)
		if !d.format.Native() {
			return refuse(cmd.ID, r.Code, "")
		}
		cmd.Rejected = append(cmd.Rejected, r)
	}
	cmd.Topics = allowed
	return nil
}

func (d *dialog) unsubscribe(ctx context.Context, cmd wire.Command) error {
	gone, release := d.drop(cmd.Topics)
	defer release()
	ack := d.current(cmd)
	b := d.bridge
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
