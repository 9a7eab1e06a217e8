// Package safetext makes text safe to show: Redact hides the secrets of URLs,
// Clean and EscapeJSON take away what commands a terminal.
package safetext
