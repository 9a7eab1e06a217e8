package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/lzstock/lzstock/internal/bridge"
)

const (
	// retryAfter is what those are told who come to a gateway that has no room, or
	// is about to stop.
	retryAfter = 5 * time.Second
	// handing is how long a gateway that hands its port over lets those in at least
	// who were on their way to it.
	handing = time.Second
	// drainProgress is the time between a drain's records of progress.
	drainProgress = 5 * time.Second
)

// door says what a drain has done to who comes.
type door uint8

const (
	doorOpen    door = iota // there is no drain
	doorHanding             // another process gets new connections; who comes here all the same is let in
	doorShut                // who comes is sent away
)

// shut says why nobody is let in; nil where they are. The lock is held.
func (g *Gateway) shut() *problem {
	p := problem{Status: http.StatusServiceUnavailable, retryAfter: retryAfter, part: true}
	switch {
	case g.closing:
		p.cause, p.Detail = "stopping", "the gateway is stopping"
	case g.drain == doorShut:
		p.cause, p.Detail = "draining", "the gateway is being taken out of service: connect again, to another one"
	default:
		return nil
	}
	return &p
}

// closed is shut for those who do not hold the lock.
func (g *Gateway) closed() *problem {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shut()
}

func (g *Gateway) turn(to door) {
	g.mu.Lock()
	g.drain = to
	g.mu.Unlock()
}

// Draining reports whether Drain has been called.
func (g *Gateway) Draining() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.drain != doorOpen
}

// Left is how many sockets there are.
func (g *Gateway) Left() int { return g.bridges.Left() }

// Drain takes the gateway out of service while Run goes on. Who comes is refused
// from its beginning, except where another process has taken the port over: then
// those who were on their way here are let in, and moved. After the grace, clients
// are told to move, at a steady rate; their sockets end one after the other, the
// last at the end of the window. Drain returns when no socket is left, then or
// earlier, or with ctx. It is called once.
func (g *Gateway) Drain(ctx context.Context) {
	begun := time.Now()
	run := bridge.Drain{Window: g.cfg.DrainWindow}
	handover := g.cfg.Handover != nil && g.cfg.Handover(ctx)
	if handover {
		run.Least = handing
		g.turn(doorHanding)
	} else {
		g.turn(doorShut)
	}
	g.log.LogAttrs(ctx, slog.LevelInfo, "draining", slog.Int("sockets", g.Left()),
		slog.Duration("grace", g.cfg.DrainGrace), slog.Duration("window", g.cfg.DrainWindow), slog.Bool("handover", handover))
	reporting, stop := context.WithCancel(ctx)
	var report sync.WaitGroup
	report.Go(func() { g.report(reporting) })
	switch {
	case !wait(ctx, g.cfg.DrainGrace):
	case g.cfg.DrainWindow > 0:
		g.bridges.Drain(ctx, run)
	default:
		wait(ctx, run.Least)
	}
	stop()
	report.Wait()
	g.turn(doorShut)
	g.log.LogAttrs(ctx, slog.LevelInfo, "drained", slog.Int("sockets", g.Left()),
		slog.Uint64("notices", g.bridges.Stats().Drains), slog.Duration("took", time.Since(begun)))
}

// report logs how the drain does, until ctx ends.
func (g *Gateway) report(ctx context.Context) {
	for wait(ctx, drainProgress) {
		g.log.LogAttrs(ctx, slog.LevelInfo, "draining", slog.Int("sockets", g.Left()), slog.Uint64("notices", g.bridges.Stats().Drains))
	}
}

// wait waits, and reports whether ctx has not ended meanwhile.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
