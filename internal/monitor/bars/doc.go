// Package bars derives minute and day bars from trades. It is pure: no clock, no
// goroutine, no I/O. The same events in the same order give the same bars, so
// that replicas agree, however the events were cut into batches.
//
// # Time
//
// Each source has a watermark, the greatest time of any of its trades and quotes.
// It alone tells that a minute or a second is over. Every derived event takes the
// position of the event that moved the watermark, or that corrected the bar.
//
// # What is emitted
//
//   - bars: when the watermark enters a later minute, every minute bar of the
//     source that is open, sorted by symbol.
//   - updatedBars: when a late trade belongs to a minute that is over, that
//     minute's bar with the trade in it. Minutes stay correctable for Correctable
//     of the source's time; trades of older ones are counted in Stats and enter
//     the day bar alone.
//   - dailyBars: when the watermark enters a later second, the day so far of each
//     symbol that traded since the last time, sorted by symbol. A trade that
//     enters a new day first emits what the old day still owes; its own day bar
//     follows a second later. Trades of a day before the symbol's latest one
//     change no day bar.
//
// No topic occurs twice among what one event derives.
//
// # Values
//
// Open is the trade with the least time, close that with the greatest; where times
// are equal, the position decides. Sums are exact. VWAP is rounded to the nearest
// unit, halves away from zero, and is the close where the volume is zero. A volume
// beyond the range of market.Size stays at its maximum; VWAP remains exact.
//
// A symbol that several sources carry has the bars of each of them.
//
// # Wild times
//
// An event more than Jump ahead of the watermark may be the next morning or a bad
// clock. It is held back: it counts when the next event of the source lies more
// than Jump ahead as well and not more than Jump before it, and is forgotten
// otherwise. Behind runs the other way: once BehindLimit events in a row lie more
// than Jump behind, the watermark was wrong or the source started over. What is
// open is emitted, the watermark moves back to the event, and minutes and days
// that lie after it are forgotten.
package bars
