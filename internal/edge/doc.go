// Package edge holds what a server on the public internet asks of a request
// before it does anything for it: who the client is, behind which proxies,
// whether its page may ask, and whether it asks too often; and closes connections
// that are too many before there is a request. It knows net and
// net/http, and nothing of prices.
//
// What it promises:
//
//   - E1. Only configured proxies are believed. A client that forges headers
//     changes nothing but what is said about itself, and then only where no proxy
//     knows better.
//   - E2. What foreign bytes cost is bounded, in time and in memory, whatever
//     their number and length.
//   - E3. Nothing here starts a goroutine.
package edge
