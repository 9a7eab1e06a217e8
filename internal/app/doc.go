// Package app wires the parts into processes: Gateway, Monitor, FeedTape and
// their like, and Up, which is all of them in one. Each takes a configuration,
// runs until its context ends or a part fails, and closes what it opened.
//
// What it promises:
//
//   - everything that can fail at once (a bad source, a port that is taken) fails
//     before anything runs;
//   - parts start in the order of the data, and stop so that nobody loses what
//     was on its way: gateway, then feed, monitor, bus;
//   - a stop takes at most StopTimeout, and a part that takes longer is named in
//     the error.
package app
