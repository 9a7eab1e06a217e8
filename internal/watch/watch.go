package watch

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lzstock/lzstock/client"
	"github.com/lzstock/lzstock/internal/safetext"
	"github.com/lzstock/lzstock/market"
)

const (
	frame = 50 * time.Millisecond // the least time between two redraws, or two writes of lines
	again = time.Second           // before a subscription is tried again
)

// Config says what to watch, and how to show it.
type Config struct {
	URL                string   // of a gateway's native endpoint
	URLs               []string // of further gateways of the same feed
	Symbols            []market.Symbol
	Channels           []market.Channel // none means trades, quotes, daily bars and statuses
	Key, Secret, Token string
	MsgPack            bool
	TLS                *tls.Config // for wss; nil trusts whom the system trusts

	JSON  bool // one JSON object a line, in the protocol's shape, on a terminal too
	Color bool // colours; the caller knows whether they are wanted
	// Terminal means that the output is one, and shows a table that Keys move.
	// Other outputs get one line an event.
	Terminal bool
	Keys     io.Reader // the terminal's input; nil for none
	Environ  []string  // tells what kind of terminal it is
	// NetDial replaces net.Dialer.
	NetDial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// display is what Run feeds. Its methods are called by one goroutine at a time.
type display interface {
	event(e *client.Event, now time.Time)
	state(s client.State, now time.Time)
	gap(g client.Gap, now time.Time)
	rejected(r client.Rejection, now time.Time)
	// full tells that no more events should come before they are shown.
	full() bool
}

// Run shows prices on out until ctx ends, or the user quits, which is no error. It
// connects again for as long as that makes sense; when it does not, the error is
// the client's *client.Error, or ErrNoSymbols.
func Run(ctx context.Context, cfg Config, out io.Writer) error {
	wanted, err := cfg.wanted()
	if err != nil {
		return err
	}
	w := &watcher{out: out, wanted: wanted, written: make(chan struct{}, 1)}
	show := w.lines
	if cfg.interactive() {
		b := newBoard(cfg.Symbols)
		w.display = b
		show = func(ctx context.Context) error { return w.terminal(ctx, &cfg, b) }
	} else {
		l := &lines{json: cfg.JSON, color: cfg.Color, url: cfg.URL, several: len(cfg.URLs) > 0}
		w.display, w.text = l, l
	}
	c, err := client.New(client.Config{
		URL: cfg.URL, URLs: cfg.URLs, MsgPack: cfg.MsgPack, Key: cfg.Key, Secret: cfg.Secret, Token: cfg.Token, NetDial: cfg.NetDial, TLS: cfg.TLS,
		OnState: func(s client.State) { w.show(func(d display, now time.Time) { d.state(s, now) }) },
		OnGap:   func(g client.Gap) { w.show(func(d display, now time.Time) { d.gap(g, now) }) },
	})
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	defer c.Close()
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error {
		if err := c.Run(ctx); err != nil {
			return err
		}
		return errEnded
	})
	tasks.Go(func() error { return w.subscribe(ctx, c) })
	tasks.Go(func() error { return w.events(ctx, c) })
	tasks.Go(func() error { return show(ctx) })
	err = tasks.Wait()
	if errors.Is(err, errEnded) {
		err = nil
	}
	if w.text != nil {
		err = errors.Join(err, w.write())
	}
	return err
}

// ErrNoSymbols is what Run gives where there is nothing to watch, and nobody who
// could add something.
var ErrNoSymbols = errors.New("watch: no symbols: name some, or * for all; only the table on a terminal can begin with none")

var errEnded = errors.New("the client was ended")

func (c *Config) wanted() (*wanted, error) {
	channels := c.Channels
	if len(channels) == 0 {
		channels = []market.Channel{market.Trades, market.Quotes, market.DailyBars, market.Statuses}
	}
	if len(c.Symbols) == 0 && !c.interactive() {
		return nil, ErrNoSymbols
	}
	w := &wanted{channels: channels, symbols: make(map[market.Symbol]bool), changed: make(chan struct{}, 1)}
	for _, s := range c.Symbols {
		if err := checkSymbol(s); err != nil {
			return nil, fmt.Errorf("watch: %w", err)
		}
		w.symbols[s] = true
	}
	return w, nil
}

func checkSymbol(s market.Symbol) error {
	if s == market.AllSymbols {
		return nil
	}
	return s.Validate()
}

// interactive tells whether a terminal shows the prices.
func (c *Config) interactive() bool { return c.Terminal && !c.JSON }

// watcher lets several goroutines share one display.
type watcher struct {
	out     io.Writer
	wanted  *wanted
	written chan struct{} // what there was has been shown; room for one

	mu      sync.Mutex
	display display
	text    *lines // the display, where it writes lines
}

func (w *watcher) show(f func(d display, now time.Time)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w.display, time.Now())
}

// write writes the lines that there are.
func (w *watcher) write() error {
	var b []byte
	w.show(func(display, time.Time) { b = w.text.take() })
	if len(b) == 0 {
		return nil
	}
	if _, err := w.out.Write(b); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	return nil
}

// events feeds the display, no faster than it is written.
func (w *watcher) events(ctx context.Context, c *client.Client) error {
	for e, err := range c.Events() {
		if err != nil {
			return nil // Run has the same error, and reports it
		}
		full := false
		w.show(func(d display, now time.Time) {
			d.event(&e, now)
			full = d.full()
		})
		if !full {
			continue
		}
		select {
		case <-w.written:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// lines writes what there is, again and again.
func (w *watcher) lines(ctx context.Context) error {
	return w.each(ctx, w.write)
}

// each calls f at most twenty times a second.
func (w *watcher) each(ctx context.Context, f func() error) error {
	t := time.NewTicker(frame)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if err := f(); err != nil {
				return err
			}
			select {
			case w.written <- struct{}{}:
			default:
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// wait gives the time until an attempt in words.
func wait(s client.State, now time.Time) string {
	d := max(0, s.Next.Sub(now))
	if d < 100*time.Millisecond {
		return "at once"
	}
	return "in " + d.Round(100*time.Millisecond).String()
}

// reason gives an error in one line.
func reason(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*client.Error](err); ok {
		text := e.Reason
		if e.Err != nil {
			text = strings.TrimPrefix(text+": "+e.Err.Error(), ": ")
		}
		return cmp.Or(safetext.Redact(text), e.Op)
	}
	return safetext.Redact(strings.ReplaceAll(err.Error(), "\n", "; "))
}
