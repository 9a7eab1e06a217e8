package cli

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lzstock/lzstock/internal/auth"
)

// The ways to authenticate.
const (
	authOpen = "open"
	authKeys = "keys"
	authJWT  = "jwt"
)

// authFlags say how clients prove who they are.
type authFlags struct {
	Auth          []string      `default:"open" enum:"open,keys,jwt" help:"How clients prove who they are: keys, jwt, or keys,jwt for either; open asks for nothing." placeholder:"HOW"`
	AuthKeys      string        `help:"File with API keys, as lzstock key add writes it; it is read again when it changes." placeholder:"FILE"`
	JwtSecretFile string        `help:"File with the secret that signs tokens (HS256)." placeholder:"FILE"`
	Jwks          string        `help:"Public keys that check tokens, a JSON Web Key Set: a file, or an https URL that is fetched again and again." placeholder:"FILE|URL"`
	JwtIssuer     string        `help:"Who must have issued a token (iss); without, anybody." placeholder:"NAME"`
	JwtAudience   string        `help:"Whom a token must be for (aud); without, anybody." placeholder:"NAME"`
	JwtLeeway     time.Duration `default:"30s" help:"How far clocks may differ when a token's times are checked." placeholder:"TIME"`
}

// config says what is wrong with a combination, or makes a configuration of it.
func (f authFlags) config() (auth.Config, error) {
	open, keys, tokens := slices.Contains(f.Auth, authOpen), slices.Contains(f.Auth, authKeys), slices.Contains(f.Auth, authJWT)
	switch {
	case open && (keys || tokens):
		return auth.Config{}, errors.New("--auth open asks for nothing, so that nothing else goes with it")
	case !open && !keys && !tokens:
		return auth.Config{}, errors.New("--auth is empty: want open, keys, jwt, or keys,jwt")
	case keys && f.AuthKeys == "":
		return auth.Config{}, errors.New("--auth keys needs --auth-keys, the file that lzstock key add writes")
	case !keys && f.AuthKeys != "":
		return auth.Config{}, errors.New("--auth-keys is given, but no key would be asked for: add --auth keys")
	case tokens && f.JwtSecretFile == "" && f.Jwks == "":
		return auth.Config{}, errors.New("--auth jwt needs what checks tokens: --jwt-secret-file or --jwks")
	case f.JwtSecretFile != "" && f.Jwks != "":
		return auth.Config{}, errors.New("--jwt-secret-file and --jwks exclude one another: tokens are signed with a shared secret, or with keys of their issuer")
	case f.JwtLeeway < 0:
		return auth.Config{}, fmt.Errorf("--jwt-leeway is %s: want 0 or more", f.JwtLeeway)
	}
	if !tokens {
		for _, given := range []struct{ name, value string }{
			{"--jwt-secret-file", f.JwtSecretFile}, {"--jwks", f.Jwks}, {"--jwt-issuer", f.JwtIssuer}, {"--jwt-audience", f.JwtAudience},
		} {
			if given.value != "" {
				return auth.Config{}, fmt.Errorf("%s is given, but no token would be asked for: add --auth jwt", given.name)
			}
		}
	}
	leeway := f.JwtLeeway
	if leeway == 0 {
		leeway = -1 // none; 0 would be the default
	}
	return auth.Config{
		Keys: f.AuthKeys, Secret: f.JwtSecretFile, JWKS: f.Jwks, Issuer: f.JwtIssuer, Audience: f.JwtAudience, Leeway: leeway,
	}, nil
}
