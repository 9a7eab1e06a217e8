package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/lzstock/lzstock/market"
)

// PulseEvery is how often a source that lives says so.
const PulseEvery = time.Second

// pulsePrefix begins the subjects of pulses. No stream keeps them.
const pulsePrefix = "mdpulse."

// Pulse is what a source says of itself. Pulses are not stored: who listens hears
// what is said from then on, and may miss some.
type Pulse struct {
	Source string // as in Batch
	// Sender names one life of one process that publishes the source, in letters and
	// digits; up to 32.
	Sender string
	// Reason is 0 while the source sends by its schedule, FeedSilent where it sends
	// nothing though it should, FeedClosed where nothing is due, and with the last
	// pulse FeedEnded where it was complete, or FeedLost.
	Reason market.FeedReason
}

const pulseLive = "live"

func (p *Pulse) encode() ([]byte, error) {
	word := pulseLive
	if p.Reason != 0 {
		word = p.Reason.String()
	}
	data := []byte(p.Sender + " " + word)
	if _, err := decodePulse(p.Source, data); err != nil {
		return nil, err
	}
	return data, nil
}

// decodePulse reads what came under a source's subject.
func decodePulse(source string, data []byte) (Pulse, error) {
	p := Pulse{Source: source}
	if err := ValidateSource(source); err != nil {
		return p, err
	}
	sender, word, _ := strings.Cut(string(data), " ")
	if err := ValidateSource(sender); err != nil {
		return p, fmt.Errorf("sender: %w", err)
	}
	p.Sender = sender
	if word == pulseLive {
		return p, nil
	}
	for _, r := range [...]market.FeedReason{market.FeedSilent, market.FeedClosed, market.FeedEnded, market.FeedLost} {
		if word == r.String() {
			p.Reason = r
			return p, nil
		}
	}
	return p, fmt.Errorf("a source cannot be %.20q: want live, silent, closed, ended or lost", word)
}

// Beat sends a pulse to whoever listens now. It does not wait, and fails while the
// bus is lost.
func (b *JetStream) Beat(_ context.Context, p Pulse) error {
	data, err := p.encode()
	if err == nil {
		if err = b.health.get().Err; err == nil {
			err = b.nc.Publish(pulsePrefix+p.Source, data)
		}
	}
	if err != nil {
		return fmt.Errorf("pulse of %s: %w", p.Source, err)
	}
	return nil
}

// Pulses calls f with each pulse that comes, one after the other, until ctx ends,
// and gives its cause, or until the bus is closed. A bus that is lost and returns
// is listened to again.
func (b *JetStream) Pulses(ctx context.Context, f func(Pulse)) error {
	sub, err := b.nc.SubscribeSync(pulsePrefix + "*")
	if err != nil {
		return fmt.Errorf("listen to pulses: %w", b.failure(ctx, err))
	}
	defer func() { _ = sub.Unsubscribe() }() // fails where the connection is gone, and the subscription with it
	for {
		msg, err := sub.NextMsgWithContext(ctx)
		switch {
		case errors.Is(err, nats.ErrSlowConsumer): // some were missed: others follow
			continue
		case err != nil:
			return fmt.Errorf("listen to pulses: %w", b.failure(ctx, err))
		}
		p, err := decodePulse(strings.TrimPrefix(msg.Subject, pulsePrefix), msg.Data)
		if err != nil {
			b.logger.LogAttrs(ctx, slog.LevelDebug, "a message on the bus is no pulse",
				slog.String("subject", msg.Subject), slog.Any("error", err))
			continue
		}
		f(p)
	}
}

// Beat works as JetStream's.
func (m *Memory) Beat(ctx context.Context, p Pulse) error {
	_, err := p.encode()
	if err == nil {
		err = m.check(ctx)
	}
	if err != nil {
		return fmt.Errorf("pulse of %s: %w", p.Source, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for l := range m.listeners {
		select {
		case l <- p:
		default: // it is slow, and misses one
		}
	}
	return nil
}

// Pulses works as JetStream's.
func (m *Memory) Pulses(ctx context.Context, f func(Pulse)) error {
	const room = 1024
	l := make(chan Pulse, room)
	m.mu.Lock()
	m.listeners[l] = struct{}{}
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.listeners, l)
		m.mu.Unlock()
	}()
	for {
		h := m.health.get()
		if errors.Is(h.Err, ErrClosed) {
			return fmt.Errorf("listen to pulses: %w", ErrClosed)
		}
		select {
		case p := <-l:
			f(p)
		case <-h.Changed:
		case <-ctx.Done():
			return fmt.Errorf("listen to pulses: %w", context.Cause(ctx))
		}
	}
}
