// Package delay shows a feed late: to users whose entitlement allows data that
// is, say, 15 minutes old.
//
// A Line is a Sink in front of another. What goes into it comes out in the same
// order, a fixed time after it came in; the feed's state alone passes at once,
// since it tells about the connection and not about prices. Fan lets one upstream
// fill the real-time hub and then each line.
//
// What it promises:
//
//   - D1. Nothing comes out before its time, whatever happens. While the line is
//     not behind, it comes out within a millisecond after it.
//   - D2. Events come out ascending by Seq, those of equal Seq in one call, and
//     every batch as it came in, less what gave way; neighbours that are due
//     together may be joined.
//   - D3. The methods of Sink never wait for what is behind the line.
//   - D4. No more than Config.Events events wait. When more come, events give way
//     to later ones of the same topic, which count them (market.Event.Merged),
//     and the later ones come out when their own time has come. That begins where
//     most events wait in the least time, so that what is left is spread evenly
//     over the delay, and it goes no further than it must. The newest value of a
//     topic never gives way, and nothing gives way to what is behind a Replace,
//     Forget or Gap of its topic, or of another epoch.
//   - D5. Replace, Forget and Gap are never dropped, while no more than
//     Config.Operations wait.
//   - D6. Where all that is not enough (more topics have events waiting than three
//     quarters of Config.Events, or more operations wait), the line is reset: what
//     waits becomes a Gap of the topics that lose by it, at the time when the first
//     of it would have come out, which does not tell how far it goes; then a Gap that
//     does, a Forget of what is carried no more and a Replace with the newest values,
//     when the newest would have. Stats counts
//     what was lost. No more values are kept than three quarters of Config.Events,
//     the newest ones; the other topics have none until their next event.
//
// A line shares the events that it is given with whoever else has them, and
// changes none: where one gives way to another, the other is copied first. So
// hubs and lines may share a batch, each of which only reads it.
//
// Two million waiting events, the default bound, take about 0.5 GB (230 bytes
// each, 280 where they come one by one; see BenchmarkWaiting), and the memory goes
// as they come out. To append a batch costs the same whatever is in it, while
// there is room. Where there is none, the caller conflates: about 1 µs an event,
// of which some wait for others: a call may take as long as it takes to go once
// through the events of all topics.
package delay
