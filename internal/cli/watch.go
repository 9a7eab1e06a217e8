package cli

import (
	"crypto/tls"
	"errors"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/lzstock/lzstock/internal/certs"
	"github.com/lzstock/lzstock/internal/obs"
	"github.com/lzstock/lzstock/internal/watch"
	"github.com/lzstock/lzstock/market"
)

// watchCmd is `lzstock watch SYMBOL…`.
type watchCmd struct {
	Symbols  []string `arg:"" help:"What to watch, such as AAPL or BTC/USD; '*' is everything. A terminal can begin with none." name:"symbol" optional:""`
	URL      []string `default:"ws://127.0.0.1:8080/v1/stream" help:"The gateway's native endpoint; several, or a comma list: the others take over where one fails." name:"url" placeholder:"URL" sep:"none"`
	Channels []string `default:"trades,quotes,dailyBars,statuses" enum:"trades,quotes,bars,updatedBars,dailyBars,statuses" help:"Kinds of events: trades, quotes, bars, updatedBars, dailyBars, statuses." placeholder:"CHANNEL"`
	JSON     bool     `help:"One JSON object a line, in the protocol's shape." name:"json"`
	NoColor  bool     `help:"No colours; NO_COLOR does the same."`
	Msgpack  bool     `help:"Speak MessagePack with the gateway, in place of JSON."`
	CA       string   `help:"With wss: certificates to trust in place of the system's, PEM." name:"ca" placeholder:"FILE"`
	Key      string   `help:"API key." placeholder:"KEY"`
	Secret   string   `help:"The key's secret." placeholder:"SECRET" secret:""`
	Token    string   `help:"JSON Web Token." placeholder:"TOKEN" secret:""`
}

// Help is shown behind the flags.
func (watchCmd) Help() string {
	return `On a terminal it shows a table, where a halted symbol is marked: a and d add and remove symbols, s and r sort, enter shows a symbol's day, minutes and trades, ? all
keys. Elsewhere, or with --json, it writes one line an event. It reconnects by itself and goes on where it was; where that cannot be, it
says what is missing.

Examples:

    lzstock watch AAPL MSFT
    lzstock watch --url ws://127.0.0.1:8080,ws://127.0.0.1:8081 AAPL MSFT
    lzstock watch --json --channels trades '*' | jq .p`
}

// Run watches until it is stopped.
func (c watchCmd) Run(p *process) error {
	cfg := watch.Config{
		URLs: endpoints(c.URL), Key: c.Key, Secret: c.Secret, Token: c.Token, MsgPack: c.Msgpack, JSON: c.JSON,
		Color: !c.NoColor && obs.IsTerminal(p.stdout) && !slices.ContainsFunc(p.environ, func(kv string) bool {
			value, ok := strings.CutPrefix(kv, "NO_COLOR=")
			return ok && value != ""
		}),
		Terminal: obs.IsTerminal(p.stdout), Environ: p.environ,
	}
	if f, ok := p.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		cfg.Keys = f
	}
	cfg.URL, cfg.URLs = cfg.URLs[0], cfg.URLs[1:]
	if c.CA != "" {
		pool, err := certs.Trust(c.CA)
		if err != nil {
			return err
		}
		cfg.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	for _, s := range c.Symbols {
		cfg.Symbols = append(cfg.Symbols, market.Symbol(s))
	}
	for _, ch := range market.Channels() {
		if slices.Contains(c.Channels, ch.String()) {
			cfg.Channels = append(cfg.Channels, ch)
		}
	}
	err := watch.Run(p.ctx, cfg, p.stdout)
	if errors.Is(err, watch.ErrNoSymbols) {
		return usageError{err}
	}
	return err
}

// endpoints splits comma lists of URLs. A comma within a URL, as in its query, is
// none that another scheme follows.
func endpoints(lists []string) []string {
	var out []string
	for _, list := range lists {
		for i, part := range strings.Split(list, ",") {
			part = strings.TrimSpace(part)
			if i > 0 && !strings.Contains(part, "://") {
				out[len(out)-1] += "," + part
				continue
			}
			out = append(out, part)
		}
	}
	return out
}
