package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/lzstock/lzstock/internal/session"
)

// maxSecret is far above what AddKey makes; longer ones are not hashed.
const maxSecret = 512

// Authenticator knows the keys that are in use.
type Authenticator struct {
	config  Config
	logger  *slog.Logger
	metrics *metrics

	files   []*file
	keys    atomic.Pointer[map[string]Key] // nil: keys are not in use
	tokens  *verifier                      // nil: tokens are not in use
	remote  *remote                        // nil: the key set, if there is one, is a file
	changed chan struct{}
}

// New reads the files. A key set that comes by HTTP is fetched by Run.
func New(c Config, logger *slog.Logger, registry prometheus.Registerer) (*Authenticator, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(registry)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	a := &Authenticator{config: c, logger: logger, metrics: m, changed: make(chan struct{}, 1)}
	if c.Keys != "" {
		a.files = append(a.files, &file{source: source{name: "keys", where: c.Keys}, use: a.useKeys})
	}
	if err := a.acceptTokens(); err != nil {
		return nil, err
	}
	for _, f := range a.files {
		if _, err := f.check(); err != nil {
			return nil, fmt.Errorf("auth: %w", err)
		}
		a.metrics.loaded(f.name, nil)
	}
	return a, nil
}

// acceptTokens makes the verifier that the configuration asks for.
func (a *Authenticator) acceptTokens() error {
	switch c := a.config; {
	case c.Secret != "":
		s := &sharedSecret{}
		a.tokens = newVerifier(c, s.find, algHMAC)
		a.files = append(a.files, &file{source: source{name: "secret", where: c.Secret}, use: s.use})
	case c.JWKS != "" && isURL(c.JWKS):
		r, err := newRemote(c)
		if err != nil {
			return err
		}
		a.remote = r
		a.tokens = newVerifier(c, r.find, algsPublic()...)
	case c.JWKS != "":
		s := &storedSet{}
		a.tokens = newVerifier(c, s.find, algsPublic()...)
		a.files = append(a.files, &file{source: source{name: "jwks", where: c.JWKS}, use: s.use})
	}
	return nil
}

func (a *Authenticator) useKeys(text []byte) error {
	f, err := parseKeys(text)
	if err != nil {
		return err
	}
	byID := make(map[string]Key, len(f.keys))
	for _, k := range f.keys {
		byID[k.ID] = k
	}
	a.keys.Store(&byID)
	a.metrics.keys.Set(float64(len(byID)))
	return nil
}

// Open reports whether nobody is asked who they are.
func (a *Authenticator) Open() bool { return a.config.open() }

// Ready returns nil, or why nobody can authenticate with a token yet.
func (a *Authenticator) Ready() error {
	if a.remote != nil && a.remote.current() == nil {
		return ErrUnavailable
	}
	return nil
}

// Changed tells that keys were added, removed or changed, so that the identities
// of open sockets are to be checked again. One word stands for any number of
// changes, and one receiver gets it.
func (a *Authenticator) Changed() <-chan struct{} { return a.changed }

// Key says whose key this is: ErrBadKey, ErrExpired or ErrNotInUse where it is
// nobody's. In open mode everybody is welcome.
func (a *Authenticator) Key(_ context.Context, id, secret string) (session.Identity, error) {
	who, err := a.key(id, secret)
	a.metrics.attempt(session.Key, err)
	return who, err
}

func (a *Authenticator) key(id, secret string) (session.Identity, error) {
	if a.Open() {
		return session.Identity{Method: session.Open}, nil
	}
	keys := a.keys.Load()
	if keys == nil {
		return session.Identity{}, ErrNotInUse
	}
	if len(secret) > maxSecret {
		return session.Identity{}, ErrBadKey
	}
	k, known := (*keys)[id] // without one its zero value is compared: the same work
	got := sha256.Sum256([]byte(secret))
	if right := subtle.ConstantTimeCompare(got[:], k.hash[:]) == 1; !right || !known {
		return session.Identity{}, ErrBadKey
	}
	if expired(k.Expires) {
		return session.Identity{}, ErrExpired
	}
	return k.identity(), nil
}

// Token says whose token this is: ErrBadToken, ErrExpired, ErrUnavailable or
// ErrNotInUse where it proves nothing. A key that is not known may be a new one:
// then Token waits, a few seconds at most, until the key set was fetched again.
func (a *Authenticator) Token(ctx context.Context, token string) (session.Identity, error) {
	who, err := a.token(ctx, token)
	a.metrics.attempt(session.Token, err)
	return who, err
}

func (a *Authenticator) token(ctx context.Context, token string) (session.Identity, error) {
	switch {
	case a.Open():
		return session.Identity{Method: session.Open}, nil
	case a.tokens == nil:
		return session.Identity{}, ErrNotInUse
	}
	return a.tokens.verify(ctx, token)
}

// Check says whether an identity that was found earlier still holds, and gives it
// as it is now: a key may have another grant meanwhile. A token holds until it
// expires, whatever becomes of the key that signed it.
func (a *Authenticator) Check(_ context.Context, who session.Identity) (session.Identity, error) {
	switch {
	case who.Method == session.Open && a.Open():
		return who, nil
	case who.Method == session.Token && a.tokens != nil:
		if expired(who.Expires) {
			return session.Identity{}, ErrExpired
		}
		return who, nil
	case who.Method == session.Key && a.keys.Load() != nil:
		return a.checkKey(who)
	}
	return session.Identity{}, ErrNotInUse
}

func (a *Authenticator) checkKey(who session.Identity) (session.Identity, error) {
	k, ok := (*a.keys.Load())[who.Credential]
	switch {
	case !ok, k.User != who.User, !k.Created.Equal(who.Issued): // another key with the old one's id
		return session.Identity{}, ErrRevoked
	case expired(k.Expires):
		return session.Identity{}, ErrExpired
	}
	return k.identity(), nil
}

// Run keeps the keys current until ctx ends, and returns nil.
func (a *Authenticator) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.watchFiles(ctx) })
	if a.remote != nil {
		g.Go(func() error { return a.remote.run(ctx, a.settle) })
	}
	return g.Wait()
}

// watchFiles looks at the files again and again. It asks for their state instead
// of having itself told, since that works on every system and for the symbolic
// links of Kubernetes' volumes.
func (a *Authenticator) watchFiles(ctx context.Context) error {
	ticker := time.NewTicker(a.config.Poll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		for _, f := range a.files {
			loaded, err := f.check()
			if !loaded && err == nil {
				continue
			}
			a.settle(ctx, &f.source, loaded, err)
			if loaded && f.name == "keys" {
				select {
				case a.changed <- struct{}{}:
				default: // a word waits there already
				}
			}
		}
	}
}

// settle counts an attempt to load a source, and logs what is new about it.
func (a *Authenticator) settle(ctx context.Context, s *source, news bool, err error) {
	where := []slog.Attr{slog.String("source", s.name), slog.String("from", s.where)}
	if err != nil {
		if s.failure == err.Error() {
			return
		}
		s.failure = err.Error()
		a.metrics.loaded(s.name, err)
		a.logger.LogAttrs(ctx, slog.LevelError, "credentials cannot be loaded, those loaded before stay in use",
			append(where, slog.String("error", err.Error()))...)
		return
	}
	a.metrics.loaded(s.name, nil)
	if news || s.failure != "" {
		s.failure = ""
		a.logger.LogAttrs(ctx, slog.LevelInfo, "credentials loaded", where...)
	}
}
