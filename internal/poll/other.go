//go:build !linux || portable

package poll

// New makes the best Poller of the system.
func New() (Poller, error) { return NewGoroutines(), nil }
