// Package nearest finds the name that somebody meant who wrote another, for
// errors that say what would be right.
package nearest

import "slices"

// Name returns the name closest to what was written, or nothing where none is
// close enough to be meant.
func Name(wrote string, names []string) string {
	best, bestDist := "", max(2, len(wrote)/3)+1
	for _, n := range slices.Sorted(slices.Values(names)) {
		if d := distance(wrote, n); d < bestDist {
			best, bestDist = n, d
		}
	}
	return best
}

// distance counts the single-byte insertions, removals, replacements and swaps of
// neighbours that turn a into b.
func distance(a, b string) int {
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			replace := prev[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
