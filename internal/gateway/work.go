package gateway

import (
	"fmt"
	"time"

	"github.com/lzstock/lzstock/internal/edge"
	"github.com/lzstock/lzstock/internal/session"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

const (
	// much is about how many topics a command is at least that counts for its user, too.
	much = 4096
	// resumeWork is what it costs to resume, beside the topics: to go through the hub's
	// window, or to ask a monitor.
	resumeWork = 2000
	// workBurst is for how long a socket may have asked for nothing and then ask for all
	// that it could have in that time; userBurst is the same of a user.
	workBurst = 5 * time.Second
	userBurst = time.Minute
)

// owes refuses a command while others before it are not paid for.
func (d *dialog) owes(id wire.ID) error {
	return tooSoon(id, d.paid-time.Since(d.g.made)-workBurst)
}

func tooSoon(id wire.ID, wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	return refuse(id, wire.CodeTooManyRequests, fmt.Sprintf("too many symbols were subscribed to in too short a time: try again in %s", wait.Round(time.Second)+time.Second))
}

// charge counts what a command causes, in topics: those that it adds, a wildcard's as
// many as there are. Who has asked for more than may be in the time has to wait, but
// one command may go beyond that, however much it is about.
func (d *dialog) charge(fresh []market.Topic, cmd *wire.Command) error {
	n := len(fresh)
	for _, t := range fresh {
		if t.Symbol == market.AllSymbols {
			n += d.g.hub.Topics(t.Channel)
		}
	}
	if !cmd.Since.IsZero() {
		n += resumeWork
	}
	if known := d.who != nil && d.who.Method != session.Open; n >= much && known && d.g.work != nil {
		if ok, wait := d.g.work.Take(placeOf(d.who.User), n); !ok {
			return tooSoon(cmd.ID, wait)
		}
	}
	d.paid = max(d.paid, time.Since(d.g.made)) + time.Duration(n)*time.Second/time.Duration(d.g.cfg.TopicRate)
	return nil
}

// payer names whom what the client asks for counts for: its user or, where nobody says
// who they are, its network.
func (d *dialog) payer() string {
	if d.who == nil || d.who.Method == session.Open {
		return "network " + edge.Network(d.address).String()
	}
	return "user " + string(d.who.User)
}
