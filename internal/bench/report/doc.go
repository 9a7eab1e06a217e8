// Package report holds what a load run has found, and shows it: as text for the
// terminal, as JSON for programs, as one HTML page with the curves for people. It
// also decides whether what was demanded of the run holds. It knows nothing of
// how the figures came about.
package report
