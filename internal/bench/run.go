package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"

	"github.com/lzstock/lzstock/internal/bench/report"
)

// Times of a run.
const (
	stepEvery    = 50 * time.Millisecond
	openPatience = 30 * time.Second // for all clients to be open once they should be
	endLimit     = 5 * time.Second  // for all to have left
	settleEvery  = 10 * time.Millisecond
	fewPoints    = 4    // of the curves, at least
	mostPoints   = 1800 // of the curves, at most
)

// Run puts the load on, and reports. When ctx ends, the clients leave and the
// report is of what was until then. progress gets a line now and then.
func Run(ctx context.Context, cfg Config, progress io.Writer) (*report.Report, error) {
	r, err := prepare(ctx, cfg, progress)
	if err != nil {
		return nil, err
	}
	return r.run(ctx)
}

// prepare finds out all that speaks against a run before it begins.
func prepare(ctx context.Context, cfg Config, progress io.Writer) (*runner, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &runner{cfg: &cfg, screen: newScreen(progress), total: newTally(), second: newTally()}
	for i := range r.age {
		r.age[i] = report.NewHistogram()
	}
	if r.stages, err = cfg.plan(); err != nil {
		return nil, err
	}
	if err := checkFiles(greatest(r.stages)); err != nil {
		return nil, err
	}
	if r.servers, err = newServers(cfg.Admin); err != nil {
		return nil, err
	}
	defer r.servers.close()
	if r.before, err = r.servers.read(ctx); err != nil {
		return nil, err
	}
	r.peak = r.before.sample
	if r.fleet, err = newFleet(ctx, &cfg); err != nil {
		return nil, err
	}
	if err := r.fleet.preflight(ctx); err != nil {
		return nil, err
	}
	return r, r.baseline(ctx)
}

// baseline leaves what the preflight did out of the servers' counts, once they
// have noticed its end.
func (r *runner) baseline(ctx context.Context) error {
	const attempts = 50
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for range attempts {
		now, err := r.servers.read(ctx)
		if err != nil {
			return err
		}
		r.last, r.before.gateway = now, now.gateway
		if now.sample.Sockets <= r.before.sample.Sockets {
			break
		}
		<-tick.C
	}
	return nil
}

// runner is one run. Its goroutine alone uses it, but for the fleet.
type runner struct {
	cfg     *Config
	stages  []stage
	fleet   *fleet
	servers *servers
	screen  *screen

	begun  time.Time
	every  time.Duration // between two points of the curves
	stage  int           // under way; len(stages): none
	from   int           // clients at its beginning
	since  time.Time     // of it
	waits  bool          // it waits for all to be open
	opened time.Duration // after which all were open; 0: they were not
	most   int           // open at the same time

	total    *tally // of the whole run
	window   [groups]report.Counts
	age      [groups]*hdrhistogram.Histogram // of the window
	second   *tally                          // since the last point; its age[healthy] alone is used
	pointAt  time.Time
	curve    []report.Point
	measured time.Duration // the window's length so far
	windowAt time.Time     // its beginning, where it is open

	before, last scrape
	peak         report.Sample
	cpuFrom      float64 // when the window began
	cpu          float64 // in the window
	ownFrom, own float64 // as cpuFrom and cpu, of this process
	cores        float64 // at the moment
}

func (r *runner) run(ctx context.Context) (*report.Report, error) {
	defer r.screen.clear()
	defer r.servers.close()
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	r.begun = time.Now()
	r.pointAt = r.begun
	var total time.Duration
	for _, s := range r.stages {
		total += s.take
	}
	r.every = max(min(time.Second, total/fewPoints), total/mostPoints)

	drivers, dctx := errgroup.WithContext(own)
	n := runtime.GOMAXPROCS(0)
	for i := range n {
		drivers.Go(func() error { return drive(dctx, r.fleet, i, n) })
	}
	done := make(chan error, 1) // the drivers' end
	samples := make(chan scrape)
	var helpers errgroup.Group
	helpers.Go(func() error {
		done <- drivers.Wait()
		return nil
	})
	if len(r.cfg.Admin) > 0 {
		helpers.Go(func() error { r.watch(own, samples); return nil })
	}
	err := r.loop(ctx, own, done, samples)
	var settled settling
	if err == nil && len(r.cfg.Admin) > 0 {
		settled = r.settle(ctx, own)
	}
	cancel()
	err = errors.Join(err, helpers.Wait())
	if err != nil {
		return nil, err
	}
	return r.report(ctx, settled), nil
}

// watch reads the servers' metrics once a second.
func (r *runner) watch(ctx context.Context, samples chan<- scrape) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s, err := r.servers.read(ctx)
		if err != nil {
			continue // it may be too busy; the curve shows the gap
		}
		select {
		case <-ctx.Done():
			return
		case samples <- s:
		}
	}
}

// loop gives the orders and gathers what comes back, until all clients have left.
func (r *runner) loop(ctx, own context.Context, done <-chan error, samples <-chan scrape) error {
	tick := time.NewTicker(stepEvery)
	defer tick.Stop()
	stop := ctx.Done()
	var late <-chan time.Time // when the end has taken too long
	r.begin(own, 0, time.Now())
	for {
		select {
		case err := <-done:
			r.drain()
			r.point(time.Now())
			if err != nil {
				return fmt.Errorf("the load ended early: %w", err)
			}
			return nil
		case t := <-r.fleet.full:
			r.gather(t)
		case s := <-samples:
			r.sampled(s)
		case <-late: // what is left is cut off
			return nil
		case <-stop:
			stop = nil
			r.begin(own, len(r.stages), time.Now())
		case now := <-tick.C:
			r.step(own, now)
		}
		if r.stage == len(r.stages) && late == nil {
			timer := time.NewTimer(endLimit)
			defer timer.Stop()
			late = timer.C
		}
	}
}

// begin goes over to a stage. Behind the last one all clients leave.
func (r *runner) begin(ctx context.Context, stage int, now time.Time) {
	r.stage, r.since = stage, now
	r.from = int(r.fleet.want.Load())
	measured := stage < len(r.stages) && r.stages[stage].measured
	if measured != !r.windowAt.IsZero() {
		r.switchWindow(ctx, measured)
	}
	if stage < len(r.stages) {
		r.waits = r.stages[stage].wait
		return
	}
	end := leave
	if r.cfg.Vanish {
		end = vanish
	}
	r.fleet.order.Store(int32(end))
}

// switchWindow begins or ends what is measured.
func (r *runner) switchWindow(ctx context.Context, measured bool) {
	if !measured {
		r.measured += time.Since(r.windowAt)
		r.own += ownCPU() - r.ownFrom
		r.windowAt = time.Time{}
		r.fleet.measuring.Store(false)
	}
	if len(r.cfg.Admin) > 0 {
		if s, err := r.servers.read(ctx); err == nil {
			r.sampled(s)
		}
		if measured {
			r.cpuFrom = r.last.sample.CPU
		} else {
			r.cpu += r.last.sample.CPU - r.cpuFrom
		}
	}
	if measured {
		r.ownFrom = ownCPU()
		r.fleet.measuring.Store(true)
		r.windowAt = time.Now()
	}
}

func (r *runner) step(ctx context.Context, now time.Time) {
	open := int(r.fleet.open.Load())
	r.most = max(r.most, open)
	if r.stage < len(r.stages) {
		s := &r.stages[r.stage]
		if r.opened == 0 && open >= r.stages[0].to {
			r.opened = now.Sub(r.begun)
		}
		since := now.Sub(r.since)
		r.fleet.want.Store(int64(s.at(r.from, since)))
		if since >= s.take {
			next := r.stage + 1
			wait := next < len(r.stages) && r.stages[next].wait
			if !wait || open >= s.to || since >= s.take+openPatience {
				r.begin(ctx, next, now)
			}
		}
	}
	if now.Sub(r.pointAt) >= r.every {
		r.point(now)
	}
}

// gather takes what clients have counted.
func (r *runner) gather(t *tally) {
	r.total.add(t)
	for i := range r.second.counts {
		r.second.counts[i].Add(&t.counts[i])
	}
	r.second.age[healthy].Merge(t.age[healthy])
	if t.measured {
		for i := range r.age {
			r.window[i].Add(&t.counts[i])
			r.age[i].Merge(t.age[i])
		}
	}
	t.reset()
	select {
	case r.fleet.empty <- t:
	default:
	}
}

// drain takes what is left when the drivers have ended.
func (r *runner) drain() {
	for {
		select {
		case t := <-r.fleet.full:
			r.gather(t)
		default:
			return
		}
	}
}

func (r *runner) sampled(s scrape) {
	if past := s.at.Sub(r.last.at).Seconds(); past > 0.1 {
		r.cores = (s.sample.CPU - r.last.sample.CPU) / past
	}
	r.last = s
	r.peak.Max(s.sample)
}

// point adds a point to the curves.
func (r *runner) point(now time.Time) {
	past := now.Sub(r.pointAt).Seconds()
	if past <= 0 {
		return
	}
	r.pointAt = now
	var c report.Counts
	for i := range r.second.counts {
		c.Add(&r.second.counts[i])
	}
	a := report.AgesOf(r.second.age[healthy])
	p := report.Point{
		At: now.Sub(r.begun).Seconds(), Open: int(r.fleet.open.Load()),
		EventsPerS: float64(c.Events) / past, MergedPerS: float64(c.Merged) / past, FramesPerS: float64(c.Frames) / past,
		P50: a.P50, P99: a.P99, Max: a.Max, Measured: r.fleet.measuring.Load(),
	}
	if len(r.cfg.Admin) > 0 {
		p.Cores, p.RSS, p.Goroutines = r.cores, r.last.sample.RSS, r.last.sample.Goroutines
	}
	r.curve = append(r.curve, p)
	r.second.reset()
	name := "leave"
	if r.stage < len(r.stages) {
		name = r.stages[r.stage].name
	}
	losses := r.total.counts[healthy].Losses + r.total.counts[slow].Losses
	r.screen.show(now, p, name, int(r.fleet.want.Load()), losses, r.total, len(r.cfg.Admin) > 0)
}

// settling is how the servers came to rest.
type settling struct {
	after time.Duration // -1: not in time
	left  []string
}

// settle watches the servers until they hold no more than before the run. After an
// interruption it looks once, for what they have counted.
func (r *runner) settle(ctx, own context.Context) settling {
	begun := time.Now()
	s := settling{after: -1}
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for time.Since(begun) < r.cfg.Settle {
		now, err := r.servers.read(own)
		if err != nil {
			s.left = []string{err.Error()}
		} else {
			r.last, s.left = now, unsettled(r.before.sample, now.sample)
		}
		if len(s.left) == 0 {
			s.after = time.Since(begun)
			break
		}
		if ctx.Err() != nil {
			s.left = []string{"the run was interrupted"}
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return s
}
