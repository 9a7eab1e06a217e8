package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/lzstock/lzstock/internal/wire"
)

// Delivery says what the gateway does with events that the client does not take
// in time.
type Delivery uint8

// The deliveries.
const (
	Adaptive Delivery = iota // every event, conflated while the client is behind
	Every                    // every event, or the end of the connection
	Latest                   // the latest event per topic, with Interval at most one each
)

// Config configures a Client. Only URL is needed.
type Config struct {
	// URL is the address of the gateway's native endpoint, such as
	// ws://127.0.0.1:8080/v1/stream. http and https are taken for ws and wss; no
	// path stands for /v1/stream.
	URL string
	// MsgPack asks for MessagePack in place of JSON. It is smaller; prices travel
	// as floats, which is exact below 8,388,608. A gateway that does not agree
	// gets and sends JSON.
	MsgPack bool
	// Key and Secret, or Token, are sent as credentials; none are sent without.
	Key, Secret, Token string
	// Header is added to the upgrade request.
	Header http.Header

	Delivery    Delivery
	Interval    time.Duration // least time between two events of a topic, for Latest; 0: none
	NoSnapshots bool          // do not send current values at subscribe

	Buffer      int           // events that may wait for Events; 0 means 1,024
	DialTimeout time.Duration // for one attempt, up to the gateway's greeting; 0 means 10 s
	MinBackoff  time.Duration // the first limit of the random wait between attempts; 0 means 500 ms
	MaxBackoff  time.Duration // its last, after it has doubled each time; 0 means 30 s

	// OnState is called after each change of State, one call at a time. It must
	// not block.
	OnState func(State)
	// NetDial replaces net.Dialer, for tests and tunnels.
	NetDial func(ctx context.Context, network, addr string) (net.Conn, error)
	// TLS is used for wss.
	TLS *tls.Config
}

func (c Config) withDefaults() (Config, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return c, fmt.Errorf("client: bad URL: %w", err)
	}
	switch u.Scheme {
	case "ws", "wss":
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	default:
		return c, fmt.Errorf("client: bad URL %q: want ws://host:port/v1/stream or wss://…", c.URL)
	}
	if u.Host == "" {
		return c, fmt.Errorf("client: bad URL %q: there is no host", c.URL)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/stream"
	}
	u.Fragment = ""
	c.URL = u.String()
	switch {
	case c.Delivery > Latest:
		return c, fmt.Errorf("client: delivery %d is not known: want Adaptive, Every or Latest", c.Delivery)
	case c.Interval != 0 && c.Delivery != Latest:
		return c, errors.New("client: an interval goes with delivery Latest only")
	case c.Interval != 0 && (c.Interval < wire.MinInterval || c.Interval > wire.MaxInterval):
		return c, fmt.Errorf("client: interval %s is not between %s and %s", c.Interval, wire.MinInterval, wire.MaxInterval)
	case c.Token != "" && c.Key+c.Secret != "":
		return c, errors.New("client: give key and secret, or a token, not both")
	case c.Buffer < 0 || c.DialTimeout < 0 || c.MinBackoff < 0 || c.MaxBackoff < 0:
		return c, errors.New("client: buffer, timeout and backoff must not be negative")
	}
	if c.Buffer == 0 {
		c.Buffer = 1024
	}
	if c.DialTimeout == 0 {
		c.DialTimeout = 10 * time.Second
	}
	if c.MinBackoff == 0 {
		c.MinBackoff = 500 * time.Millisecond
	}
	if c.MaxBackoff == 0 {
		c.MaxBackoff = 30 * time.Second
	}
	c.MaxBackoff = max(c.MaxBackoff, c.MinBackoff)
	return c, nil
}

func (c *Config) options() wire.Options {
	o := wire.Options{Snapshot: !c.NoSnapshots}
	switch c.Delivery {
	case Adaptive:
		o.Delivery = wire.Adaptive
	case Every:
		o.Delivery = wire.Every
	case Latest:
		o.Delivery = wire.Latest
	}
	if c.Interval > 0 {
		o.Interval = &c.Interval
	}
	return o
}
