// Package session says who a client is, what it may see, and for how long.
//
// An Identity is what authentication found: a user, and a Grant that names the
// channels and symbols that it may see. A session is an authenticated client's
// subscriptions, which outlive a dropped socket. A Manager keeps sessions in a KV
// that all gateways share: a Memory where a gateway stands alone, a bucket of
// JetStream (internal/bus) otherwise. What every KV promises is the suite of
// session/kvtest.
//
// What the package promises:
//
//   - S1. An ID is a secret of 128 random bits. The store has its hash, logs and
//     operators a name made of that. Unknown, expired, deleted, revoked and
//     foreign sessions are one error, so that nothing can be probed.
//   - S2. At most one socket has a session once the store has told everybody: the
//     one with the greatest fence. Attach takes a session over by a
//     compare-and-swap that raises the fence; whoever had it is told Superseded,
//     at once on the same gateway, and when the watch tells on another, which
//     takes milliseconds.
//   - S3. A deleted session is never attached again, and its socket ends on
//     whichever gateway has it. The same goes for the sessions of a user who was
//     revoked, even for those that are created while Revoke runs with a token
//     that is older. A gateway that was cut off from the store learns of a delete
//     when it returns within DeleteKept, and of a revocation within
//     Config.Revoked.
//   - S4. A session lives Config.Unattached without a socket, for as long as a
//     socket has it, and Config.Detached after that, also where the gateway was
//     killed. Renewals are spread evenly, so many sessions make no waves.
//   - S5. While the store cannot be reached, sockets keep their sessions, and
//     what needs the store fails with ErrUnavailable after 2 s at most. What
//     expired meanwhile under a socket is created again.
//   - S6. Quotas are exact on one gateway; see Create for several.
//
// Which is older is decided by the store's revisions. Clocks decide only how long
// things live, and which tokens a revocation covers.
package session
