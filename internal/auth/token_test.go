package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/lzstock/lzstock/internal/session"
	"github.com/lzstock/lzstock/market"
)

const someSecret = "0123456789abcdef0123456789abcdef"

// rsaKeys are made once: that takes a while.
var rsaKeys = sync.OnceValues(func() (a, b *rsa.PrivateKey) {
	a, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	if b, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		panic(err)
	}
	return a, b
})

// setOf writes a key set of public keys by their ids.
func setOf(tb testing.TB, keys map[string]crypto.PublicKey) string {
	tb.Helper()
	var set jwkset.JWKSMarshal
	for id, key := range keys {
		k, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: id}})
		must(tb, err)
		set.Keys = append(set.Keys, k.Marshal())
	}
	text, err := json.Marshal(set)
	must(tb, err)
	return string(text)
}

func sign(tb testing.TB, method jwt.SigningMethod, kid string, key any, claims jwt.MapClaims) string {
	tb.Helper()
	t := jwt.NewWithClaims(method, claims)
	if kid != "" {
		t.Header["kid"] = kid
	}
	token, err := t.SignedString(key)
	must(tb, err)
	return token
}

// claims are good ones, with others in their place; nil takes one out.
func claims(changes jwt.MapClaims) jwt.MapClaims {
	c := jwt.MapClaims{
		"sub": "alice", "exp": time.Now().Add(time.Hour).Unix(), "iss": "https://issuer", "aud": []string{"other", "lz"},
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func newAuth(tb testing.TB, c Config) *Authenticator {
	tb.Helper()
	a, err := New(c, nil, nil)
	must(tb, err)
	return a
}

func TestGoodToken(t *testing.T) {
	usual := session.Grant{Channels: []market.Channel{market.Bars}}
	a := newAuth(t, Config{
		Secret: write(t, "secret", someSecret+"\n"), Issuer: "https://issuer", Audience: "lz", TokenGrant: usual,
	})
	now := time.Now().Truncate(time.Second)
	for _, c := range []struct {
		name   string
		claims jwt.MapClaims
		want   session.Identity
	}{
		{"least", nil, session.Identity{User: "alice", Grant: usual}},
		{"all", jwt.MapClaims{
			"jti": "T1", "iat": now.Unix(), "nbf": now.Unix(), "aud": "lz",
			"lzstock": map[string]any{"symbols": []string{"AAPL"}, "delay": "15m"},
		}, session.Identity{User: "alice", Credential: "T1", Issued: now.UTC(), Grant: session.Grant{Symbols: []session.Pattern{"AAPL"}, Delay: 15 * time.Minute}}},
		{"everything granted", jwt.MapClaims{"lzstock": map[string]any{}}, session.Identity{User: "alice"}},
		{"clocks differ", jwt.MapClaims{"nbf": now.Unix() + 20, "exp": now.Unix() - 20}, session.Identity{User: "alice", Grant: usual, Expires: now.Add(10 * time.Second).UTC()}},
		{"case counts", jwt.MapClaims{"SUB": "mallory", "Lzstock": 1}, session.Identity{User: "alice", Grant: usual}},
	} {
		t.Run(c.name, func(t *testing.T) {
			claims := claims(c.claims)
			got, err := a.Token(t.Context(), sign(t, jwt.SigningMethodHS256, "any", []byte(someSecret), claims))
			must(t, err)
			c.want.Method = session.Token
			if c.want.Expires.IsZero() {
				c.want.Expires = time.Unix(claims["exp"].(int64), 0).Add(30 * time.Second).UTC()
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if again, err := a.Check(t.Context(), got); err != nil || !cmp.Equal(again, got) {
				t.Errorf("checked again: %+v, %v", again, err)
			}
		})
	}
}

func TestBadTokens(t *testing.T) {
	secret := []byte(someSecret)
	a := newAuth(t, Config{Secret: write(t, "secret", someSecret), Issuer: "https://issuer", Audience: "lz"})
	hs := func(changes jwt.MapClaims) string {
		return sign(t, jwt.SigningMethodHS256, "", secret, claims(changes))
	}
	withHeader := func(name string, value any) string {
		token := jwt.NewWithClaims(jwt.SigningMethodHS256, claims(nil))
		token.Header[name] = value
		text, err := token.SignedString(secret)
		must(t, err)
		return text
	}
	good := hs(nil)
	parts := strings.Split(good, ".")
	now := time.Now()
	for _, c := range []struct {
		name, token, want string
	}{
		{"empty", "", "it is no JSON Web Token"},
		{"garbage", "a.b.c", "it is no JSON Web Token"},
		{"no signature", parts[0] + "." + parts[1] + ".", "its signature is wrong"},
		{"two parts", parts[0] + "." + parts[1], "it is no JSON Web Token"},
		{"four parts", good + ".x", "it is no JSON Web Token"},
		{"too long", good + strings.Repeat("A", maxToken), "it is longer than 8192 bytes"},
		{"alg none", sign(t, jwt.SigningMethodNone, "", jwt.UnsafeAllowNoneSignatureType, claims(nil)), "its signature is wrong, or of an algorithm"},
		{"alg unknown", base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"XS1"}`)) + "." + parts[1] + "." + parts[2], "its algorithm is not known"},
		{"other hash", sign(t, jwt.SigningMethodHS512, "", secret, claims(nil)), "its signature is wrong, or of an algorithm"},
		{"other secret", sign(t, jwt.SigningMethodHS256, "", []byte("another secret, as long as it is"), claims(nil)), "its signature is wrong"},
		{"payload changed", parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"mallory"}`)) + "." + parts[2], "its signature is wrong"},
		{"critical extension", withHeader("crit", []string{"x"}), "an extension that is not known (crit)"},
		{"kid is no string", withHeader("kid", 7), "signed with an unknown key"},
		{"expired", hs(jwt.MapClaims{"exp": now.Add(-31 * time.Second).Unix()}), "the credential has expired"},
		{"no exp", hs(jwt.MapClaims{"exp": nil}), "a claim is missing: exp"},
		{"exp 0", hs(jwt.MapClaims{"exp": 0}), "a claim is missing: exp"},
		{"exp is text", hs(jwt.MapClaims{"exp": "soon"}), "a claim has the wrong type"},
		{"exp far away", hs(jwt.MapClaims{"exp": 1e12}), "its end (exp) is no time"},
		{"not yet valid", hs(jwt.MapClaims{"nbf": now.Add(40 * time.Second).Unix()}), "it is not valid yet (nbf)"},
		{"issued in the future", hs(jwt.MapClaims{"iat": now.Add(40 * time.Second).Unix()}), "it was issued in the future (iat)"},
		{"other issuer", hs(jwt.MapClaims{"iss": "https://issuer.example"}), "it is of another issuer (iss)"},
		{"no issuer", hs(jwt.MapClaims{"iss": nil}), "a claim is missing: exp, or iss"},
		{"other audience", hs(jwt.MapClaims{"aud": "lz2"}), "it is for another audience (aud)"},
		{"no audience", hs(jwt.MapClaims{"aud": nil}), "a claim is missing"},
		{"expired, and of another issuer", hs(jwt.MapClaims{"exp": 1000, "iss": "x"}), "it is of another issuer"},
		{"no sub", hs(jwt.MapClaims{"sub": nil}), "its user (sub) is missing"},
		{"sub is a number", hs(jwt.MapClaims{"sub": 7}), "its user (sub) is missing"},
		{"sub in other case", hs(jwt.MapClaims{"sub": nil, "SUB": "mallory"}), "its user (sub) is missing"},
		{"long sub", hs(jwt.MapClaims{"sub": strings.Repeat("a", 129)}), "longer than 128 bytes"},
		{"sub with a line break", hs(jwt.MapClaims{"sub": "a\nb"}), "not printable"},
		{"sub with space around", hs(jwt.MapClaims{"sub": " alice"}), "its user (sub)"},
		{"jti is a number", hs(jwt.MapClaims{"jti": 7}), "its id (jti) is no string"},
		{"long jti", hs(jwt.MapClaims{"jti": strings.Repeat("a", 129)}), "its id (jti)"},
		{"grant is null", sign(t, jwt.SigningMethodHS256, "", secret, func() jwt.MapClaims { c := claims(nil); c["lzstock"] = nil; return c }()), "its grant (lzstock) is wrong"},
		{"grant of nothing", hs(jwt.MapClaims{"lzstock": map[string]any{"symbols": []string{}}}), "its grant (lzstock) is wrong"},
		{"grant with an unknown field", hs(jwt.MapClaims{"lzstock": map[string]any{"symbol": []string{"AAPL"}}}), "its grant (lzstock) is wrong"},
		{"grant is text", hs(jwt.MapClaims{"lzstock": "all"}), "its grant (lzstock) is wrong"},
	} {
		t.Run(c.name, func(t *testing.T) {
			who, err := a.Token(t.Context(), c.token)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%+v, error %v, want %q", who, err, c.want)
			}
			if !errors.Is(err, ErrBadToken) && !errors.Is(err, ErrExpired) {
				t.Errorf("the error is none of ours: %v", err)
			}
			if who.User != "" {
				t.Errorf("an identity comes with the error: %+v", who)
			}
		})
	}
	const base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for _, last := range base64URL { // some of its bits say nothing
		if token := good[:len(good)-1] + string(last); token != good {
			if who, err := a.Token(t.Context(), token); err == nil {
				t.Errorf("last byte %q: %+v", last, who)
			}
		}
	}
	for i := range good { // whatever is changed in a good one
		changed := []byte(good)
		changed[i] = map[bool]byte{true: 'B', false: 'A'}[good[i] == 'A']
		if who, err := a.Token(t.Context(), string(changed)); err == nil {
			t.Errorf("byte %d changed: %+v", i, who)
		}
	}
}

// Each kind of key takes its own algorithms, and no other.
func TestKeySetAlgorithms(t *testing.T) {
	r, other := rsaKeys()
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	e384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	pub, ed, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	set := setOf(t, map[string]crypto.PublicKey{"r": &r.PublicKey, "e": &e.PublicKey, "e384": &e384.PublicKey, "ed": pub})
	a := newAuth(t, Config{JWKS: write(t, "jwks.json", set)})
	der, err := x509.MarshalPKIXPublicKey(&r.PublicKey)
	must(t, err)
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	for _, c := range []struct {
		name   string
		method jwt.SigningMethod
		kid    string
		key    any
		want   string // "": good
	}{
		{"RS256", jwt.SigningMethodRS256, "r", r, ""},
		{"PS512", jwt.SigningMethodPS512, "r", r, ""},
		{"ES256", jwt.SigningMethodES256, "e", e, ""},
		{"ES384", jwt.SigningMethodES384, "e384", e384, ""},
		{"EdDSA", jwt.SigningMethodEdDSA, "ed", ed, ""},
		{"no kid, one key fits", jwt.SigningMethodRS256, "", r, ""},
		{"no kid, another key", jwt.SigningMethodRS256, "", other, "its signature is wrong"},
		{"another key under a known kid", jwt.SigningMethodRS256, "r", other, "its signature is wrong"},
		{"kid of another kind", jwt.SigningMethodRS256, "e", r, "its signature is wrong"},
		{"kid of another curve", jwt.SigningMethodES384, "e", e384, "its signature is wrong"},
		{"unknown kid", jwt.SigningMethodRS256, "x", r, "signed with an unknown key"},
		{"HS256 with the public key in PEM", jwt.SigningMethodHS256, "r", public, "its signature is wrong, or of an algorithm"},
		{"HS256 with the public key in DER", jwt.SigningMethodHS256, "r", der, "its signature is wrong, or of an algorithm"},
		{"HS256 with the modulus", jwt.SigningMethodHS256, "", r.N.Bytes(), "its signature is wrong, or of an algorithm"},
		{"none", jwt.SigningMethodNone, "r", jwt.UnsafeAllowNoneSignatureType, "its signature is wrong, or of an algorithm"},
	} {
		t.Run(c.name, func(t *testing.T) {
			who, err := a.Token(t.Context(), sign(t, c.method, c.kid, c.key, claims(nil)))
			switch {
			case c.want == "" && (err != nil || who.User != "alice"):
				t.Errorf("%+v, %v", who, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%+v, error %v, want %q", who, err, c.want)
			}
		})
	}
}

func TestTokenWithoutKidAmongSeveralKeys(t *testing.T) {
	r, other := rsaKeys()
	set := setOf(t, map[string]crypto.PublicKey{"a": &r.PublicKey, "b": &other.PublicKey})
	a := newAuth(t, Config{JWKS: write(t, "jwks.json", set)})
	if _, err := a.Token(t.Context(), sign(t, jwt.SigningMethodRS256, "", r, claims(nil))); err == nil || !strings.Contains(err.Error(), "(kid)") {
		t.Errorf("error %v", err)
	}
}

func TestKeySets(t *testing.T) {
	r, _ := rsaKeys()
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	must(t, err)
	good := setOf(t, map[string]crypto.PublicKey{"r": &r.PublicKey})
	with := func(field string) string { return strings.Replace(good, `{"kty"`, "{"+field+`,"kty"`, 1) }
	for _, c := range []struct{ name, text, want string }{
		{"good", good, ""},
		{"no JSON", "-----BEGIN PUBLIC KEY-----", "bad key set: invalid character"},
		{"no keys", `{"keys":[]}`, "it holds no public key that checks signatures"},
		{"another document", `{"issuer":"x"}`, "it holds no public key that checks signatures"},
		{"for encryption", with(`"use":"enc"`), "key 1: it is not for checking signatures"},
		{"for wrapping", with(`"key_ops":["wrapKey"]`), "key 1: it is not for checking signatures"},
		{"for signatures", with(`"use":"sig","key_ops":["verify"],"alg":"RS256"`), ""},
		{"algorithm of another kind", with(`"alg":"ES256"`), "key 1: its kind, or its algorithm (alg)"},
		{"shared secret", `{"keys":[{"kty":"oct","kid":"s","k":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}]}`, "key 1: it is a shared secret"},
		{"few bits", setOf(t, map[string]crypto.PublicKey{"s": &small.PublicKey}), "key 1: it has 1024 bits: want at least 2048"},
		{"too many", `{"keys":[` + strings.Repeat(`{"kty":"x"},`, maxKeys) + `{"kty":"x"}]}`, "it holds 65 keys"},
		{"one of two", strings.Replace(good, `[{`, `[{"kty":"new"},{`, 1), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			set, err := parseKeySet([]byte(c.text))
			switch {
			case c.want == "" && (err != nil || len(set.keys) != 1):
				t.Errorf("%+v, %v", set, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// A key that names its algorithm takes no other.
func TestKeyNamesItsAlgorithm(t *testing.T) {
	r, _ := rsaKeys()
	set := strings.Replace(setOf(t, map[string]crypto.PublicKey{"r": &r.PublicKey}), `{"kty"`, `{"alg":"RS256","kty"`, 1)
	a := newAuth(t, Config{JWKS: write(t, "jwks.json", set)})
	_, err := a.Token(t.Context(), sign(t, jwt.SigningMethodRS256, "r", r, claims(nil)))
	must(t, err)
	if _, err := a.Token(t.Context(), sign(t, jwt.SigningMethodRS512, "r", r, claims(nil))); !errors.Is(err, ErrBadToken) {
		t.Errorf("error %v", err)
	}
}

func TestSecrets(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{someSecret, ""},
		{someSecret + "\r\n", ""},
		{someSecret[1:] + "\n", "the secret has 31 bytes: want at least 32"},
		{"", "the secret has 0 bytes"},
		{"-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKC\n", "the file holds a PEM key"},
	} {
		secret, err := ReadSecret(write(t, "secret", c.text))
		switch {
		case c.want == "" && (err != nil || string(secret) != someSecret):
			t.Errorf("%q, %v", secret, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%q: error %v, want %q", c.text, err, c.want)
		}
	}
}

func TestMint(t *testing.T) {
	a := newAuth(t, Config{Secret: write(t, "secret", someSecret), Issuer: "i", Audience: "a"})
	later := time.Now().Add(time.Hour)
	grant := session.Grant{Symbols: []session.Pattern{"AAPL"}, Limits: session.Limits{Sockets: 1}}
	token, err := Mint([]byte(someSecret), Claims{User: "alice", Issuer: "i", Audience: "a", Expires: later, Grant: grant})
	must(t, err)
	who, err := a.Token(t.Context(), token)
	must(t, err)
	if who.User != "alice" || !cmp.Equal(who.Grant, grant) || who.Credential == "" || who.Issued.IsZero() {
		t.Errorf("%+v", who)
	}
	var many session.Grant
	for range 500 {
		many.Symbols = append(many.Symbols, "ABCDEFGHIJKLMNOP")
	}
	for _, c := range []struct {
		secret string
		claims Claims
		want   string
	}{
		{someSecret[1:], Claims{User: "alice", Expires: later}, "the secret has 31 bytes"},
		{someSecret, Claims{Expires: later}, "bad user"},
		{someSecret, Claims{User: "alice"}, "want a time to come"},
		{someSecret, Claims{User: "alice", Expires: later, Grant: session.Grant{Delay: -1}}, "bad grant"},
		{someSecret, Claims{User: "alice", Expires: later, Grant: many}, "grant fewer symbols"},
	} {
		if token, err := Mint([]byte(c.secret), c.claims); err == nil || token != "" || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want %q", c.claims, err, c.want)
		}
	}
}

// Nothing passes but the very token that was signed.
func FuzzToken(f *testing.F) {
	// All workers of a fuzzing run must sign the same tokens.
	key := ed25519.NewKeyFromSeed([]byte(someSecret))
	other := ed25519.NewKeyFromSeed([]byte(strings.ToUpper(someSecret)))
	public := key.Public().(ed25519.PublicKey)
	far := jwt.MapClaims{"exp": time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC).Unix()}
	byHMAC := sign(f, jwt.SigningMethodHS256, "", []byte(someSecret), claims(far))
	byKey := sign(f, jwt.SigningMethodEdDSA, "k", key, claims(far))
	shared := newAuth(f, Config{Secret: write(f, "secret", someSecret)})
	set := newAuth(f, Config{JWKS: write(f, "jwks.json", setOf(f, map[string]crypto.PublicKey{"k": public}))})
	for _, token := range []string{
		byHMAC, byKey, "", "..", byHMAC + ".", byHMAC[:len(byHMAC)-1],
		sign(f, jwt.SigningMethodNone, "k", jwt.UnsafeAllowNoneSignatureType, claims(far)),
		sign(f, jwt.SigningMethodHS256, "k", []byte(public), claims(far)),
		sign(f, jwt.SigningMethodEdDSA, "k", other, claims(far)),
	} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		for _, c := range []struct {
			auth *Authenticator
			good string
		}{{shared, byHMAC}, {set, byKey}} {
			who, err := c.auth.Token(t.Context(), token)
			switch {
			case token == c.good && err != nil:
				t.Fatalf("the signed token is refused: %v", err)
			case token == c.good:
			case err == nil:
				t.Fatalf("%q passes as %+v", token, who)
			case !errors.Is(err, ErrBadToken) && !errors.Is(err, ErrExpired):
				t.Fatalf("the error is none of ours: %v", err)
			}
		}
	})
}
