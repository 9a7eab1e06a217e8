//go:build !race

package leak

// Race reports whether the race detector is on.
const Race = false
