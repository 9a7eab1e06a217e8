package market

import (
	"errors"
	"time"
)

// Limits of a BarQuery's page, and of a page of listings.
const (
	DefaultPage = 1000
	MaxPage     = 10000
)

// ErrPageToken says that a page token is not one that came with another page of
// the same query.
var ErrPageToken = errors.New("the page token is not one of this query: want the next_page_token of the page before, and all else unchanged")

// BarQuery asks for bars of the past.
type BarQuery struct {
	Symbols    []Symbol
	Timeframe  Timeframe
	Start, End time.Time     // of the bars' own times, both included; zero: no bound
	Descending bool          // each symbol's latest bar first
	Limit      int           // greatest number of bars in a page, of all symbols together
	Token      string        // BarPage.Next of the page before; empty for the first
	Delay      time.Duration // leave out what is not as old as this
}

// BarPage is a page of bars: symbol after symbol, in alphabetical order.
type BarPage struct {
	Symbols []SymbolBars // those with bars in the page
	Next    string       // asks for the next page; empty after the last
}

// SymbolBars are bars of one symbol.
type SymbolBars struct {
	Symbol Symbol
	Bars   []Bar
}

// Listing is a symbol, and the name of what trades under it.
type Listing struct {
	Symbol Symbol
	Name   string // empty where it is not known
}

// ListingPage is a page of listings, in alphabetical order of the symbols.
type ListingPage struct {
	Listings []Listing
	Next     string // asks for the next page; empty after the last
}
