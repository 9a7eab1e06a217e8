package session

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lzstock/lzstock/market"
)

// User names whom a client acts for. Limits and sessions count by it.
type User string

// Method is how a client proved who it is.
type Method string

// The methods.
const (
	Open  Method = "open"  // it did not: the gateway asks for nothing
	Key   Method = "key"   // an API key and its secret
	Token Method = "token" // a JWT
)

// Identity is who a client is and what it may see.
type Identity struct {
	User       User      `json:"user"`
	Method     Method    `json:"method"`
	Credential string    `json:"credential,omitzero"` // the key's id, or the token's: names it, proves nothing
	Issued     time.Time `json:"issued,omitzero"`     // when the credential was made, where that is known
	Expires    time.Time `json:"expires,omitzero"`    // zero: never
	Grant      Grant     `json:"grant,omitzero"`
}

// Grant says what a user may see. Its zero value grants everything, in real time,
// within the gateway's own limits.
type Grant struct {
	Channels []market.Channel // none: all
	Symbols  []Pattern        // none: all
	Delay    time.Duration    // how old events are before they are shown; 0: real time
	Limits   Limits
}

// Limits are a user's own, in place of the gateway's; 0 means the gateway's.
type Limits struct {
	Symbols  int `json:"symbols,omitzero"`  // a socket
	Sockets  int `json:"sockets,omitzero"`  // open at once
	Sessions int `json:"sessions,omitzero"` // at once
}

// Pattern is a symbol, or a prefix of symbols with a "*" behind it. "*" alone is
// every symbol.
type Pattern string

// Validate says what is wrong with a pattern.
func (p Pattern) Validate() error {
	prefix, wild := strings.CutSuffix(string(p), "*")
	if wild && prefix == "" {
		return nil
	}
	if err := market.Symbol(prefix).Validate(); err != nil {
		return fmt.Errorf("bad pattern %q: want a symbol such as AAPL, or a prefix such as BTC*: %w", string(p), err)
	}
	return nil
}

// Matches reports whether the pattern covers a symbol.
func (p Pattern) Matches(s market.Symbol) bool {
	if prefix, wild := strings.CutSuffix(string(p), "*"); wild {
		return strings.HasPrefix(string(s), prefix)
	}
	return string(p) == string(s)
}

// Channel reports whether the grant covers any symbol of a channel.
func (g *Grant) Channel(c market.Channel) bool {
	return len(g.Channels) == 0 || slices.Contains(g.Channels, c)
}

// Allows reports whether the grant covers a topic. market.AllSymbols stands for
// the symbols that the user may see, so it is allowed with its channel.
func (g *Grant) Allows(t market.Topic) bool {
	if !g.Channel(t.Channel) {
		return false
	}
	return t.Symbol == market.AllSymbols || g.AllowsSymbol(t.Symbol)
}

// AllowsSymbol reports whether the grant covers a symbol on any channel.
func (g *Grant) AllowsSymbol(s market.Symbol) bool {
	return len(g.Symbols) == 0 || slices.ContainsFunc(g.Symbols, func(p Pattern) bool { return p.Matches(s) })
}

// grantText is a grant as it stands in key files, tokens and stored sessions.
type grantText struct {
	Channels []string  `json:"channels,omitempty"`
	Symbols  []Pattern `json:"symbols,omitempty"`
	Delay    string    `json:"delay,omitzero"`
	Limits   Limits    `json:"limits,omitzero"`
}

// MarshalJSON writes what UnmarshalJSON reads.
func (g Grant) MarshalJSON() ([]byte, error) {
	t := grantText{Symbols: g.Symbols, Limits: g.Limits}
	for _, c := range g.Channels {
		t.Channels = append(t.Channels, c.String())
	}
	if g.Delay != 0 {
		t.Delay = g.Delay.String()
	}
	return json.Marshal(t)
}

// UnmarshalJSON reads {"channels":["trades"],"symbols":["AAPL","BTC*"],"delay":"15m",
// "limits":{"symbols":100,"sockets":2,"sessions":2}}; all of it may be left out.
func (g *Grant) UnmarshalJSON(data []byte) error {
	var t grantText
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	if err := d.Decode(&t); err != nil {
		return fmt.Errorf("bad grant: %w", err)
	}
	out := Grant{Symbols: t.Symbols, Limits: t.Limits}
	for _, name := range t.Channels {
		i := slices.IndexFunc(market.Channels(), func(c market.Channel) bool { return c.String() == name })
		if i < 0 {
			return fmt.Errorf("bad grant: no channel %q, want some of %v", name, market.Channels())
		}
		out.Channels = append(out.Channels, market.Channels()[i])
	}
	if t.Delay != "" {
		delay, err := time.ParseDuration(t.Delay)
		if err != nil || delay < 0 {
			return fmt.Errorf("bad grant: delay is %q, want a time such as 15m", t.Delay)
		}
		out.Delay = delay
	}
	if err := out.Validate(); err != nil {
		return err
	}
	*g = out
	return nil
}

// Validate says what is wrong with a grant.
func (g *Grant) Validate() error {
	for _, p := range g.Symbols {
		if err := p.Validate(); err != nil {
			return fmt.Errorf("bad grant: %w", err)
		}
	}
	if l := g.Limits; g.Delay < 0 || l.Symbols < 0 || l.Sockets < 0 || l.Sessions < 0 {
		return fmt.Errorf("bad grant: delay %v and limits %+v must not be negative", g.Delay, l)
	}
	return nil
}
