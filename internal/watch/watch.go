package watch

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lzstock/lzstock/client"
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
	Channels           []market.Channel // none means trades, quotes and daily bars
	Key, Secret, Token string
	MsgPack            bool
	TLS                *tls.Config // for wss; nil trusts whom the system trusts

	JSON  bool // one JSON object a line, in the protocol's shape
	Color bool // colours; the caller knows whether they are wanted
	// Size gives the terminal's width and height in cells. nil, or a width of 0,
	// means that the output is no terminal, and gets one line an event.
	Size func() (width, height int)
	// NetDial replaces net.Dialer.
	NetDial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// display is what Run feeds. Its methods are called by one goroutine at a time.
type display interface {
	event(e *client.Event, now time.Time)
	state(s client.State, now time.Time)
	gap(g client.Gap, now time.Time)
	rejected(r client.Rejection, now time.Time)
	// full tells that no more events should come before the next refresh.
	full() bool
	// refresh gives what is to be written now, perhaps nothing.
	refresh(now time.Time) []byte
	// last gives what is to be written at the end.
	last(now time.Time) []byte
}

// Run shows prices on out until ctx ends, which is no error. It connects again
// for as long as that makes sense; when it does not, the error is the client's
// *client.Error.
func Run(ctx context.Context, cfg Config, out io.Writer) error {
	topics, err := cfg.topics()
	if err != nil {
		return err
	}
	w := &watcher{out: out, written: make(chan struct{}, 1), display: cfg.display()}
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
	tasks.Go(func() error { return w.subscribe(ctx, c, topics) })
	tasks.Go(func() error { return w.events(ctx, c) })
	tasks.Go(func() error { return w.refresh(ctx) })
	err = tasks.Wait()
	if errors.Is(err, errEnded) {
		err = nil
	}
	return errors.Join(err, w.write(display.last))
}

var errEnded = errors.New("the client was ended")

func (c *Config) topics() ([]market.Topic, error) {
	channels := c.Channels
	if len(channels) == 0 {
		channels = []market.Channel{market.Trades, market.Quotes, market.DailyBars}
	}
	if len(c.Symbols) == 0 {
		return nil, errors.New("watch: no symbols: name some, or * for all")
	}
	var out []market.Topic
	for _, s := range c.Symbols {
		if s != market.AllSymbols {
			if err := s.Validate(); err != nil {
				return nil, fmt.Errorf("watch: %w", err)
			}
		}
		for _, ch := range channels {
			out = append(out, market.Topic{Channel: ch, Symbol: s})
		}
	}
	return out, nil
}

func (c *Config) display() display {
	width := 0
	if c.Size != nil {
		width, _ = c.Size()
	}
	if width > 0 && !c.JSON {
		return newTable(c)
	}
	return &lines{json: c.JSON, color: c.Color, url: c.URL, several: len(c.URLs) > 0}
}

// watcher lets several goroutines share one display.
type watcher struct {
	out     io.Writer
	written chan struct{} // a refresh has been written; room for one

	mu      sync.Mutex
	display display
}

func (w *watcher) show(f func(d display, now time.Time)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w.display, time.Now())
}

func (w *watcher) write(f func(d display, now time.Time) []byte) error {
	var b []byte
	w.show(func(d display, now time.Time) { b = f(d, now) })
	if len(b) == 0 {
		return nil
	}
	if _, err := w.out.Write(b); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	return nil
}

// subscribe waits for the first connection. Symbols that the gateway refuses are
// shown; when it refuses all, there is nothing to watch. What may succeed later is
// tried again, unless the gateway has kept it.
func (w *watcher) subscribe(ctx context.Context, c *client.Client, topics []market.Topic) error {
	for {
		err := c.Subscribe(ctx, topics...)
		if over(ctx) || err == nil {
			return nil
		}
		if rejected, ok := errors.AsType[*client.RejectedError](err); ok {
			if len(rejected.Rejected) == len(topics) {
				return err
			}
			w.show(func(d display, now time.Time) {
				for _, r := range rejected.Rejected {
					d.rejected(r, now)
				}
			})
			return nil
		}
		e, ok := errors.AsType[*client.Error](err)
		switch {
		case !ok || e.Retry == client.RetryNever:
			return err
		case e.Code == http.StatusServiceUnavailable: // kept until prices are there again
			return nil
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return nil
		}
	}
}

func over(ctx context.Context) bool { return ctx.Err() != nil }

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

func (w *watcher) refresh(ctx context.Context) error {
	t := time.NewTicker(frame)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if err := w.write(display.refresh); err != nil {
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
		return cmp.Or(text, e.Op)
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}
