// Package obs is how a process shows itself: its logger, its metrics' registry,
// what it was built from, and the admin listener with metrics, health, readiness
// and profiles. It knows no other part of the project; parts register what they
// have to show.
package obs
