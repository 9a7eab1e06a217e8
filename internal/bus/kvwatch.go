package bus

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/lzstock/lzstock/internal/session"
)

// Watch implements session.KV. A bucket that is gone is made anew, empty. A watch
// that is silent, or has a hole, ends with ErrLost: the next one gives all again.
func (k *KV) Watch(ctx context.Context) iter.Seq2[session.Entry, error] {
	return func(yield func(session.Entry, error) bool) {
		if err := k.watch(ctx, yield); !errors.Is(err, errStopped) {
			yield(session.Entry{}, fmt.Errorf("watch bucket %s: %w", k.stream.Name, err))
		}
	}
}

func (k *KV) watch(ctx context.Context, yield func(session.Entry, error) bool) error {
	upTo, err := k.end(ctx)
	if err != nil {
		return err
	}
	inbox := k.nc.NewInbox()
	sub, err := k.nc.SubscribeSync(inbox)
	if err != nil {
		return k.failure(ctx, err)
	}
	defer func() {
		if e := sub.Unsubscribe(); e != nil && ctx.Err() == nil && !k.nc.IsClosed() {
			k.logger.Debug("unsubscribe", slog.Any("error", e))
		}
	}()
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	consumer, err := k.js.CreatePushConsumer(call, k.stream.Name, jetstream.ConsumerConfig{
		DeliverSubject: inbox, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, FilterSubject: k.subject(">"),
		AckPolicy: jetstream.AckNonePolicy, MaxDeliver: 1, FlowControl: true, IdleHeartbeat: readHeartbeat,
		InactiveThreshold: readIdle, MemoryStorage: true, Replicas: 1,
	})
	if err != nil {
		return k.failure(call, err)
	}
	// Where a copy gives what there is, it may be behind the leader.
	w := &kvWatch{kv: k, sub: sub, upTo: upTo, all: upTo == 0 && consumer.CachedInfo().NumPending == 0, yield: yield, before: map[string]session.Entry{}}
	return w.run(ctx)
}

// end gives the bucket's last revision, and makes the bucket where it is gone.
func (k *KV) end(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	s, err := k.open(ctx)
	if errors.Is(err, ErrNoBucket) {
		k.logger.Warn("bucket is missing, creating it", slog.String("bucket", k.stream.Name))
		if err = k.ensure(ctx); err == nil {
			s, err = k.open(ctx)
		}
	}
	if err != nil {
		return 0, err
	}
	return s.CachedInfo().State.LastSeq, nil
}

type kvWatch struct {
	kv    *KV
	sub   *nats.Subscription
	upTo  uint64 // the last revision before the consumer was made
	all   bool   // all that there was has been given
	idle  int    // heartbeats since something came
	count uint64 // messages that came
	yield func(session.Entry, error) bool

	// What there was, by key, until the caller has it: a copy that is behind gives a
	// key first as it was, and then as it is.
	before map[string]session.Entry
}

// run gives messages until one is missing, or nothing comes at all.
func (w *kvWatch) run(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	silence := time.AfterFunc(readSilence, func() { cancel(fmt.Errorf("%w: %w", ErrLost, errSilent)) })
	defer silence.Stop()
	for {
		if w.all && w.before != nil && !w.sync() {
			return errStopped
		}
		silence.Reset(readSilence)
		msg, err := w.sub.NextMsgWithContext(ctx)
		if err != nil {
			if why := context.Cause(ctx); why != nil {
				return why
			}
			return w.kv.failure(ctx, err)
		}
		silence.Stop() // the caller takes its time
		if len(msg.Data) == 0 && msg.Header.Get("Status") != "" {
			// The server is idle where nothing is left to send. What was last may have
			// expired; a copy that is behind has it within two heartbeats.
			if msg.Reply == "" && msg.Header.Get(stalled) == "" {
				w.idle++
			}
			w.all = w.all || w.idle >= 2
			if err := answer(w.kv.nc, msg); err != nil {
				return w.kv.failure(ctx, err)
			}
			continue
		}
		if err := w.give(msg); err != nil {
			return err
		}
	}
}

// sync gives what there was.
func (w *kvWatch) sync() bool {
	for _, e := range w.before {
		if !w.yield(e, nil) {
			return false
		}
	}
	w.before = nil
	return w.yield(session.Entry{Op: session.OpSynced, Rev: w.upTo}, nil)
}

func (w *kvWatch) give(msg *nats.Msg) error {
	meta, err := msg.Metadata()
	if err != nil {
		return fmt.Errorf("%w: a message without its place: %w", ErrLost, err)
	}
	if w.count++; meta.Sequence.Consumer != w.count {
		return fmt.Errorf("%w: message %d came in place of %d", ErrLost, meta.Sequence.Consumer, w.count)
	}
	e := session.Entry{
		Op: opOf(msg.Header), Key: strings.TrimPrefix(msg.Subject, w.kv.prefix()), Value: msg.Data, Rev: meta.Sequence.Stream,
	}
	switch {
	case w.before == nil:
		if !w.yield(e, nil) {
			return errStopped
		}
	case e.Op == session.OpExpire: // is nothing that there is
		delete(w.before, e.Key)
	default:
		w.before[e.Key] = e
	}
	w.idle = 0
	w.all = w.all || (meta.NumPending == 0 && meta.Sequence.Stream >= w.upTo)
	return nil
}
