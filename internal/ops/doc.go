// Package ops is the operator's page: what a process does, with the last quarter of an
// hour of each figure, as a page for people and as JSON for programs.
//
// A History reads the process's own metrics once a second into a ring of bounded size,
// so that a page that is opened has the past at once, and shows what Prometheus would.
package ops
