// Package gateway is the HTTP edge: it answers requests, refuses what must be
// refused before the upgrade, turns the rest into WebSockets and speaks the
// client protocol on them. Each socket's life is a bridge's.
//
// What it promises:
//
//   - G1. Whoever is refused gets an HTTP status and a problem document (RFC
//     9457), and no socket.
//   - G2. No part of a request is used after the upgrade.
//   - G3. When Run has returned, every socket that it accepted has ended.
package gateway
