package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"log/slog"
)

// ID is a session's secret: who has it may attach. It has 128 bits of
// randomness in unpadded base64url, 22 characters. The store and the logs never
// see it: they see its hash, or a name made of that. A session is looked up by
// the hash, so the time that takes tells nothing about ids that exist.
type ID string

const idBytes = 16

func newID() ID {
	var b [idBytes]byte
	_, _ = rand.Read(b[:]) // it never fails
	return ID(base64.RawURLEncoding.EncodeToString(b[:]))
}

// Name gives what operators and logs call the session: a part of the hash.
func (id ID) Name() string { return hashOf(string(id)).name() }

// String gives the name, so that no log shows the id. Convert to a string for
// the client that is to have it.
func (id ID) String() string { return id.Name() }

// GoString works as String.
func (id ID) GoString() string { return id.Name() }

// LogValue works as String.
func (id ID) LogValue() slog.Value { return slog.StringValue(id.Name()) }

// hash is what stands in the store for an id, or for a user.
type hash [sha256.Size]byte

func hashOf(s string) hash { return sha256.Sum256([]byte(s)) }

func (h hash) name() string {
	const nameBytes = 6
	return hex.EncodeToString(h[:nameBytes])
}

// The kinds of keys: a session's, under the hash of its id, and a revocation's,
// under the hash of its user.
const (
	sessionKey    = "s."
	revocationKey = "r."
)

func (h hash) key(kind string) string { return kind + hex.EncodeToString(h[:]) }

// parseKey reads what key writes.
func parseKey(key string) (kind string, h hash, ok bool) {
	if len(key) != len(sessionKey)+hex.EncodedLen(len(h)) {
		return "", h, false
	}
	kind = key[:len(sessionKey)]
	_, err := hex.Decode(h[:], []byte(key[len(sessionKey):]))
	return kind, h, err == nil && (kind == sessionKey || kind == revocationKey)
}
