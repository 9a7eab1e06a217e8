// Package watch shows prices as they arrive: the inside of lzstock watch. On a
// terminal it is a program with a table of symbols, which can be sorted, added
// and removed, and a page for each; elsewhere it writes one line an event, as text
// or JSON. It says when the connection is lost, when it is back, and when the
// gateway says that prices are not current.
//
// Events change a board under a lock, and the screen is drawn from it at most
// twenty times a second, however many there are. What is subscribed to follows
// what the user wants to see, in one goroutine.
//
// It owns its client and its goroutines: all have ended when Run returns.
package watch
