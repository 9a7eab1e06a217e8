// Package session says who a client is, what it may see, and for how long.
//
// An Identity is what authentication found: a user, and a Grant that names the
// channels and symbols that it may see. A session is an authenticated client's
// subscriptions, which outlive a dropped socket.
package session
