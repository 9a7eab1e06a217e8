package auth

import "github.com/lzstock/lzstock/internal/session"

// What ends an attempt. Their texts may be shown to clients. Each is one of
// session's failures as well, by which gateways tell them apart.
var (
	// ErrBadKey means that no key has this id and this secret.
	ErrBadKey error = failure{"unknown key or wrong secret", session.ErrRefused}
	// ErrBadToken means that a token proves nothing. What wraps it adds a reason
	// out of a fixed set, which holds nothing of the token.
	ErrBadToken error = failure{"bad token", session.ErrRefused}
	// ErrExpired means that the credential was good once.
	ErrExpired = session.ErrExpired
	// ErrRevoked means that the key of an open socket is gone.
	ErrRevoked error = failure{"the key was revoked", session.ErrRevoked}
	// ErrUnavailable means that nothing can be said yet: the key set was never
	// fetched. It is worth another attempt.
	ErrUnavailable error = failure{"the keys that check tokens are not known yet", session.ErrUnavailable}
	// ErrNotInUse means that this way to authenticate is not configured.
	ErrNotInUse error = failure{"this way to authenticate is not in use", session.ErrRefused}
)

// failure is one of session's, in other words.
type failure struct {
	text string
	is   error
}

func (f failure) Error() string { return f.text }
func (f failure) Unwrap() error { return f.is }
