// Package page serves a web page that was built beforehand and is embedded in the
// binary.
//
// What it promises:
//
//   - Files whose names hold a hash of what is in them (below assets/) may be kept
//     for ever; all others are asked for again each time, and answered with 304
//     where they have not changed.
//   - The page runs nothing and talks to nobody but what came from its own origin:
//     no inline script, no inline style, no frame around it.
//   - Text is compressed once, at the start, for those who take it.
package page
