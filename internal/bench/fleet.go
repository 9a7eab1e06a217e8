package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// order is what the clients are to do.
type order int32

const (
	run    order = iota
	leave        // politely
	vanish       // at once, without a close frame
)

// Times of one connection.
const (
	shakeLimit   = 10 * time.Second // until the upgrade is answered
	leaveLimit   = 2 * time.Second  // until our close frame is answered
	firstRest    = 500 * time.Millisecond
	longestRest  = 10 * time.Second
	publishEvery = 250 * time.Millisecond
	dripEvery    = 100 * time.Millisecond
	dripBytes    = 50
)

// fleet is what all clients have in common. The run sets the orders, those who
// drive the clients obey and send tallies.
type fleet struct {
	cfg       *Config
	url       *url.URL
	tls       *tls.Config // nil for ws
	target    netip.AddrPort
	sources   []netip.Addr
	want      atomic.Int64
	open      atomic.Int64
	measuring atomic.Bool
	order     atomic.Int32
	full      chan *tally
	empty     chan *tally
}

func newFleet(ctx context.Context, cfg *Config) (*fleet, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	if u.Path == "" {
		u.Path = "/v1/stream"
	}
	port := u.Port()
	f := &fleet{cfg: cfg, url: u, full: make(chan *tally, 64), empty: make(chan *tally, 64)}
	if u.Scheme == "wss" {
		f.tls = &tls.Config{ServerName: u.Hostname(), InsecureSkipVerify: cfg.Insecure, MinVersion: tls.VersionTLS12} //nolint:gosec // who asks for it gets it
		if port == "" {
			port = "443"
		}
	}
	if port == "" {
		port = "80"
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	addr := addrs[0].Unmap()
	for _, a := range addrs { // localhost may be both, and most listen on the older
		if a.Unmap().Is4() {
			addr = a.Unmap()
			break
		}
	}
	f.target = netip.AddrPortFrom(addr, uint16(number))
	f.sources = cfg.sources(addr)
	for _, s := range f.sources {
		if s.Is4() != addr.Is4() {
			return nil, fmt.Errorf("source address %s is of another kind than the server's, %s", s, addr)
		}
	}
	return f, nil
}

// temper says how client id treats its socket: the shares come true in any run of
// clients.
func (f *fleet) temper(id int) temper {
	_, u := math.Modf(float64(id+1) * math.Phi)
	switch {
	case u < float64(f.cfg.Stalled):
		return stalled
	case u < float64(f.cfg.Stalled+f.cfg.Drip):
		return dripping
	}
	return eager
}

// source gives the address that client id connects from; none where the system
// chooses.
func (f *fleet) source(id int) netip.Addr {
	if len(f.sources) == 0 {
		return netip.Addr{}
	}
	return f.sources[id%len(f.sources)]
}

// symbols chooses what client id wants: always the same.
func (f *fleet) symbols(id int) []market.Symbol {
	all := f.cfg.Universe
	if f.cfg.Symbols == len(all) {
		return all
	}
	rnd := rand.New(rand.NewPCG(uint64(id), 0x6c7a73746f636b))
	out := make([]market.Symbol, 0, f.cfg.Symbols)
	swapped := make(map[int]int, f.cfg.Symbols) // the beginning of a shuffle of all
	at := func(i int) int {
		if j, ok := swapped[i]; ok {
			return j
		}
		return i
	}
	for i := range f.cfg.Symbols {
		j := i + rnd.IntN(len(all)-i)
		out = append(out, all[at(j)])
		swapped[j] = at(i)
	}
	return out
}

// longQuery is where a subscription is better sent as messages: servers limit the
// length of a request.
const longQuery = 4 << 10

// request gives the bytes that client id begins with, and what it sends once the
// upgrade is accepted.
func (f *fleet) request(id int) (request, then []byte) {
	symbols := f.symbols(id)
	var list bytes.Buffer
	for i, s := range symbols {
		if i > 0 {
			list.WriteByte(',')
		}
		list.WriteString(url.QueryEscape(string(s)))
	}
	opts := wire.Options{Delivery: f.cfg.Delivery, Snapshot: true}
	if f.cfg.Interval > 0 {
		opts.Interval = &f.cfg.Interval
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s?%s", f.url.EscapedPath(), f.url.RawQuery)
	param := func(key, value string) {
		if end := b.Bytes()[b.Len()-1]; end != '?' && end != '&' {
			b.WriteByte('&')
		}
		b.WriteString(key + "=" + value)
	}
	if list.Len()*len(f.cfg.Channels) <= longQuery {
		for _, c := range f.cfg.Channels {
			param(c.String(), list.String())
		}
		if opts.Delivery != 0 {
			param("delivery", opts.Delivery.String())
		}
		if opts.Interval != nil {
			param("interval_ms", strconv.FormatInt(opts.Interval.Milliseconds(), 10))
		}
	} else {
		then = subscribe(f.cfg.Channels, symbols, opts)
	}
	fmt.Fprintf(&b, " HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bHpzdG9jay1iZW5jaC4uLg==\r\nUser-Agent: lzstock-bench\r\n\r\n", f.url.Host)
	return b.Bytes(), then
}

// subscribe gives the frames that subscribe to a lot.
func subscribe(channels []market.Channel, symbols []market.Symbol, opts wire.Options) (out []byte) {
	const each = 500 // symbols, so that a message stays below a server's limit
	for _, c := range channels {
		for from := 0; from < len(symbols); from += each {
			cmd := wire.Command{Action: wire.Subscribe, Options: opts}
			for _, s := range symbols[from:min(from+each, len(symbols))] {
				cmd.Topics = append(cmd.Topics, market.Topic{Channel: c, Symbol: s})
			}
			out = appendMasked(out, wire.OpText, wire.AppendCommand(nil, wire.JSONNative, &cmd))
		}
	}
	return out
}

// exchange gives a full tally away and gets an empty one. Where the run has ended
// nobody wants it.
func (f *fleet) exchange(ctx context.Context, t *tally) *tally {
	select {
	case f.full <- t:
	case <-ctx.Done():
	}
	fresh := f.blank()
	fresh.measured = f.measuring.Load()
	return fresh
}

func (f *fleet) blank() *tally {
	select {
	case t := <-f.empty:
		return t
	default:
		return newTally()
	}
}

// byServer tells whether a close frame that came while the client was leaving is
// the server's own, and not the answer to the client's: those who do not read do
// not hear before.
func byServer(code uint16) bool {
	const normal, none = 1000, 1005
	return code != 0 && code != normal && code != none
}

// part gives how many of n clients belong to one of several drivers.
func part(n, index, of int) int { return (n - index + of - 1) / of }

// rest gives how long a client waits after so many failures in a row, with full
// jitter. Who left by itself comes back at once.
func rest(fails int) time.Duration {
	if fails == 0 {
		return time.Millisecond
	}
	most := min(firstRest<<min(fails, 6), longestRest)
	return time.Duration(rand.Int64N(int64(most))) + time.Millisecond
}
