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

	"github.com/lzstock/lzstock/market"
)

const (
	readHeartbeat = 250 * time.Millisecond
	readSilence   = 4 * readHeartbeat // after which the consumer is made anew
	readIdle      = 10 * time.Second  // after which the server forgets a consumer that nobody listens to
)

var (
	errSilent  = errors.New("the consumer is silent")
	errStopped = errors.New("the caller has stopped reading")
)

// Read gives all batches after the one that holds after, in order, each once,
// then waits for new ones. 0 means all from the first ever. Where the bus is
// lost at the start, it waits for its return. The last pair holds an error, and
// no message: an *ExpiredError (ErrExpired) where batches are no longer held,
// ErrEpoch where the stream is another than when Read was called or ends before
// after, ErrLost, ErrClosed, or the cause of ctx.
func (b *JetStream) Read(ctx context.Context, after market.Seq) iter.Seq2[Message, error] {
	epoch := b.Epoch()
	return func(yield func(Message, error) bool) {
		bound, cancel, err := b.health.await(ctx)
		if err == nil {
			defer cancel()
			if b.Epoch() != epoch {
				err = ErrEpoch
			} else {
				r := &reader{bus: b, epoch: epoch, next: after.Batch() + 1, after: after}
				err = r.run(bound, yield)
			}
		}
		if !errors.Is(err, errStopped) {
			yield(Message{}, fmt.Errorf("read after %d: %w", after, err))
		}
	}
}

type reader struct {
	bus   *JetStream
	epoch market.Epoch
	next  uint64     // the batch that must come now
	after market.Seq // the last place that the caller has
	sub   *nats.Subscription
}

// run reads until something ends it. Whenever the stream of messages has a hole
// or falls silent, it is made anew from where it was. ctx ends with the caller's
// and with the bus's life.
func (r *reader) run(ctx context.Context, yield func(Message, error) bool) error {
	const pause = 20 * time.Millisecond
	for barren := 0; ; barren++ {
		from := r.next
		err := r.open(ctx)
		if err == nil {
			err = r.consume(ctx, yield)
			if e := r.sub.Unsubscribe(); e != nil && ctx.Err() == nil {
				r.bus.logger.Debug("unsubscribe", slog.Any("error", e))
			}
		}
		if !errors.Is(err, errSilent) && !errors.Is(err, nats.ErrSlowConsumer) && !errors.As(err, new(holeError)) {
			return err
		}
		if r.next != from {
			barren = 0
		}
		r.bus.metrics.rereads.Inc()
		r.bus.logger.Warn("reading again", slog.Uint64("from", r.next), slog.Any("error", err))
		select {
		case <-time.After(jitter(pause << min(barren, 6))):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// holeError is the batch that came in place of the one that had to come.
type holeError uint64

func (e holeError) Error() string { return fmt.Sprintf("batch %d came out of order", uint64(e)) }

// open checks that the next batch is held or still to come, and has the bus send
// from there on.
func (r *reader) open(ctx context.Context) error {
	info, err := r.bus.info(ctx, callTimeout)
	if err != nil {
		return err
	}
	first, last := bounds(info)
	switch {
	case epochOf(info) != r.epoch:
		return ErrEpoch
	case r.next < first:
		return r.expired(first)
	case r.next > last+1:
		return fmt.Errorf("%w: it ends at %d", ErrEpoch, market.MakeSeq(last, 0))
	}
	inbox := r.bus.nc.NewInbox()
	if r.sub, err = r.bus.nc.SubscribeSync(inbox); err != nil {
		return r.bus.failure(ctx, err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err = r.bus.js.CreatePushConsumer(ctx, r.bus.stream.Name, jetstream.ConsumerConfig{
		DeliverSubject: inbox, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: r.next,
		AckPolicy: jetstream.AckNonePolicy, MaxDeliver: 1, FlowControl: true, IdleHeartbeat: readHeartbeat,
		InactiveThreshold: readIdle, MemoryStorage: true, Replicas: 1,
	})
	if err != nil {
		return errors.Join(r.bus.failure(ctx, err), r.sub.Unsubscribe())
	}
	return nil
}

func (r *reader) expired(first uint64) error {
	return &ExpiredError{After: r.after, First: market.MakeSeq(first, 0)}
}

// consume passes messages on until one is missing, or nothing comes at all.
func (r *reader) consume(parent context.Context, yield func(Message, error) bool) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	silence := time.AfterFunc(readSilence, func() { cancel(errSilent) })
	defer silence.Stop()
	for {
		msg, err := r.sub.NextMsgWithContext(ctx)
		if err != nil {
			if why := context.Cause(ctx); why != nil {
				return why
			}
			if errors.Is(err, nats.ErrSlowConsumer) {
				return err
			}
			return r.bus.failure(ctx, err)
		}
		silence.Reset(readSilence)
		if len(msg.Data) == 0 && msg.Header.Get("Status") != "" {
			if err := r.control(ctx, msg); err != nil {
				return err
			}
			continue
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("%w: a message without its place: %w", ErrLost, err)
		}
		switch seq := meta.Sequence.Stream; {
		case seq < r.next: // seen
			continue
		case seq > r.next:
			return r.hole(ctx, seq)
		}
		silence.Stop() // the caller takes its time
		if !yield(r.bus.message(msg, meta, r.epoch), nil) {
			return errStopped
		}
		silence.Reset(readSilence)
		r.after = market.MakeSeq(r.next, market.BatchLimit-1)
		r.next++
	}
}

// control answers the server's questions whether we keep up.
func (r *reader) control(ctx context.Context, msg *nats.Msg) error {
	r.bus.touch()
	if err := answer(r.bus.nc, msg); err != nil {
		return r.bus.failure(ctx, err)
	}
	return nil
}

// stalled names the header of a heartbeat that waits for an answer.
const stalled = "Nats-Consumer-Stalled"

// answer answers a message of control where it is a question.
func answer(nc *nats.Conn, msg *nats.Msg) error {
	question := msg.Reply
	if question == "" { // a heartbeat that repeats a question whose answer was lost
		question = msg.Header.Get(stalled)
	}
	if question == "" {
		return nil
	}
	return nc.Publish(question, nil)
}

// hole says what to do where came was sent in place of next: read again, or give
// up what is no longer there.
func (r *reader) hole(ctx context.Context, came uint64) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	s, err := r.bus.js.Stream(ctx, r.bus.stream.Name)
	if err != nil {
		return r.bus.failure(ctx, err)
	}
	switch _, err := s.GetMsg(ctx, r.next); {
	case err == nil:
		return holeError(came)
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return r.expired(came)
	default:
		return r.bus.failure(ctx, err)
	}
}

// message decodes what came. The bus's own order decides, so what cannot be
// decoded has its place, but no events.
func (b *JetStream) message(msg *nats.Msg, meta *nats.MsgMetadata, epoch market.Epoch) Message {
	b.alive.Store(time.Now().UnixNano())
	m := Message{
		Batch: meta.Sequence.Stream, Epoch: epoch, Source: strings.TrimPrefix(msg.Subject, subjectPrefix), Stored: meta.Timestamp,
	}
	events, err := DecodeBatch(msg.Data)
	if err != nil {
		b.metrics.damaged.Inc()
		b.logger.Error("a message on the bus is not a batch", slog.Uint64("batch", m.Batch),
			slog.String("source", m.Source), slog.Any("error", err))
		return m
	}
	number(m.Batch, events)
	m.Events = events
	b.metrics.read(len(events))
	return m
}
