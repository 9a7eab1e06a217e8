package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

const (
	maxKeys    = 64
	minRSABits = 2048
)

func algsRSA() []string { return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"} }

// algsPublic are the algorithms of which a key set may hold keys. None of them
// takes bytes that anybody may know for a secret.
func algsPublic() []string { return append(algsRSA(), "ES256", "ES384", "ES512", "EdDSA") }

// keySet is a JSON Web Key Set: public keys that check tokens.
type keySet struct{ keys []publicKey }

type publicKey struct {
	id   string   // "": it has none
	algs []string // the ones that it is for
	key  jwt.VerificationKey
}

// parseKeySet reads a key set. Keys that are not for checking signatures, or of a
// kind that is not known, are left out, but some must be left.
func parseKeySet(text []byte) (*keySet, error) {
	var written jwkset.JWKSMarshal
	if err := json.Unmarshal(text, &written); err != nil {
		return nil, fmt.Errorf("bad key set: %w", err)
	}
	if len(written.Keys) > maxKeys {
		return nil, fmt.Errorf("bad key set: it holds %d keys, more than %d", len(written.Keys), maxKeys)
	}
	s := &keySet{}
	var unusable error
	for i, w := range written.Keys {
		k, err := parsePublicKey(w)
		if err != nil {
			unusable = errors.Join(unusable, fmt.Errorf("key %d: %w", i+1, err))
			continue
		}
		s.keys = append(s.keys, k)
	}
	if len(s.keys) == 0 {
		return nil, errors.Join(errors.New("bad key set: it holds no public key that checks signatures"), unusable)
	}
	return s, nil
}

func parsePublicKey(w jwkset.JWKMarshal) (publicKey, error) {
	switch {
	case w.KTY == jwkset.KtyOct:
		return publicKey{}, errors.New("it is a shared secret; that belongs into a file of its own")
	case w.USE != "" && w.USE != jwkset.UseSig, len(w.KEYOPS) > 0 && !slices.Contains(w.KEYOPS, jwkset.KeyOpsVerify):
		return publicKey{}, errors.New("it is not for checking signatures (use, key_ops)")
	}
	parsed, err := jwkset.NewJWKFromMarshal(w, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return publicKey{}, err
	}
	k := publicKey{id: w.KID, key: parsed.Key()}
	switch key := k.key.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSABits {
			return publicKey{}, fmt.Errorf("it has %d bits: want at least %d", bits, minRSABits)
		}
		k.algs = algsRSA()
	case *ecdsa.PublicKey:
		switch key.Curve.Params().BitSize {
		case 256:
			k.algs = []string{"ES256"}
		case 384:
			k.algs = []string{"ES384"}
		case 521:
			k.algs = []string{"ES512"}
		}
	case ed25519.PublicKey:
		k.algs = []string{"EdDSA"}
	}
	if alg := w.ALG.String(); alg != "" {
		k.algs = slices.DeleteFunc(k.algs, func(a string) bool { return a != alg })
	}
	if len(k.algs) == 0 {
		return publicKey{}, errors.New("its kind, or its algorithm (alg), is not one that checks tokens")
	}
	return k, nil
}

// find gives the keys named kid that are for alg. Without a kid there must be only
// one key for alg, so that a token never makes us try them all.
func (s *keySet) find(kid, alg string) ([]jwt.VerificationKey, error) {
	named, fit := false, []jwt.VerificationKey(nil)
	for _, k := range s.keys {
		if kid != "" && k.id != kid {
			continue
		}
		named = true
		if slices.Contains(k.algs, alg) {
			fit = append(fit, k.key)
		}
	}
	switch {
	case !named:
		return nil, errUnknownKey
	case len(fit) == 0:
		return nil, jwt.ErrTokenSignatureInvalid
	case kid == "" && len(fit) > 1:
		return nil, errNoKeyID
	}
	return fit, nil
}

// storedSet is a key set from a file.
type storedSet struct{ set atomic.Pointer[keySet] }

func (s *storedSet) use(text []byte) error {
	set, err := parseKeySet(text)
	if err != nil {
		return err
	}
	s.set.Store(set)
	return nil
}

func (s *storedSet) find(_ context.Context, kid, alg string) ([]jwt.VerificationKey, error) {
	return s.set.Load().find(kid, alg)
}
