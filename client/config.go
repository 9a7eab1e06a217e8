package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/lzstock/lzstock/internal/safetext"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
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

// Config configures a Client. Only URL, or one of URLs, is needed.
type Config struct {
	// URL is the address of the gateway's native endpoint, such as
	// ws://127.0.0.1:8080/v1/stream. http and https are taken for ws and wss; no
	// path stands for /v1/stream. With a session_id the gateway holds the
	// subscriptions.
	URL string
	// URLs are further gateways of the same feed. The client begins with any of
	// them, and turns to the next one when one fails or is drained.
	URLs []string
	// MsgPack asks for MessagePack in place of JSON. It is smaller; prices travel
	// as floats, which is exact below 8,388,608. A gateway that does not agree
	// gets and sends JSON.
	MsgPack bool
	// Key and Secret, or Token, are sent as credentials; none are sent without.
	Key, Secret, Token string
	// TokenSource is asked for a token in place of Token: for each connection, and
	// when the gateway says that the present one expires. It is to return when ctx
	// ends. A token that is refused is asked for again once.
	TokenSource func(ctx context.Context) (string, error)
	// Header is added to the upgrade request.
	Header http.Header

	Delivery    Delivery
	Interval    time.Duration // least time between two events of a topic, for Latest; 0: none
	NoSnapshots bool          // do not send current values at subscribe

	// Heartbeat is how often the gateway is to send something at least; 0 leaves it
	// to the gateway. A gateway that is silent for more than twice as long is
	// given up, and so is one that misses two of its own pings.
	Heartbeat time.Duration

	Buffer      int           // events that may wait for Events; 0 means 1,024
	DialTimeout time.Duration // for one attempt, up to the gateway's greeting; 0 means 10 s
	MinBackoff  time.Duration // the first limit of the random wait between attempts; 0 means 500 ms
	MaxBackoff  time.Duration // its last, after it has doubled each time; 0 means 30 s

	// OnState is called after each change of State, one call at a time. It must
	// not block.
	OnState func(State)
	// OnGap is called for each loss, one call at a time, also with OnState. It must
	// not block. Events in which the loss shows are marked Broken.
	OnGap func(Gap)
	// NetDial replaces net.Dialer, for tests and tunnels.
	NetDial func(ctx context.Context, network, addr string) (net.Conn, error)
	// TLS is used for wss.
	TLS *tls.Config

	random func(limit time.Duration) time.Duration // between 0 and limit
}

func (c Config) withDefaults() (Config, error) {
	urls := slices.Clone(c.URLs)
	if c.URL != "" || len(urls) == 0 {
		urls = slices.Insert(urls, 0, c.URL)
	}
	for i, one := range urls {
		var err error
		if urls[i], err = endpoint(one); err != nil {
			return c, err
		}
	}
	c.URLs = urls
	switch {
	case c.Delivery > Latest:
		return c, fmt.Errorf("client: delivery %d is not known: want Adaptive, Every or Latest", c.Delivery)
	case c.Interval != 0 && c.Delivery != Latest:
		return c, errors.New("client: an interval goes with delivery Latest only")
	case c.Interval != 0 && (c.Interval < wire.MinInterval || c.Interval > wire.MaxInterval):
		return c, fmt.Errorf("client: interval %s is not between %s and %s", c.Interval, wire.MinInterval, wire.MaxInterval)
	case c.Heartbeat != 0 && (c.Heartbeat < wire.MinHeartbeat || c.Heartbeat > wire.MaxHeartbeat):
		return c, fmt.Errorf("client: heartbeat %s is not between %s and %s", c.Heartbeat, wire.MinHeartbeat, wire.MaxHeartbeat)
	case c.Key+c.Secret != "" && (c.Token != "" || c.TokenSource != nil), c.Token != "" && c.TokenSource != nil:
		return c, errors.New("client: give key and secret, or a token, or a source of tokens, not both")
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
	if c.random == nil {
		c.random = func(limit time.Duration) time.Duration { return rand.N(limit) }
	}
	return c, nil
}

// endpoint completes the address of a gateway.
func endpoint(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("client: bad URL: %w", safetext.Error(err))
	}
	switch u.Scheme {
	case "ws", "wss":
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	default:
		return "", fmt.Errorf("client: bad URL %q: want ws://host:port/v1/stream or wss://…", safetext.Redact(address))
	}
	if u.Host == "" {
		return "", fmt.Errorf("client: bad URL %q: there is no host", safetext.Redact(address))
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/stream"
	}
	u.Fragment = ""
	return u.String(), nil
}

// keeps tells whether the gateway knows the subscriptions without being told: by a
// session, or from the URL.
func keeps(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	q := u.Query()
	return q.Has("session_id") || slices.ContainsFunc(market.Channels(), func(c market.Channel) bool { return q.Has(c.String()) })
}

// resuming gives the address with the position to resume from.
func resuming(address string, at market.Position) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	q := u.Query()
	q.Set("since", at.String())
	u.RawQuery = q.Encode()
	return u.String()
}

func (c *Config) options() wire.Options {
	o := wire.Options{Snapshot: !c.NoSnapshots, Heartbeat: c.Heartbeat}
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
