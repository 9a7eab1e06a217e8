package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/lzstock/lzstock/internal/session"
)

// Authenticator finds out who a client is. Its errors wrap session.ErrRefused,
// ErrExpired, ErrRevoked or ErrUnavailable, and their texts may be shown.
type Authenticator interface {
	// Open reports whether nobody is asked who they are.
	Open() bool
	// Key and Token say whose credentials these are. Token may take seconds.
	Key(ctx context.Context, id, secret string) (session.Identity, error)
	Token(ctx context.Context, token string) (session.Identity, error)
	// Check says whether an identity that was found earlier still holds, and gives
	// it as it is now.
	Check(ctx context.Context, who session.Identity) (session.Identity, error)
	// Changed tells that identities are to be checked again.
	Changed() <-chan struct{}
}

// bearerProtocol begins the subprotocol that browsers, which cannot set headers,
// carry a token in.
const bearerProtocol = "bearer."

// credentials are what a request proves its client's identity with: a token, or a
// key with its secret, or nothing.
type credentials struct{ token, key, secret string }

// none reports whether there are none.
func (c credentials) none() bool { return c == credentials{} }

// secretParams are query parameters that people put credentials into elsewhere.
// URLs end up in logs, histories and Referer headers.
func secretParams() []string {
	return []string{"token", "access_token", "jwt", "key", "api_key", "apikey", "secret", "password", "auth", "authorization"}
}

// credentialsOf reads the credentials of a request.
func credentialsOf(r *http.Request) (credentials, *problem) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil { // what follows it would be overlooked
		return credentials{}, &problem{
			Status: http.StatusBadRequest, cause: "bad-query",
			Detail: "the query cannot be read: want name=value, joined by &, and other characters escaped",
		}
	}
	for _, name := range secretParams() {
		if query.Has(name) {
			return credentials{}, &problem{
				Status: http.StatusBadRequest, cause: "credentials-in-url",
				Detail: "credentials do not belong into a URL (" + name + "): send them as a header, as the subprotocol bearer.<token>, or in the auth message",
			}
		}
	}
	var found []credentials
	for _, v := range r.Header.Values("Authorization") {
		scheme, token, _ := strings.Cut(v, " ")
		if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" {
			return credentials{}, badCredentials("Authorization: want Bearer and a token")
		}
		found = append(found, credentials{token: token})
	}
	for _, p := range tokens(r, "Sec-WebSocket-Protocol") {
		if token, ok := strings.CutPrefix(p, bearerProtocol); ok {
			if token == "" {
				return credentials{}, badCredentials("subprotocol bearer.: want a token behind it")
			}
			found = append(found, credentials{token: token})
		}
	}
	if key, secret := r.Header.Get("APCA-API-KEY-ID"), r.Header.Get("APCA-API-SECRET-KEY"); key != "" || secret != "" {
		if key == "" || secret == "" {
			return credentials{}, badCredentials("APCA-API-KEY-ID and APCA-API-SECRET-KEY belong together: one of them is missing")
		}
		found = append(found, credentials{key: key, secret: secret})
	}
	switch len(found) {
	case 0:
		return credentials{}, nil
	case 1:
		return found[0], nil
	}
	return credentials{}, badCredentials("credentials came in more than one way: want one")
}

func badCredentials(detail string) *problem {
	return &problem{Status: http.StatusBadRequest, cause: "bad-credentials", Detail: detail}
}

// open is everybody's identity where nobody is asked.
func open() session.Identity { return session.Identity{Method: session.Open} }

// authenticate finds out whose credentials these are.
func (g *Gateway) authenticate(ctx context.Context, c credentials) (session.Identity, error) {
	if g.auth.Open() {
		return open(), nil
	}
	var who session.Identity
	var err error
	if c.token != "" {
		who, err = g.auth.Token(ctx, c.token)
	} else {
		who, err = g.auth.Key(ctx, c.key, c.secret)
	}
	if err == nil && g.sessions.IsRevoked(who.User, who.Issued) {
		err = session.ErrRevoked
	}
	if err == nil {
		err = g.offers(&who)
	}
	return who, err
}

// offers reports whether prices are to be had as late as a client must see them.
func (g *Gateway) offers(who *session.Identity) error {
	if _, ok := g.cfg.Delayed[who.Grant.Delay]; who.Grant.Delay > 0 && !ok {
		return errNoDelay
	}
	return nil
}

var errNoDelay = errors.New("prices that are delayed as the credentials want it are not offered here")

// identify finds out who sends a request. Without credentials it gives nil where
// somebody must say later who they are.
func (g *Gateway) identify(r *http.Request) (*session.Identity, *problem) {
	c, p := credentialsOf(r)
	if p != nil {
		return nil, p
	}
	if c.none() && !g.auth.Open() {
		return nil, nil //nolint:nilnil // it has not said so yet
	}
	who, err := g.authenticate(r.Context(), c)
	if err != nil {
		return nil, authProblem(err)
	}
	if who.Method == session.Open {
		return &g.anybody, nil
	}
	return &who, nil
}

// authProblem says over HTTP how authentication ended.
func authProblem(err error) *problem {
	p := &problem{Status: http.StatusUnauthorized, cause: "auth-failed", Detail: err.Error(), challenge: true}
	switch {
	case errors.Is(err, session.ErrUnavailable):
		return &problem{Status: http.StatusServiceUnavailable, cause: "auth-unavailable", Detail: err.Error(), retryAfter: 5 * time.Second}
	case errors.Is(err, session.ErrExpired):
		p.cause = "auth-expired"
	case errors.Is(err, session.ErrRevoked):
		p.cause = "auth-revoked"
	case errors.Is(err, errNoDelay):
		return &problem{Status: http.StatusForbidden, cause: "no-delayed-prices", Detail: err.Error()}
	}
	return p
}
