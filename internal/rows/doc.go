// Package rows knows events as rows of a tape, the CSV form in which ticks are
// recorded, replayed and piped in:
//
//	ts_ns,symbol,type,price,size,bid,bid_size,ask,ask_size
//	1571664575573162915,SRTY,trade,22.68,622,,,,
//	1723161254024619568,ETHUSDT,quote,,,2683.8,3.0292,2683.81,31.4395
//
// ts_ns is Unix time in nanoseconds, UTC. A trade sets price and size, a quote
// bid and ask with their sizes; what does not belong to the type stays empty. A
// side that nobody quotes has both its fields empty, or 0. Numbers are exact
// decimals of up to nine places and never pass through a float. Where the recorder
// let them pass through one, and wrote 0.5710000000000001, they are mended; Price
// says how narrowly. Fields are bare: no quotes, no blanks.
//
// The format holds no venue, condition codes, tape letter nor trade number: a
// Parser leaves them zero and Append leaves them out. All else reads back as it
// was written.
//
// The package also splits any input into lines (Lines) and ends a blocked read
// of standard input when a context ends (Bind). It starts no goroutines.
package rows
