package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lzstock/lzstock/internal/session"
	"github.com/lzstock/lzstock/market"
)

// grantFlags say what a key or a token lets its user see. They belong to one key:
// variables and files, which are a gateway's, do not set them.
type grantFlags struct {
	Channels    []string      `cmdline:"" help:"Only these channels: some of trades, quotes, bars, updatedBars, dailyBars, statuses." placeholder:"CHANNEL,..." sep:"none"`
	Symbols     []string      `cmdline:"" help:"Only these symbols, such as AAPL or, for all that begin so, BTC*." placeholder:"SYMBOL,..." sep:"none"`
	Delay       time.Duration `cmdline:"" help:"How old events are before they are shown." placeholder:"TIME"`
	MaxSymbols  int           `cmdline:"" help:"Symbols of one socket, in place of the gateway's limit." placeholder:"N"`
	MaxSockets  int           `cmdline:"" help:"Sockets at once, in place of the gateway's limit." placeholder:"N"`
	MaxSessions int           `cmdline:"" help:"Sessions at once, in place of the gateway's limit." placeholder:"N"`
}

// grant makes a grant of the flags. It splits the lists itself: kong takes an empty
// one, as a script's empty variable gives it, for none, which would grant all.
func (f grantFlags) grant() (session.Grant, error) {
	g := session.Grant{
		Delay:  f.Delay,
		Limits: session.Limits{Symbols: f.MaxSymbols, Sockets: f.MaxSockets, Sessions: f.MaxSessions},
	}
	for _, name := range split(f.Channels) {
		i := slices.IndexFunc(market.Channels(), func(c market.Channel) bool { return c.String() == name })
		if i < 0 {
			return g, fmt.Errorf("--channels: no channel %q, want some of %v", name, market.Channels())
		}
		g.Channels = append(g.Channels, market.Channels()[i])
	}
	for _, s := range split(f.Symbols) {
		g.Symbols = append(g.Symbols, session.Pattern(s))
	}
	return g, g.Validate()
}

// split gives the parts of lists with commas; an empty list is one empty part.
func split(lists []string) []string {
	if len(lists) == 0 {
		return nil
	}
	return strings.Split(strings.Join(lists, ","), ",")
}
