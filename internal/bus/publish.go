package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	attemptTimeout = time.Second
	retryFirst     = 20 * time.Millisecond
	retryMost      = time.Second
	tellEvery      = 10 * time.Second // while a batch is not stored
)

// Publish stores a batch and says where. While the bus is lost it waits and
// repeats, under the same id, until ctx ends. Batches of one source must be
// published one after the other: then they are stored in this order. Errors:
// what is wrong with the batch, ErrTooLarge, ErrClosed, and the cause of ctx,
// after which the batch may or may not have been stored.
func (b *JetStream) Publish(ctx context.Context, batch Batch) (Stored, error) {
	if err := ValidateSource(batch.Source); err != nil {
		return Stored{}, fmt.Errorf("publish: %w", err)
	}
	data, err := EncodeBatch(nil, batch.Events)
	if err != nil {
		return Stored{}, fmt.Errorf("publish: %w", err)
	}
	if batch.ID == "" {
		batch.ID = rand.Text()
	}
	start := time.Now()
	ack, err := b.publish(ctx, subjectPrefix+batch.Source, batch.ID, data)
	if err != nil {
		return Stored{}, fmt.Errorf("publish %d events of %s: %w", len(batch.Events), batch.Source, err)
	}
	b.metrics.published(len(batch.Events), len(data), time.Since(start), ack.Duplicate)
	return place(ack.Sequence, len(batch.Events), ack.Duplicate), nil
}

func (b *JetStream) publish(ctx context.Context, subject, id string, data []byte) (*jetstream.PubAck, error) {
	first := time.Now()
	var told time.Time
	for attempt := 0; ; attempt++ {
		ack, err := b.attempt(ctx, subject, id, data, attempt > 0 && time.Since(first) > DedupWindow/2)
		if err == nil {
			if attempt > 0 {
				b.logger.Info("publishing goes on", slog.Int("attempts", attempt+1), slog.Duration("after", time.Since(first)))
			}
			return ack, nil
		}
		if fatal := b.fatal(ctx, err); fatal != nil {
			return nil, fatal
		}
		reason := why(err)
		b.metrics.retries.WithLabelValues(reason).Inc()
		if time.Since(told) > tellEvery && reason != whyStoring {
			told = time.Now()
			level := slog.LevelWarn
			if reason == whyFull {
				level = slog.LevelError
			}
			b.logger.LogAttrs(ctx, level, "publishing waits for the bus", slog.String("subject", subject),
				slog.String("reason", reason), slog.String("advice", advice(reason)), slog.Int("attempts", attempt+1), slog.Duration("for", time.Since(first)), slog.Any("error", err))
		}
		select {
		case <-time.After(jitter(min(retryMost, retryFirst<<min(attempt, 10)))):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w (after %d attempts, the last: %w)", context.Cause(ctx), attempt+1, err)
		}
	}
}

// attempt sends the batch once. Where an earlier attempt may be older than the
// ids that the bus knows, it looks whether that was stored after all.
func (b *JetStream) attempt(ctx context.Context, subject, id string, data []byte, old bool) (*jetstream.PubAck, error) {
	bound, done, err := b.health.await(ctx) // a loss ends the wait for an answer that will not come
	if err != nil {
		return nil, err
	}
	defer done()
	ack, err := b.send(bound, subject, id, data, old)
	if why := context.Cause(bound); err != nil && why != nil {
		err = why
	}
	return ack, err
}

func (b *JetStream) send(ctx context.Context, subject, id string, data []byte, old bool) (*jetstream.PubAck, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	if old {
		ack, err := b.lookUp(ctx, subject, id)
		if ack != nil || err != nil {
			return ack, err
		}
	}
	ack, err := b.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: data},
		jetstream.WithMsgID(id), jetstream.WithExpectStream(b.stream.Name), jetstream.WithRetryAttempts(0))
	if err == nil {
		b.touch()
	}
	return ack, err
}

// lookUp asks the stream's leader whether the batch is the source's last.
func (b *JetStream) lookUp(ctx context.Context, subject, id string) (*jetstream.PubAck, error) {
	s, err := b.js.Stream(ctx, b.stream.Name)
	if err != nil {
		return nil, err
	}
	last, err := s.GetLastMsgForSubject(ctx, subject)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case last.Header.Get(jetstream.MsgIDHeader) != id:
		return nil, nil
	}
	return &jetstream.PubAck{Stream: b.stream.Name, Sequence: last.Sequence, Duplicate: true}, nil
}

// fatal gives the error after which repeating is of no use, nil where it may be.
func (b *JetStream) fatal(ctx context.Context, err error) error {
	if why := context.Cause(ctx); why != nil {
		return why
	}
	if errors.Is(b.health.get().Err, ErrClosed) || errors.Is(err, nats.ErrConnectionClosed) {
		return ErrClosed
	}
	if errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, jetstream.ErrStreamMessageExceedsMaximum) {
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	if code(err) == codeWrongStream {
		return fmt.Errorf("another stream takes the subject: %w", err)
	}
	return nil
}

// Compile-time proof that both buses are one thing to their users.
var (
	_ Publisher = (*JetStream)(nil)
	_ Publisher = (*Memory)(nil)
)
