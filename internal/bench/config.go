package bench

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/lzstock/lzstock/internal/feed/sim"
	"github.com/lzstock/lzstock/internal/safetext"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// Config configures a run. Its zero value, with a URL, is a small one.
type Config struct {
	URL         string           // of the stream: ws or wss; other query parameters stay
	Clients     int              // at most; 0 means the profile's, or 100
	Symbols     int              // a client; 0 means 10, or all where there are fewer
	Universe    []market.Symbol  // to choose from; none means the simulator's 30
	Channels    []market.Channel // none means trades and quotes
	Delivery    wire.Delivery    // 0 means the server's default
	Interval    time.Duration    // of delivery latest; 0 means none
	Duration    time.Duration    // at full load; 0 means 30 s. With a profile: of all of it; 0 means its own
	Ramp        time.Duration    // to full load; 0 means a second for each 1,000 clients
	Stalled     Share            // share of the clients that stop reading once subscribed
	Drip        Share            // share of the clients that read 500 bytes a second
	Churn       Rate             // clients a second that leave and come back
	Vanish      bool             // at the end all drop their connection without a close frame
	Profile     string           // smoke, spike, capacity, or none
	SourceAddrs []netip.Addr     // to connect from, in turn; none means as many of 127.0.0.0/8 as the ports need
	Admin       []string         // URLs of the servers' metrics
	Insecure    bool             // wss: any certificate will do
	Portable    bool             // a goroutine a socket on Linux, too
	Settle      time.Duration    // how long the server is watched after the end; 0 means 10 s
	Version     string           // for the report
	Command     string           // for the report
}

// withDefaults fills in what is not set, and checks what is.
func (c Config) withDefaults() (Config, error) {
	u, err := url.Parse(c.URL)
	if err != nil || (u.Scheme != "ws" && u.Scheme != "wss") || u.Host == "" {
		return c, fmt.Errorf("%q is no address of a stream; want one such as ws://127.0.0.1:8080/v1/stream", safetext.Redact(c.URL))
	}
	if c.Profile != "" {
		p, err := profileOf(c.Profile)
		if err != nil {
			return c, err
		}
		if c.Clients == 0 {
			c.Clients = p.clients
		}
		if c.Ramp != 0 {
			return c, fmt.Errorf("profile %s has its own ramp; leave --ramp out, or the profile", c.Profile)
		}
	}
	if len(c.Universe) == 0 {
		if c.Universe, err = ParseUniverse("sim"); err != nil {
			return c, err
		}
	}
	if len(c.Channels) == 0 {
		c.Channels = []market.Channel{market.Trades, market.Quotes}
	}
	set(&c.Clients, 100)
	if c.Symbols == 0 {
		c.Symbols = min(10, len(c.Universe))
	}
	if c.Profile == "" {
		set(&c.Duration, 30*time.Second)
		set(&c.Ramp, max(time.Second, time.Duration(c.Clients)*time.Millisecond))
	}
	set(&c.Settle, 10*time.Second)
	return c, c.validate()
}

func set[T int | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

func (c *Config) validate() error {
	switch {
	case c.Clients < 1:
		return fmt.Errorf("clients is %d: want 1 or more", c.Clients)
	case c.Symbols < 1 || c.Symbols > len(c.Universe):
		return fmt.Errorf("symbols is %d: want 1 to %d, which is how many there are to choose from", c.Symbols, len(c.Universe))
	case c.Duration < 0 || c.Ramp < 0 || c.Settle < 0:
		return errors.New("a duration is negative")
	case c.Stalled < 0 || c.Drip < 0 || c.Stalled+c.Drip > 1:
		return errors.New("the shares of stalled and dripping clients must be 0 to 100%, and so must be both together")
	case c.Churn < 0:
		return fmt.Errorf("churn is %s: want 0 or more clients a second", c.Churn)
	case c.Interval != 0 && c.Delivery != wire.Latest:
		return errors.New("an interval goes with delivery latest only")
	}
	return nil
}

// ParseUniverse reads what symbols there are to choose from: sim or sim:N for the
// simulator's, @FILE with a symbol a line, or a list with commas.
func ParseUniverse(text string) ([]market.Symbol, error) {
	if n, ok := strings.CutPrefix(text, "sim"); ok && (n == "" || n[0] == ':') {
		opts := sim.Options{Symbols: sim.DefaultSymbols}
		if n != "" {
			var err error
			if opts.Symbols, err = strconv.Atoi(n[1:]); err != nil || opts.Symbols < 1 {
				return nil, fmt.Errorf("%q: want sim:N with N from 1 to %d", text, sim.MaxSymbols)
			}
		}
		s, err := sim.New(opts, time.Time{})
		if err != nil {
			return nil, err
		}
		return s.Symbols(), nil
	}
	list := strings.Split(text, ",")
	if name, ok := strings.CutPrefix(text, "@"); ok {
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("symbols: %w", err)
		}
		list = strings.Fields(string(content))
	}
	var out []market.Symbol
	seen := map[market.Symbol]bool{}
	for _, s := range list {
		symbol := market.Symbol(strings.TrimSpace(s))
		if err := symbol.Validate(); err != nil && symbol != market.AllSymbols {
			return nil, fmt.Errorf("%w; want sim, sim:N, @FILE or a list such as AAPL,MSFT", err)
		}
		if !seen[symbol] {
			seen[symbol] = true
			out = append(out, symbol)
		}
	}
	return out, nil
}

// ParseChannels reads a list with commas, such as trades,quotes.
func ParseChannels(text string) ([]market.Channel, error) {
	var out []market.Channel
	for name := range strings.SplitSeq(text, ",") {
		found := false
		var names []string
		for _, c := range market.Channels() {
			names = append(names, c.String())
			if c.String() == strings.TrimSpace(name) {
				out, found = append(out, c), true
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no channel %q; want some of %s", name, strings.Join(names, ","))
		}
	}
	return out, nil
}

// Share is a part of the clients, written as 20% or 0.2.
type Share float64

// UnmarshalText reads a share.
func (s *Share) UnmarshalText(text []byte) error {
	digits, factor := string(text), 1.0
	if d, ok := strings.CutSuffix(digits, "%"); ok {
		digits, factor = d, 0.01
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if v *= factor; err != nil || !(v >= 0 && v <= 1) {
		return fmt.Errorf("%q is no share; want one such as 20%% or 0.2", text)
	}
	*s = Share(v)
	return nil
}

// String writes a share as it is read.
func (s Share) String() string { return strconv.FormatFloat(float64(s)*100, 'g', 6, 64) + "%" }

// Rate is how many a second, written as 5/s or 5.
type Rate float64

// UnmarshalText reads a rate.
func (r *Rate) UnmarshalText(text []byte) error {
	v, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(string(text), "/s")), 64)
	if err != nil || !(v >= 0 && v <= 1e6) {
		return fmt.Errorf("%q is no rate; want how many a second, such as 5/s", text)
	}
	*r = Rate(v)
	return nil
}

// String writes a rate as it is read.
func (r Rate) String() string { return strconv.FormatFloat(float64(r), 'g', 6, 64) + "/s" }

// ParseSources reads addresses to connect from: auto, addresses with commas, or a
// range such as 127.0.0.1-127.0.0.8.
func ParseSources(text string) ([]netip.Addr, error) {
	const most = 4096
	if text == "auto" || text == "" {
		return nil, nil
	}
	var out []netip.Addr
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			last = first
		}
		a, err := netip.ParseAddr(first)
		b, err2 := netip.ParseAddr(last)
		if err != nil || err2 != nil || b.Less(a) || a.Is4() != b.Is4() {
			return nil, fmt.Errorf("%q is no source address; want auto, 127.0.0.1,127.0.0.2 or 127.0.0.1-127.0.0.8", part)
		}
		for ; !b.Less(a); a = a.Next() {
			if out = append(out, a); len(out) > most {
				return nil, fmt.Errorf("%q has more than %d addresses", text, most)
			}
		}
	}
	return out, nil
}

// sources are the addresses to connect from, for a target: none means that the
// system chooses.
func (c *Config) sources(target netip.Addr) []netip.Addr {
	const each = 5000 // sockets; a system has some 28,000 ports, and those just closed rest a minute
	if len(c.SourceAddrs) > 0 || !spreads || !target.Is4() || !target.IsLoopback() {
		return c.SourceAddrs
	}
	n := 1 + (c.Clients+int(c.Churn*60))/each
	if n == 1 {
		return nil
	}
	var out []netip.Addr
	for a := netip.AddrFrom4([4]byte{127, 0, 0, 1}); len(out) < n; a = a.Next() {
		out = append(out, a)
	}
	return out
}
