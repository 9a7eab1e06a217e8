//go:build !linux

package poll

// New makes the best Reader of the system.
func New() (Reader, error) { return NewGoroutines(), nil }
