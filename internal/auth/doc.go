// Package auth finds out who a client is: by an API key and its secret, from a
// file, or by a JSON Web Token, signed with a shared secret or with a key of a
// JSON Web Key Set. What it finds is a session.Identity.
//
// What it promises:
//
//   - A1. Who is not known is not told why: an unknown key and a wrong secret are
//     one error and take the same work. No error holds a secret, a token or a
//     part of one.
//   - A2. A token passes only where its algorithm is one that its key is for:
//     never none, never a shared secret's algorithm with a public key.
//   - A3. Files are read again within a second or two of their change. A broken
//     one changes nothing: what was in use stays in use, the log says it once,
//     and lzstock_auth_stale is 1 until it is mended.
//   - A4. A refusal is cheap: one hash or one signature check. Tokens of unknown
//     keys cause at most one fetch of the key set in ten seconds, whoever sends
//     how many.
//
// Secrets of keys are stored as their plain SHA-256. A slow hash, as passwords
// need it, would protect nothing here: the secrets are made by AddKey out of 260
// random bits, so there is nothing to guess, and a slow hash would let anybody
// occupy the gateway with wrong ones.
package auth
