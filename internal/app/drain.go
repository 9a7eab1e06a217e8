package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/lzstock/lzstock/internal/gateway"
)

// drainRequest is the reason of a drain that an operator has asked for.
const drainRequest = "an operator asked for it"

// The states of a DrainStatus.
const (
	Serving  = "serving"
	Draining = "draining"
	Drained  = "drained"
)

// DrainStatus is how far a process's drain is: the answer of /drain.
type DrainStatus struct {
	State    string    `json:"state"`
	Left     int       `json:"left"` // clients that are still there
	Since    time.Time `json:"since,omitzero"`
	Deadline time.Time `json:"deadline,omitzero"` // it is over then at the latest
	Stops    bool      `json:"stops"`             // the process ends behind it
}

// drain takes a process out of service before its parts are stopped. It begins
// when the process is to stop, or when an operator asks for it; then the process
// goes on, and refuses what comes, until it is stopped.
type drain struct {
	log   *slog.Logger
	asked chan struct{} // holds one at most: something has changed

	mu       sync.Mutex
	parts    []part
	why      string // empty: nobody wants a drain
	stops    bool
	begun    time.Time
	deadline time.Time
	done     bool
}

func newDrain(log *slog.Logger) *drain { return &drain{log: log, asked: make(chan struct{}, 1)} }

// mind says which parts there are, before any of them runs.
func (d *drain) mind(parts []part) {
	d.mu.Lock()
	d.parts = parts
	d.mu.Unlock()
}

// request wants a drain, and the end of the process behind it where stop is set.
// The first reason counts.
func (d *drain) request(why string, stop bool) {
	d.mu.Lock()
	if d.why == "" {
		d.why, d.begun = why, time.Now()
		d.deadline = d.begun
		for _, p := range d.parts {
			d.deadline = d.deadline.Add(p.within)
		}
	}
	d.stops = d.stops || stop
	d.mu.Unlock()
	select {
	case d.asked <- struct{}{}:
	default:
	}
}

// wait returns the part whose end ends the process, or nil where ctx or a drain
// did.
func (d *drain) wait(ctx context.Context, ended <-chan *runningPart) *runningPart {
	draining, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	signal, started := ctx.Done(), false
	for {
		select {
		case <-signal:
			signal = nil
			d.request(context.Cause(ctx).Error(), true)
		case <-d.asked:
			if !started {
				started = true
				work.Go(func() { d.run(draining) })
			}
		case r := <-ended:
			if r.err != nil || r.last {
				return r
			}
		}
		if s := d.status(); s.State == Drained && s.Stops {
			return nil
		}
	}
}

// run drains the parts, in the order in which they are stopped.
func (d *drain) run(ctx context.Context) {
	d.mu.Lock()
	why, within, parts := d.why, d.deadline.Sub(d.begun), d.parts
	d.mu.Unlock()
	if within > 0 {
		d.log.LogAttrs(ctx, slog.LevelInfo, "leaving service; a second signal ends the process at once",
			slog.String("reason", why), slog.Duration("within", within))
	}
	for _, p := range slices.Backward(parts) {
		if p.drain != nil {
			p.drain(ctx)
		}
	}
	d.mu.Lock()
	d.done = true
	d.mu.Unlock()
	select {
	case d.asked <- struct{}{}: // wait looks again
	default:
	}
}

func (d *drain) status() DrainStatus {
	d.mu.Lock()
	s := DrainStatus{State: Serving, Since: d.begun, Deadline: d.deadline, Stops: d.stops}
	switch {
	case d.done:
		s.State = Drained
	case d.why != "":
		s.State = Draining
	}
	parts := d.parts
	d.mu.Unlock()
	for _, p := range parts {
		if p.left != nil {
			s.Left += p.left()
		}
	}
	return s
}

// ready is the check of readiness that fails from a drain's first moment on.
func (d *drain) ready() error {
	switch s := d.status(); s.State {
	case Draining:
		return fmt.Errorf("draining since %s, %d clients left", s.Since.UTC().Format(time.RFC3339), s.Left)
	case Drained:
		return errors.New("drained")
	}
	return nil
}

// admin registers what operators see of the drain, and do:
//
//	GET  /drain            how far it is
//	POST /drain?stop=true  begins it; with stop, the process ends behind it
func (d *drain) admin(mux *http.ServeMux) {
	answer := func(w http.ResponseWriter, status int) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(d.status()) // who has left does not need it
	}
	mux.HandleFunc("GET /drain", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK) })
	mux.HandleFunc("POST /drain", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(gateway.AdminHeader) == "" {
			http.Error(w, "want the header "+gateway.AdminHeader+", so that no web page does this from your browser", http.StatusForbidden)
			return
		}
		stop := r.URL.Query().Get("stop")
		if stop != "" && stop != "true" && stop != "false" {
			http.Error(w, "stop: want true or false", http.StatusBadRequest)
			return
		}
		d.request(drainRequest, stop == "true")
		answer(w, http.StatusOK)
	})
}
