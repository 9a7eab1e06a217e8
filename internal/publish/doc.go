// Package publish sends events from a text, such as standard input, to an Ingest
// service: what `lzstock publish` does.
//
// What Run promises:
//
//   - Every good line's events are sent in order, in batches of up to 256: what
//     waits when the sender is ready goes together, so a slow input is sent at
//     once and a fast one in full batches.
//   - Several batches are on their way at a time, Config.InFlight at most; then the
//     input waits.
//   - A lost connection is made again, with full jitter. What was not acknowledged
//     is sent again under the same numbers, so that the service recognises what it
//     has. The first number is the time in nanoseconds, unless told: two runs under
//     one publisher's name do not look like one that repeats itself.
//   - A line that cannot be read, and an event that the service refuses, are
//     reported with line number and reason, the first ones in full, and counted.
//     Neither ends the run; the Summary says how many there were.
package publish
