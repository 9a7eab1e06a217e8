// Package market holds the words that every part of LZStock shares: symbols,
// exact prices and sizes, trades, quotes, bars, and the events and positions
// that carry them. It depends on the standard library alone.
//
// Prices and sizes are whole numbers of billionths (1e-9). They are parsed,
// compared and printed without ever passing through a float, so a price that
// was read as 189.1 is written as 189.1.
package market
