package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/lzstock/lzstock/internal/bus"
	"github.com/lzstock/lzstock/internal/obs"
)

const (
	// dialTimeout is how long a start waits for an external NATS, or for a cluster
	// that is about to elect its leader.
	dialTimeout = 10 * time.Second
	// dialPause is the time between two attempts.
	dialPause = 250 * time.Millisecond
)

// dial connects to a bus, and tries again while it may yet come.
func dial[B any](ctx context.Context, log *slog.Logger, connect func(ctx context.Context) (B, error)) (B, error) {
	bound, cancel := context.WithTimeoutCause(ctx, dialTimeout, fmt.Errorf("no answer within %v; is NATS with JetStream there?", dialTimeout))
	defer cancel()
	for first := true; ; first = false {
		js, err := connect(bound)
		if err == nil || !errors.Is(err, bus.ErrLost) {
			return js, err
		}
		if first {
			log.LogAttrs(ctx, slog.LevelInfo, "waiting for NATS", slog.Duration("at_most", dialTimeout), slog.Any("error", err))
		}
		select {
		case <-time.After(dialPause):
		case <-bound.Done():
			return js, fmt.Errorf("%w: %w", context.Cause(bound), err)
		}
	}
}

// BusConfig says which bus a process uses.
type BusConfig struct {
	// NATS is how to reach an external bus; where its URL is empty, and the
	// process may have its own, an embedded one runs.
	NATS bus.Config
	// Embedded is the process's own bus.
	Embedded bus.EmbeddedConfig
}

// warnBus warns of what a bus of this process asks nobody on.
func (b *builder) warnBus(ctx context.Context, e *bus.Embedded, advice string) error {
	clients, nodes, err := e.Open()
	if err != nil {
		return err
	}
	if clients != nil {
		b.warn(ctx, "NATS", clients, "read all prices, publish others and delete them", advice)
	}
	if nodes != nil {
		b.warn(ctx, "the cluster port", nodes, "become a node of the bus", advice)
	}
	return nil
}

// bus connects to the external bus, or starts an embedded one, and adds what
// closes it again.
func (b *builder) bus(ctx context.Context, c BusConfig, name string) (*bus.JetStream, error) {
	nats := c.NATS
	nats.Name, nats.Logger, nats.Registry = name, b.Logger, b.registry
	var server *bus.Embedded
	if nats.URL == "" {
		if nats.Stream.Storage == bus.StorageDefault && c.Embedded.Dir == "" {
			nats.Stream.Storage = bus.StorageMemory
		}
		var err error
		if server, err = bus.StartEmbedded(c.Embedded, b.Logger); err != nil {
			return nil, fmt.Errorf("embedded bus: %w", err)
		}
		b.owns(server)
		if err := b.warnBus(ctx, server, "keep --nats-listen on loopback, or run the parts apart: lzstock bus has --nats-config"); err != nil {
			return nil, err
		}
		nats.Server = server
	}
	js, err := dial(ctx, b.Logger, func(ctx context.Context) (*bus.JetStream, error) { return bus.Dial(ctx, nats) })
	if err != nil {
		return nil, err
	}
	b.owns(js)
	b.checks = append(b.checks, obs.Check{Name: "bus", Ready: func() error {
		if h := js.Health(); !h.OK {
			return h.Err
		}
		return nil
	}})
	b.add(part{
		name: "bus",
		run: func(ctx context.Context) error {
			<-ctx.Done()
			return nil
		},
		close: func() error {
			err := js.Close()
			if server != nil {
				err = errors.Join(err, server.Close())
			}
			return err
		},
	})
	return js, nil
}
