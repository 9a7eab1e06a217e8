// Package sim makes up a market: an endless, ordered stream of trades, quotes
// and halts that looks like one, for demonstrations, tests and load.
//
// What it promises:
//
//   - The same seed, options and start give the same events, on every machine:
//     all randomness comes from one seeded generator and all arithmetic is on
//     whole numbers. Prices are integers throughout, on the instrument's tick.
//   - Every trade and quote carries the venue code "SIM", and every status says so
//     in its reason, so that nobody takes it for real.
//   - The times are those of the schedule, start first, and never run back. Over
//     any few seconds there are Rate events a second, in bursts and lulls.
//   - Each instrument opens with a quote, in the order of the list, before
//     anything trades. A trade prints at a price from the bid to the ask that was
//     quoted last.
//   - Stocks come in whole sizes, crypto currencies in fractions.
//   - An instrument that halts says so with a status, sends nothing for 15 to 75 s,
//     then says that it resumes, and goes on with a quote. How often that happens
//     changes the course of everything else.
//
// Prices walk: each follows a market factor by its beta, its sector, and noise of
// its own, and is drawn slowly towards where it began, so that a demonstration
// that runs for weeks stays plausible. About four events in five are quotes. A
// burst concentrates on one instrument, moves it more and widens its spread. The
// quietest instruments move once in minutes.
package sim
