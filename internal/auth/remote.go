package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/lzstock/lzstock/internal/safetext"
)

const (
	fetchTimeout = 5 * time.Second
	maxSet       = 1 << 20
	maxRedirects = 3
	// patience is how long a token of an unknown key waits for a fetch.
	patience = 3 * time.Second
	// firstRetry is the wait after a fetch that failed; it doubles with each.
	firstRetry = 2 * time.Second
)

// remote is a key set that is fetched again and again. One goroutine, run, does
// all fetching; tokens of unknown keys ask it to, and wait.
type remote struct {
	url             string
	client          *http.Client
	every, cooldown time.Duration
	ask             chan struct{} // wakes run; holds one word

	mu    sync.Mutex
	set   *keySet       // nil until it was fetched once
	tried time.Time     // when the last fetch ended
	done  chan struct{} // closed when the fetch that was asked for has ended; nil: none was
}

func isURL(from string) bool { return strings.Contains(from, "://") }

func newRemote(c Config) (*remote, error) {
	if err := validateURL(c.JWKS); err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	client := c.Client
	if client == nil {
		client = &http.Client{CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return fmt.Errorf("more than %d redirects", maxRedirects)
			}
			return validateURL(r.URL.String())
		}}
		if t, ok := http.DefaultTransport.(*http.Transport); ok {
			t = t.Clone()
			t.DisableKeepAlives = true // the next fetch is minutes away
			client.Transport = t
		}
	}
	return &remote{url: c.JWKS, client: client, every: c.Refresh, cooldown: c.Cooldown, ask: make(chan struct{}, 1)}, nil
}

// validateURL demands what nobody on the way can change. On this machine itself
// there is nobody on the way.
func validateURL(from string) error {
	u, err := url.Parse(from)
	if err != nil || u.Host == "" {
		return errors.New("the key set's address is no URL: want one such as https://example.com/jwks.json")
	}
	if u.Scheme == "https" {
		return nil
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()) {
		return nil
	}
	return fmt.Errorf("the key set's address %s: want https, so that nobody can put other keys in their place", safetext.Redact(from))
}

func (r *remote) current() *keySet {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.set
}

// find gives the keys that a token may be signed with. Where its key is unknown,
// it looks again after a fetch, if one is due.
func (r *remote) find(ctx context.Context, kid, alg string) ([]jwt.VerificationKey, error) {
	for again := false; ; again = true {
		keys, err := []jwt.VerificationKey(nil), ErrUnavailable
		if set := r.current(); set != nil {
			keys, err = set.find(kid, alg)
		}
		if again || !errors.Is(err, ErrUnavailable) && !errors.Is(err, errUnknownKey) || !r.await(ctx) {
			return keys, err
		}
	}
}

// await asks for a fetch and waits for its end. It reports false at once where the
// last one is too young.
func (r *remote) await(ctx context.Context) bool {
	r.mu.Lock()
	done, first := r.done, false
	if done == nil && time.Since(r.tried) >= r.cooldown {
		done, first = make(chan struct{}), true
		r.done = done
	}
	r.mu.Unlock()
	if done == nil {
		return false
	}
	if first {
		select {
		case r.ask <- struct{}{}:
		default: // run is woken already
		}
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// wanted tells whether somebody waits for a fetch.
func (r *remote) wanted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.done != nil
}

// run fetches until ctx ends: at once, when asked, and when the set is old.
func (r *remote) run(ctx context.Context, settle func(ctx context.Context, s *source, news bool, err error)) error {
	s := &source{name: "jwks", where: safetext.Redact(r.url)}
	var sum [sha256.Size]byte
	retry := firstRetry
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.ask:
			if !r.wanted() {
				continue // the fetch before was for it as well
			}
		case <-timer.C:
		}
		set, got, err := r.fetch(ctx)
		if ctx.Err() != nil {
			return nil
		}
		settle(ctx, s, got != sum, err)
		wait := r.every
		if err != nil {
			wait, retry = min(retry, r.every), min(2*retry, r.every)
		} else {
			sum, retry = got, firstRetry
		}
		r.fetched(set)
		timer.Reset(wait - rand.N(wait/10+1)) // many gateways shall not come at once
	}
}

// fetched takes a set into use, if there is one, and lets go who waits.
func (r *remote) fetched(set *keySet) {
	r.mu.Lock()
	if set != nil {
		r.set = set
	}
	r.tried = time.Now()
	done := r.done
	r.done = nil
	r.mu.Unlock()
	if done != nil {
		close(done)
	}
}

func (r *remote) fetch(ctx context.Context) (set *keySet, sum [sha256.Size]byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return nil, sum, fmt.Errorf("fetch the key set: %w", safetext.Error(err))
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, sum, fmt.Errorf("fetch the key set: %w", safetext.Error(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, sum, fmt.Errorf("fetch the key set: the answer is %s", resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxSet+1))
	if err != nil {
		return nil, sum, fmt.Errorf("fetch the key set: %w", err)
	}
	if len(text) > maxSet {
		return nil, sum, fmt.Errorf("fetch the key set: it is greater than %d bytes", maxSet)
	}
	set, err = parseKeySet(text)
	return set, sha256.Sum256(text), err
}
