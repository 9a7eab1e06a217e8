package session

import "errors"

// How authentication ends where it finds nobody, beside ErrRevoked and
// ErrUnavailable. What authenticates wraps them; its texts may be shown.
var (
	// ErrRefused says that credentials prove nothing.
	ErrRefused = errors.New("the credentials are wrong")
	// ErrExpired says that a credential was good once.
	ErrExpired = errors.New("the credential has expired")
)
