// Package ingest is the Ingest service: it takes numbered batches of trades and
// quotes from publishers in any language and puts them onto the bus.
//
// What it promises to a publisher, beyond proto/lzstock/v1/ingest.proto:
//
//   - Batches of one stream are stored in their order, one after the other, and
//     answered in that order, each once all of it is stored. Where one cannot be
//     stored, the stream ends, and none behind it was stored.
//   - A bad event is refused with its index and the reason; it takes no other one
//     with it.
//   - A batch that comes again under its publisher and number is recognised by the
//     store, also when the connection was lost with half of it stored: the answer
//     has the places of the first time.
//   - The service reads Config.ReadAhead batches ahead of the store, per stream;
//     then gRPC's flow control slows the publisher. Nothing is dropped.
//   - Stop ends every stream with UNAVAILABLE after the batch in hand.
package ingest
