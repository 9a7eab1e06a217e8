//go:build race

package leak

// Race reports whether the race detector is on. Its runtime has died of its own where
// bubbles hold thousands of goroutines ("CHECK failed", "traceback did not unwind
// completely"): tests of crowds are smaller then, or skipped, and run once more
// without it.
const Race = true
