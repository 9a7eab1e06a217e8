// Package watch shows prices as they arrive: the inside of lzstock watch. On a
// terminal it keeps one line a symbol and changes it in place, at most twenty
// times a second; elsewhere it writes one line an event, as text or JSON. It says
// when the connection is lost, when it is back, and when the gateway says that
// prices are not current.
//
// It owns its client and the goroutines that feed the display: all have ended when
// Run returns.
package watch
