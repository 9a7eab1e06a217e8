// Package past keeps minutes that are over and answers bars of any timeframe.
//
// What it promises:
//
//   - It is bounded twice. Of each symbol it keeps the days that lie within Keep of
//     the symbol's newest minute, whole days, so that a day bar is made of all of
//     its minutes or is not there. Of all symbols together it keeps Most minutes at
//     the most: beyond that the oldest day goes, and where there is but one day, its
//     oldest hour.
//   - A minute that comes again, corrected, takes the place of what it was.
//   - Bars are exact: their sums are those of the trades, of all sources that carry
//     the symbol, and only the average price is rounded, as package bars does.
//   - The pages of a query, put together, are what one page would have been, where
//     nothing is added meanwhile; what is added between two pages comes in the later
//     ones, where it belongs there.
//
// A minute takes about 140 bytes. One goroutine adds; any may ask, and holds up who
// adds for one symbol's bars at the most.
package past
