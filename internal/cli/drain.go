package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/lzstock/lzstock/internal/app"
)

// drainPoll is the time between two looks at how far a drain is.
const drainPoll = 500 * time.Millisecond

// drainCmd is `lzstock drain`.
type drainCmd struct {
	Admin  string `default:"127.0.0.1:9090" help:"Admin address of the process." placeholder:"ADDR"`
	Stop   bool   `cmdline:"" help:"End the process behind it, as a stop signal does."`
	NoWait bool   `cmdline:"" help:"Do not wait until it is over."`
}

// Help is shown behind the flags.
func (drainCmd) Help() string {
	return `A gateway refuses new clients from then on, and tells those that it has to move, evenly over its --drain-window; the process stays, to be looked at, until it is stopped. A drain cannot be taken back: start the process anew.

A monitor ends its streams, so that gateways move to another one.

Examples:

    lzstock drain
    lzstock drain --admin 127.0.0.1:9091 --stop
    lzstock drain --no-wait`
}

// Run drains a process.
func (c drainCmd) Run(p *process) error {
	s, err := c.ask(p, http.MethodPost)
	if err != nil {
		return err
	}
	if c.NoWait {
		_, err := fmt.Fprintf(p.stdout, "draining: %d clients left\n", s.Left)
		return err
	}
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for last := ""; ; {
		line := "drained"
		if s.State != app.Drained {
			line = fmt.Sprintf("draining: %d clients left, at most %s more", s.Left, max(0, time.Until(s.Deadline)).Round(time.Second))
		} else if s.Left > 0 {
			line = fmt.Sprintf("drained: %d clients left, which end with the process", s.Left)
		}
		if line != last {
			if _, err := fmt.Fprintln(p.stdout, line); err != nil {
				return err
			}
			last = line
		}
		if s.State == app.Drained && !s.Stops {
			return nil
		}
		select {
		case <-p.ctx.Done():
			return errors.New("not waiting any longer: the drain goes on")
		case <-tick.C:
		}
		next, err := c.ask(p, http.MethodGet)
		if err != nil && s.Stops {
			_, err := fmt.Fprintln(p.stdout, "the process has ended")
			return err
		}
		if err != nil {
			return err
		}
		s = next
	}
}

// ask begins the drain, or looks how far it is.
func (c drainCmd) ask(p *process, method string) (s app.DrainStatus, err error) {
	query := url.Values{}
	if method == http.MethodPost {
		query.Set("stop", strconv.FormatBool(c.Stop))
	}
	resp, err := askAdmin(p.ctx, "process", c.Admin, method, "/drain", query)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		return s, fmt.Errorf("the process's answer: %w", err)
	}
	return s, nil
}

// drainTimes refuses what is no time to wait.
func drainTimes(grace, window time.Duration) (time.Duration, time.Duration, error) {
	if grace < 0 || window < 0 {
		return 0, 0, usageError{fmt.Errorf("--drain-grace %v and --drain-window %v: want 0s or more", grace, window)}
	}
	return grace, window, nil
}
