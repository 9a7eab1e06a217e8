package auth

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/lzstock/lzstock/internal/session"
)

// Config configures an Authenticator. With its zero value nobody is asked.
type Config struct {
	// Keys is the file of API keys; none means that keys are not in use.
	Keys string

	// Secret is a file with a secret that tokens are signed with (HS256), JWKS a
	// file or an https URL with the public keys that check them. At most one of
	// the two; none means that tokens are not in use.
	Secret string
	JWKS   string

	Issuer   string        // what tokens must say in iss; "": anything
	Audience string        // what must be among their aud; "": anything
	Leeway   time.Duration // for clocks that differ; 30 s by default, less than 0 is none
	// TokenGrant is for tokens without the claim lzstock.
	TokenGrant session.Grant

	Poll     time.Duration // between looks at the files; 1 s by default
	Refresh  time.Duration // between fetches of the key set; 10 min by default
	Cooldown time.Duration // at least, before an unknown key causes another fetch; 10 s by default
	// Client fetches the key set; nil means one that follows redirects to https only.
	Client *http.Client
}

// maxLeeway is far beyond what clocks differ by: more would be a mistake.
const maxLeeway = 10 * time.Minute

func (c *Config) open() bool { return c.Keys == "" && c.Secret == "" && c.JWKS == "" }

func (c Config) withDefaults() (Config, error) {
	if c.Secret != "" && c.JWKS != "" {
		return c, errors.New("auth: tokens are checked with a shared secret or with a key set: give one of the two")
	}
	if c.Secret == "" && c.JWKS == "" && (c.Issuer != "" || c.Audience != "") {
		return c, errors.New("auth: an issuer or an audience is expected, but no secret and no key set is given to check tokens with")
	}
	if err := c.TokenGrant.Validate(); err != nil {
		return c, fmt.Errorf("auth: tokens without a grant: %w", err)
	}
	switch {
	case c.Leeway > maxLeeway:
		return c, fmt.Errorf("auth: leeway is %s: want at most %s", c.Leeway, maxLeeway)
	case c.Leeway < 0:
		c.Leeway = 0
	case c.Leeway == 0:
		c.Leeway = 30 * time.Second
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		usual time.Duration
	}{
		{"poll", &c.Poll, time.Second},
		{"refresh", &c.Refresh, 10 * time.Minute},
		{"cooldown", &c.Cooldown, 10 * time.Second},
	} {
		if *d.value < 0 {
			return c, fmt.Errorf("auth: %s is %s: want a positive time, or 0 for %s", d.name, *d.value, d.usual)
		}
		if *d.value == 0 {
			*d.value = d.usual
		}
	}
	return c, nil
}
