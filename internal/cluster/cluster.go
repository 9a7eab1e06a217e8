package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// errStopping is why nothing is started any more.
var errStopping = errors.New("the cluster stops")

// event is what happened to a process.
type event struct {
	child *child
	text  string
	ended bool
}

// supervisor runs the processes of one Run.
type supervisor struct {
	cfg      Config
	children []*child
	events   chan event
	began    time.Time
	all      bool           // all were ready once
	deaths   map[*child]int // before that
}

// Run runs all processes until ctx ends; then it ends them, the last group first.
// It returns an error where one does not start at all, or had to be killed.
func Run(ctx context.Context, cfg Config) error {
	if err := cfg.validate(); err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	defer func() { _, _ = r.Close(), w.Close() }() // nobody is there any more who could look at it
	s := &supervisor{cfg: cfg, events: make(chan event, 64), began: time.Now(), deaths: map[*child]int{}}
	for _, p := range cfg.Processes {
		s.children = append(s.children, &child{Process: p, log: logPath(cfg.Dir, p.Name)})
	}

	spawn, release := spawner()
	defer release()
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var owner sync.WaitGroup
	start := func(group int) {
		for _, c := range s.group(group) {
			owner.Go(func() { c.live(life, &s.cfg, r, spawn, s.tell(life)) })
		}
	}
	err = s.supervise(ctx, start)
	s.say("Stopping.\n")
	end()
	var forced []string
	for _, g := range slices.Backward(s.groups()) {
		forced = append(forced, halt(s.group(g))...)
	}
	owner.Wait()
	if len(forced) > 0 {
		err = errors.Join(err, fmt.Errorf("%s did not end within %s, and had to be killed", strings.Join(forced, ", "), StopTimeout))
	}
	return err
}

// spawner runs functions on one thread that lives until release: on Linux a
// process is killed when the thread that started it ends.
func spawner() (spawn func(func()), release func()) {
	work := make(chan func())
	var owner sync.WaitGroup
	owner.Go(func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for f := range work {
			f()
		}
	})
	spawn = func(f func()) {
		done := make(chan struct{})
		work <- func() { defer close(done); f() }
		<-done
	}
	return spawn, func() {
		close(work)
		owner.Wait()
	}
}

func (s *supervisor) tell(ctx context.Context) func(event) {
	return func(e event) {
		select {
		case s.events <- e:
		case <-ctx.Done():
		}
	}
}

func (s *supervisor) groups() []int {
	var all []int
	for _, c := range s.children {
		all = append(all, c.Group)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (s *supervisor) group(g int) []*child {
	return slices.DeleteFunc(slices.Clone(s.children), func(c *child) bool { return c.Group != g })
}

// supervise starts group after group, and tells what happens, until ctx ends.
func (s *supervisor) supervise(ctx context.Context, start func(group int)) error {
	rest := s.groups()
	var now []*child // those that are to be ready before the next group
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		if !s.all && !slices.ContainsFunc(now, func(c *child) bool { return !c.ready.Load() }) {
			if len(rest) == 0 {
				s.all = true
				s.table()
				if s.cfg.Ready != nil {
					s.cfg.Ready()
				}
				continue
			}
			now = s.group(rest[0])
			s.say("Starting %s\n", names(now))
			start(rest[0])
			rest = rest[1:]
		}
		select {
		case <-ctx.Done():
			return nil
		case e := <-s.events:
			s.say("%s %s\n", e.child.Name, e.text)
			if e.ended {
				s.deaths[e.child]++
			}
			if e.ended && !s.all && (s.deaths[e.child] >= startTries || !s.cfg.Restart) {
				return fmt.Errorf("%s does not start; the end of %s: %s", e.child.Name, e.child.log, e.child.lastWords())
			}
		case <-tick.C:
			s.ask(ctx)
		}
	}
}

// ask asks all that run and are not known to be ready whether they are.
func (s *supervisor) ask(ctx context.Context) {
	var asking sync.WaitGroup
	for _, c := range s.children {
		if c.pid.Load() == 0 || c.ready.Load() {
			continue
		}
		asking.Go(func() {
			if Ready(ctx, c.Admin) == nil {
				c.ready.Store(true)
			}
		})
	}
	asking.Wait()
	for _, c := range s.children {
		if s.all && c.again.Load() && c.ready.Load() {
			c.again.Store(false)
			s.say("%s is ready again\n", c.Name)
		}
	}
}

// Ready asks an admin listener whether its process is ready, and says why not.
func Ready(ctx context.Context, admin string) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", resp.Status)
	}
	return nil
}

func names(children []*child) string {
	var all []string
	for _, c := range children {
		all = append(all, c.Name)
	}
	return strings.Join(all, ", ")
}

// say tells people. Who has stopped reading stops nothing.
func (s *supervisor) say(format string, args ...any) { _, _ = fmt.Fprintf(s.cfg.Out, format, args...) }

// table shows what runs where.
func (s *supervisor) table() {
	s.say("All %d processes are ready after %s.\n\n", len(s.children), time.Since(s.began).Round(100*time.Millisecond))
	t := tabwriter.NewWriter(s.cfg.Out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "  NAME\tPID\tSERVES\tADMIN\tLOG")
	for _, c := range s.children {
		_, _ = fmt.Fprintf(t, "  %s\t%d\t%s\thttp://%s\t%s\n", c.Name, c.pid.Load(), c.Where, c.Admin, c.log)
	}
	_ = t.Flush()
}
