// Package feed brings events onto the bus from a source: a recorded tape or a
// simulated market.
//
// What a Feed promises:
//
//   - Events reach the Publisher in the order of the source, none left out and
//     none twice, grouped by what is due within about a millisecond.
//   - They come at the times of the source, times its speed: each event is due at
//     a moment that does not depend on when those before it went out, so delays
//     do not add up. A feed that is behind, because its Publisher was slow, does
//     not wait until it has caught up; Stats.Lag says by how much it is behind.
//   - At speed "max" nothing waits but for the Publisher.
//   - A tape that loops never runs back in time: the events of a later round keep
//     their distances and follow the end of the former one by a second. The offset
//     is for the first round alone.
//   - Once a second it says how the source is (Config.Beat): the times of the source
//     are its schedule. It is silent where something has been due for 5 s and was
//     not given on, and closed where nothing is due for a minute or more. A tape
//     from standard input has no schedule while nothing comes. The last word is
//     that it has ended, or is lost.
//   - At the end of a tape that does not loop, Run says so in the log and returns
//     nil. Else it returns why it could not go on: the context's cause, or the
//     failure of the tape or the Publisher.
package feed
