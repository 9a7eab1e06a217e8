package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	barsSubject  = "mdbars"
	barsMaxBytes = 64 << 20 // of records; the oldest go
	barsFetch    = 256      // records at a time
	barsPatience = 2 * time.Second
)

// bars names the stream of records of bars.
func (c *StreamConfig) bars() jetstream.StreamConfig {
	feed := c.fresh()
	return jetstream.StreamConfig{
		Name: c.Name + "_bars", Description: "LZStock bars", Subjects: []string{barsSubject},
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld, Storage: feed.Storage, Replicas: feed.Replicas,
		MaxBytes: barsMaxBytes, MaxMsgs: -1, MaxConsumers: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1,
	}
}

// openBars gives the stream of records, and makes it where it is missing, or gives
// it as many copies as are wanted.
func (b *JetStream) openBars(ctx context.Context) (jetstream.Stream, error) {
	s, err := openStream(ctx, b.js, b.stream.bars())
	if err != nil {
		return nil, err
	}
	if s, _, err = amend(ctx, b.js, s, b.stream.Replicas); err != nil {
		return nil, fmt.Errorf("update the settings of stream %s: %w", b.stream.bars().Name, err)
	}
	return s, nil
}

// AppendBars stores a record of bars behind the one whose number is after, 0 for
// none, and gives its number. Where another record stands there already, it stores
// nothing and gives false: whoever was faster has the word, and ReadBars what it
// says.
func (b *JetStream) AppendBars(ctx context.Context, after uint64, data []byte) (number uint64, stored bool, err error) {
	ctx, done, err := b.health.await(ctx)
	if err == nil {
		defer done()
		number, err = b.appendBars(ctx, after, data)
	}
	const wrongLast = jetstream.ErrorCode(10071)
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == wrongLast {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("append bars: %w", err)
	}
	return number, true, nil
}

func (b *JetStream) appendBars(ctx context.Context, after uint64, data []byte) (uint64, error) {
	if _, err := b.openBars(ctx); err != nil {
		return 0, b.failure(ctx, err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ack, err := b.js.PublishMsg(ctx, &nats.Msg{Subject: barsSubject, Data: data},
		jetstream.WithExpectLastSequence(after), jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, b.failure(ctx, err)
	}
	return ack.Sequence, nil
}

// ReadBars calls f with the records of bars behind one number, in order, up to the
// last that there is at this moment, whose number it gives. Records may be missing
// at the beginning: the oldest go. An error of f ends it.
func (b *JetStream) ReadBars(ctx context.Context, after uint64, f func(number uint64, data []byte) error) (last uint64, err error) {
	ctx, done, err := b.health.await(ctx)
	if err == nil {
		defer done()
		last, err = b.readBars(ctx, after, f)
	}
	if err != nil {
		return 0, fmt.Errorf("read bars after %d: %w", after, err)
	}
	return last, nil
}

func (b *JetStream) readBars(ctx context.Context, after uint64, f func(number uint64, data []byte) error) (uint64, error) {
	s, err := b.openBars(ctx)
	if err != nil {
		return 0, b.failure(ctx, err)
	}
	state := s.CachedInfo().State
	if after = max(after, state.FirstSeq-min(state.FirstSeq, 1)); after >= state.LastSeq {
		return state.LastSeq, nil
	}
	c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1, InactiveThreshold: readIdle,
	})
	if err != nil {
		return 0, b.failure(ctx, err)
	}
	for at := after; at < state.LastSeq; {
		before := at
		batch, err := c.Fetch(int(min(barsFetch, state.LastSeq-at)), jetstream.FetchMaxWait(barsPatience))
		if err != nil {
			return 0, b.failure(ctx, err)
		}
		var failed error
		for m := range batch.Messages() { // all of them: their goroutine ends then
			meta, err := m.Metadata()
			switch {
			case failed != nil:
			case err != nil:
				failed = fmt.Errorf("%w: a record without its place: %w", ErrLost, err)
			case meta.Sequence.Stream <= state.LastSeq:
				at = meta.Sequence.Stream
				failed = f(at, m.Data())
			default: // those before have just gone
				at = state.LastSeq
			}
		}
		if failed != nil {
			return 0, failed
		}
		if why := context.Cause(ctx); why != nil {
			return 0, why
		}
		if at == before {
			return 0, fmt.Errorf("%w: records after %d do not come", ErrLost, at)
		}
	}
	return state.LastSeq, nil
}
