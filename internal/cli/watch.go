package cli

import (
	"crypto/tls"
	"io"
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
	Symbols  []string `arg:"" help:"What to watch, such as AAPL or BTC/USD; '*' is everything." name:"symbol"`
	URL      string   `default:"ws://127.0.0.1:8080/v1/stream" help:"The gateway's native endpoint." placeholder:"URL"`
	Channels []string `default:"trades,quotes,dailyBars" enum:"trades,quotes,bars,updatedBars,dailyBars" help:"Kinds of events: trades, quotes, bars, updatedBars, dailyBars." placeholder:"CHANNEL"`
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
	return `On a terminal it keeps one line a symbol; elsewhere it writes one line an event. It reconnects by itself.

Examples:

    lzstock watch AAPL MSFT
    lzstock watch --url ws://127.0.0.1:8080/v1/stream AAPL MSFT
    lzstock watch --json --channels trades '*' | jq .p`
}

// Run watches until it is stopped.
func (c watchCmd) Run(p *process) error {
	cfg := watch.Config{
		URL: c.URL, Key: c.Key, Secret: c.Secret, Token: c.Token, MsgPack: c.Msgpack, JSON: c.JSON,
		Color: !c.NoColor && obs.IsTerminal(p.stdout) && !slices.ContainsFunc(p.environ, func(kv string) bool {
			value, ok := strings.CutPrefix(kv, "NO_COLOR=")
			return ok && value != ""
		}),
		Size: terminalSize(p.stdout),
	}
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
	return watch.Run(p.ctx, cfg, p.stdout)
}

// terminalSize gives what asks for a terminal's size; nil where w is none.
func terminalSize(w io.Writer) func() (width, height int) {
	f, ok := w.(*os.File)
	if !ok || !obs.IsTerminal(w) {
		return nil
	}
	return func() (int, int) {
		width, height, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 0, 0
		}
		return width, height
	}
}
