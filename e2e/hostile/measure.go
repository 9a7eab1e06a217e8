package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// The promises.
const (
	ratioBound  = 1.3
	backBound   = 15.0 // seconds
	memoryBound = 192  // MiB that an attack may cost a process
)

// states are those of both processes.
type states struct{ Gateway, Monitor state }

func (s *system) state(ctx context.Context) (both states, err error) {
	if both.Gateway, err = s.gateway.state(ctx); err != nil {
		return both, fmt.Errorf("the gateway: %w", err)
	}
	if both.Monitor, err = s.monitor.state(ctx); err != nil {
		return both, fmt.Errorf("the monitor: %w", err)
	}
	return both, nil
}

// collected is state behind a collection of garbage.
func (s *system) collected(ctx context.Context) (states, error) {
	if err := errors.Join(s.gateway.collect(ctx), s.monitor.collect(ctx)); err != nil {
		return states{}, err
	}
	return s.state(ctx)
}

// measure measures what healthy clients notice without the attack and with it, what
// it takes of the processes, and how long until they gave that back.
func measure(ctx context.Context, o options, s *system, f *fleet, a attack) (row, error) {
	f.phase.Store(idle)
	f.take()
	r := row{Attack: a.name, Seed: o.seed}
	f.phase.Store(peace)
	if err := pause(ctx, min(o.duration/2, 30*time.Second)); err != nil {
		return r, err
	}
	f.phase.Store(idle)
	before, err := s.collected(ctx)
	if err != nil {
		return r, err
	}
	t := s.target
	t.Attack, t.Duration = a.name, o.duration
	child, err := startAttacker(ctx, t)
	if err != nil {
		return r, err
	}
	defer child.stop()
	f.phase.Store(war)
	began := time.Now()
	peak := watchPeak(ctx, s, before)
	done, err := child.wait()
	if err == nil {
		err = pause(ctx, time.Second-time.Since(began)) // prices come in that time
	}
	f.left.Store(time.Now().UnixNano())
	f.phase.Store(aftermath)
	r.Peak = peak()
	if err != nil {
		return r, err
	}
	r.Counts, r.Faults = done.Counts, done.Faults
	r.Before = before
	if r.Back, r.After, r.left, err = s.back(ctx, o, before, a); err != nil {
		return r, err
	}
	seen := f.take()
	f.phase.Store(idle)
	r.judge(o, a, seen)
	return r, nil
}

// watchPeak looks at the processes until the function that it returns is called, which
// returns the most that they held.
func watchPeak(ctx context.Context, s *system, peak states) func() states {
	ctx, cancel := context.WithCancel(ctx)
	var task sync.WaitGroup
	task.Go(func() {
		for pause(ctx, 250*time.Millisecond) == nil {
			// A process that is too busy to answer is looked at again.
			if now, err := s.state(ctx); err == nil {
				peak.Gateway, peak.Monitor = peak.Gateway.most(now.Gateway), peak.Monitor.most(now.Monitor)
			}
		}
	})
	return func() states {
		cancel()
		task.Wait()
		return peak
	}
}

// back waits until the processes gave back what the attack took, and returns how long
// that took and what is left of it otherwise.
func (s *system) back(ctx context.Context, o options, before states, a attack) (seconds float64, now states, left []string, err error) {
	began, symbols := time.Now(), len(s.target.Symbols)
	// What comes of symbols with time: a value a topic, and about 340 bytes a minute's bar.
	grown := 3*symbols + int(o.duration.Minutes()*float64(symbols))/3
	for {
		if now, err = s.collected(ctx); err != nil {
			return 0, now, nil, err
		}
		left = now.Gateway.more(before.Gateway, 0, 0)
		for i := range left {
			left[i] = "the gateway still has " + left[i]
		}
		if !a.publishes {
			for _, what := range now.Monitor.more(before.Monitor, symbols*len(channels()), grown) {
				left = append(left, "the monitor still has "+what)
			}
		}
		seconds = time.Since(began).Seconds()
		if len(left) == 0 || seconds > 2*backBound {
			return seconds, now, left, nil
		}
		if err := pause(ctx, 500*time.Millisecond); err != nil {
			return seconds, now, left, err
		}
	}
}

// judge fills in what clients noticed, and which promises are broken.
func (r *row) judge(o options, a attack, seen [phases]notice) {
	demand := func(ok bool, format string, args ...any) {
		if !ok {
			r.Broken = append(r.Broken, fmt.Sprintf(format, args...))
		}
	}
	r.Without, r.With = agesOf(seen[peace].ages), agesOf(seen[war].ages)
	r.Events = len(seen[war].ages)
	all := seen[war]
	all.add(seen[aftermath])
	r.Ping, r.Gaps, r.Losses, r.Ends = milliseconds(all.ping), all.gaps, all.losses, all.ends
	for _, reason := range sortedKeys(all.stale) {
		r.Stale += all.stale[reason]
		demand(false, "healthy clients were told %d times that the feed is stale or down: %s", all.stale[reason], reason)
	}
	demand(len(seen[peace].ages) > 0 && r.Events > 0, "no prices came to be measured")
	demand(r.Gaps == 0, "healthy clients were told of %d gaps", r.Gaps)
	demand(r.Losses == 0, "healthy clients lost events %d times", r.Losses)
	demand(r.Ends == 0, "%d sockets of healthy clients ended", r.Ends)
	bound := cmp.Or(a.memory, memoryBound)
	for _, p := range []struct {
		name         string
		before, peak state
	}{{"gateway", r.Before.Gateway, r.Peak.Gateway}, {"monitor", r.Before.Monitor, r.Peak.Monitor}} {
		more := (p.peak.Resident - p.before.Resident) >> 10
		demand(more <= bound, "the attack took %d MiB of the %s, at most %d wanted", more, p.name, bound)
	}
	for _, what := range r.left {
		demand(false, "%s after %.0fs", what, r.Back)
	}
	for _, name := range sortedKeys(r.Faults) {
		demand(false, "%s (%d times)", name, r.Faults[name])
	}
	if !o.assert || r.Events == 0 {
		return
	}
	demand(r.Back <= backBound, "it took %.0fs until all was back, at most %.0fs wanted", r.Back, backBound)
	demand(a.machine || r.With.P99 <= ratioBound*r.Without.P99, "the p99 of ages went from %.1f to %.1f ms, at most %.1f times as much wanted", r.Without.P99, r.With.P99, ratioBound)
	demand(!a.greatest || r.With.Max <= ratioBound*r.Without.Max, "the greatest age went from %.1f to %.1f ms, at most %.1f times as much wanted", r.Without.Max, r.With.Max, ratioBound)
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
