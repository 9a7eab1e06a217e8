package auth

import "errors"

// What ends an attempt. Their texts may be shown to clients.
var (
	// ErrBadKey means that no key has this id and this secret.
	ErrBadKey = errors.New("unknown key or wrong secret")
	// ErrBadToken means that a token proves nothing. What wraps it adds a reason
	// out of a fixed set, which holds nothing of the token.
	ErrBadToken = errors.New("bad token")
	// ErrExpired means that the credential was good once.
	ErrExpired = errors.New("the credential has expired")
	// ErrRevoked means that the key of an open socket is gone.
	ErrRevoked = errors.New("the key was revoked")
	// ErrUnavailable means that nothing can be said yet: the key set was never
	// fetched. It is worth another attempt.
	ErrUnavailable = errors.New("the keys that check tokens are not known yet")
	// ErrNotInUse means that this way to authenticate is not configured.
	ErrNotInUse = errors.New("this way to authenticate is not in use")
)
