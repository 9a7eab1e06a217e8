package auth

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/lzstock/lzstock/internal/session"
)

const (
	maxToken  = 8 << 10
	minSecret = 32 // bytes, as RFC 7518 wants it of HS256
	// grantClaim is the claim that holds what the user may see.
	grantClaim = "lzstock"
	algHMAC    = "HS256"
)

// The reasons why a token is refused. They hold nothing of the token.
var (
	errUnknownKey = errors.New("it is signed with an unknown key")
	errNoKeyID    = errors.New("it does not say with which key it is signed (kid)")
	errCritical   = errors.New("it needs an extension that is not known (crit)")
)

// finder gives the keys that a token may be signed with: that of its kid, where
// it has one, as far as they are for its algorithm.
type finder func(ctx context.Context, kid, alg string) ([]jwt.VerificationKey, error)

// verifier tells who a token is of.
type verifier struct {
	parser *jwt.Parser
	find   finder
	leeway time.Duration
	grant  session.Grant
}

func newVerifier(c Config, find finder, algs ...string) *verifier {
	options := []jwt.ParserOption{
		jwt.WithValidMethods(algs),
		jwt.WithStrictDecoding(),
		jwt.WithLeeway(c.Leeway),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
	}
	if c.Issuer != "" {
		options = append(options, jwt.WithIssuer(c.Issuer))
	}
	if c.Audience != "" {
		options = append(options, jwt.WithAudience(c.Audience))
	}
	return &verifier{parser: jwt.NewParser(options...), find: find, leeway: c.Leeway, grant: c.TokenGrant}
}

// verify checks a token. Claims are looked up by their exact names: encoding/json
// would take a "SUB" for a "sub", and whoever may add claims could be anybody.
func (v *verifier) verify(ctx context.Context, token string) (session.Identity, error) {
	if len(token) > maxToken {
		return session.Identity{}, bad(fmt.Sprintf("it is longer than %d bytes", maxToken))
	}
	if strings.ContainsAny(token, "\r\n") { // base64 would overlook them
		return session.Identity{}, bad("it is no JSON Web Token")
	}
	claims := jwt.MapClaims{}
	_, err := v.parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		if _, ok := t.Header["crit"]; ok {
			return nil, errCritical
		}
		kid, ok := t.Header["kid"].(string)
		if _, there := t.Header["kid"]; there && (!ok || kid == "") {
			return nil, errUnknownKey
		}
		keys, err := v.find(ctx, kid, t.Method.Alg())
		return jwt.VerificationKeySet{Keys: keys}, err
	})
	if err != nil {
		return session.Identity{}, refusal(err)
	}
	return v.identity(claims)
}

func bad(reason string) error { return fmt.Errorf("%w: %s", ErrBadToken, reason) }

// refusal turns the parser's error, which may quote the token, into one of ours.
func refusal(err error) error {
	if errors.Is(err, ErrUnavailable) {
		return ErrUnavailable
	}
	for _, r := range []struct {
		is     error
		reason string
	}{
		{errUnknownKey, errUnknownKey.Error()},
		{errNoKeyID, errNoKeyID.Error()},
		{errCritical, errCritical.Error()},
		{jwt.ErrTokenMalformed, "it is no JSON Web Token"},
		{jwt.ErrTokenSignatureInvalid, "its signature is wrong, or of an algorithm that is not accepted"},
		{jwt.ErrTokenUnverifiable, "its algorithm is not known"},
		{jwt.ErrTokenNotValidYet, "it is not valid yet (nbf)"},
		{jwt.ErrTokenUsedBeforeIssued, "it was issued in the future (iat)"},
		{jwt.ErrTokenInvalidIssuer, "it is of another issuer (iss)"},
		{jwt.ErrTokenInvalidAudience, "it is for another audience (aud)"},
		{jwt.ErrTokenRequiredClaimMissing, "a claim is missing: exp, or iss or aud where they are expected"},
	} {
		if errors.Is(err, r.is) {
			return bad(r.reason)
		}
	}
	if errors.Is(err, jwt.ErrTokenExpired) { // only where nothing else is wrong
		return ErrExpired
	}
	return bad("a claim has the wrong type")
}

// identity reads the claims of a token whose signature is right.
func (v *verifier) identity(claims jwt.MapClaims) (session.Identity, error) {
	who := session.Identity{Method: session.Token, Grant: v.grant}
	user, ok := claims["sub"].(string)
	if !ok || validateUser(user) != nil {
		return session.Identity{}, bad(fmt.Sprintf("its user (sub) is missing, longer than %d bytes or not printable", maxUser))
	}
	who.User = session.User(user)
	if id, there := claims["jti"]; there {
		if who.Credential, ok = id.(string); !ok || len(who.Credential) > maxUser || !printable(who.Credential) {
			return session.Identity{}, bad(fmt.Sprintf("its id (jti) is no string, longer than %d bytes or not printable", maxUser))
		}
	}
	expires, err := claims.GetExpirationTime()
	if err != nil || expires == nil || expires.Year() > 9999 || expires.Year() < 1970 {
		return session.Identity{}, bad("its end (exp) is no time")
	}
	who.Expires = expires.Add(v.leeway).UTC() // who is let in late is not sent off at once
	if issued, err := claims.GetIssuedAt(); err == nil && issued != nil {
		who.Issued = issued.UTC()
	}
	if written, there := claims[grantClaim]; there {
		text, err := json.Marshal(written)
		if err != nil {
			return session.Identity{}, bad("its grant (" + grantClaim + ") is wrong")
		}
		if who.Grant, err = parseGrant(text); err != nil {
			return session.Identity{}, bad("its grant (" + grantClaim + ") is wrong")
		}
	}
	return who, nil
}

// sharedSecret is the secret that HS256 tokens are signed with.
type sharedSecret struct{ secret atomic.Pointer[[]byte] }

func (s *sharedSecret) use(text []byte) error {
	secret, err := parseSecret(text)
	if err != nil {
		return err
	}
	s.secret.Store(&secret)
	return nil
}

// find gives the secret, whatever the token calls it: there is only one.
func (s *sharedSecret) find(_ context.Context, _, alg string) ([]jwt.VerificationKey, error) {
	if alg != algHMAC {
		return nil, errUnknownKey
	}
	return []jwt.VerificationKey{*s.secret.Load()}, nil
}

// ReadSecret reads the file of a secret that signs tokens. A line break at its end
// is not part of it.
func ReadSecret(path string) ([]byte, error) {
	text, _, err := readFile(path)
	if err != nil {
		return nil, err
	}
	secret, err := parseSecret(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return secret, nil
}

func parseSecret(text []byte) ([]byte, error) {
	secret := bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	switch {
	case bytes.HasPrefix(secret, []byte("-----BEGIN ")):
		return nil, errors.New("the file holds a PEM key: want a shared secret; public keys belong into a key set (JWKS)")
	case len(secret) < minSecret:
		return nil, fmt.Errorf("the secret has %d bytes: want at least %d, such as `openssl rand -hex 32` writes", len(secret), minSecret)
	}
	return secret, nil
}

// Claims are what a token says.
type Claims struct {
	User     session.User
	Issuer   string
	Audience string
	Expires  time.Time
	Grant    session.Grant // its zero value: the token says nothing about it
}

// Mint makes a token, signed with a shared secret.
func Mint(secret []byte, c Claims) (string, error) {
	switch {
	case len(secret) < minSecret:
		return "", fmt.Errorf("the secret has %d bytes: want at least %d", len(secret), minSecret)
	case !c.Expires.After(time.Now()):
		return "", fmt.Errorf("the token would expire at %s: want a time to come", c.Expires.Format(time.RFC3339))
	}
	if err := validateUser(string(c.User)); err != nil {
		return "", err
	}
	if err := c.Grant.Validate(); err != nil {
		return "", err
	}
	claims := jwt.MapClaims{
		"sub": string(c.User), "iat": time.Now().Unix(), "exp": c.Expires.Unix(), "jti": rand.Text(),
	}
	if c.Issuer != "" {
		claims["iss"] = c.Issuer
	}
	if c.Audience != "" {
		claims["aud"] = c.Audience
	}
	grant, err := json.Marshal(c.Grant)
	if err != nil {
		return "", err
	}
	if string(grant) != "{}" {
		claims[grantClaim] = json.RawMessage(grant)
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(secret)
	if err != nil {
		return "", fmt.Errorf("sign the token: %w", err)
	}
	if len(token) > maxToken {
		return "", fmt.Errorf("the token has %d bytes, more than the %d that a gateway takes: grant fewer symbols", len(token), maxToken)
	}
	return token, nil
}
