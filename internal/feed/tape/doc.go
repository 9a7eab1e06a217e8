// Package tape reads and writes recorded market data: one row an event, in order
// of time across symbols, in the format of package rows, plain or gzip.
//
// What a Reader promises:
//
//   - It knows gzip by its first bytes, whatever the file is called. A header is
//     optional; lines without anything in them are passed over.
//   - Each row is one event, in the order of the file, exact to the last digit.
//   - A line that is no row, or whose time is before that of the row before it,
//     is refused with file, line number and reason. That ends the reading, unless
//     Options.SkipBad is set: then the line is passed over, reported and counted.
//   - A file that was cut short yields all whole lines first; then the cut is
//     refused like a bad line.
//
// What a Writer promises: what it wrote reads back as the same trades and quotes,
// as far as the format holds them: venue, condition codes, tape letter and trade
// number are not in it. Bars are left out, for whoever replays the trades derives
// the same bars again. Events that reach the writer up to Options.Window late are
// put into order; later ones are left out and counted, because a tape never runs
// back in time. The file has its name only once it is complete; until then it is
// called NAME.part, ends in a whole row after every Flush, and can be read too.
package tape
