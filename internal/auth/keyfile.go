package auth

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/lzstock/lzstock/internal/session"
)

// Key is an API key as its file has it. Its secret is nowhere.
type Key struct {
	ID      string        `json:"id"`
	User    session.User  `json:"user"`
	Created time.Time     `json:"created"`
	Expires time.Time     `json:"expires,omitzero"` // zero: never
	Note    string        `json:"note,omitempty"`   // for people
	Grant   session.Grant `json:"grant"`

	hash [sha256.Size]byte // of the secret
}

const (
	hashPrefix = "sha256:"
	maxID      = 64
	maxNote    = 256
)

func (k *Key) identity() session.Identity {
	return session.Identity{
		User: k.User, Method: session.Key, Credential: k.ID, Issued: k.Created, Expires: k.Expires, Grant: k.Grant,
	}
}

// Expired reports whether the key is too old to be used.
func (k *Key) Expired() bool { return expired(k.Expires) }

// expired tells whether a time has come; zero never comes.
func expired(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }

// validate says what is wrong with what people choose of a key.
func (k *Key) validate() error {
	if err := validateID(k.ID); err != nil {
		return err
	}
	if err := validateUser(string(k.User)); err != nil {
		return err
	}
	if len(k.Note) > maxNote || !printable(k.Note) {
		return fmt.Errorf("bad note: want at most %d bytes that can be printed, in one line", maxNote)
	}
	return k.Grant.Validate()
}

func validateID(id string) error {
	bad := func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
	}
	if id == "" || len(id) > maxID || id[0] == '-' || strings.ContainsFunc(id, bad) {
		return fmt.Errorf("bad id %.80q: want 1 to %d letters, digits, or any of . _ -, a - not in front", id, maxID)
	}
	return nil
}

// keyFile is a file of keys, with all that is needed to write it again as it was.
//
//	keys:
//	  - id: LZ5T3V7QKXW2MB4RNAYC
//	    user: alice
//	    hash: sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
//	    created: 2026-01-05T15:00:00Z
//	    expires: 2027-01-05T15:00:00Z
//	    note: her phone
//	    grant: {channels: [trades], symbols: [AAPL, BTC*], delay: 15m, limits: {symbols: 100}}
type keyFile struct {
	doc  yaml.Node
	list *yaml.Node // its entries are keys, in the same order
	keys []Key
}

// parseKeys reads a file's text. Its errors name the line.
func parseKeys(text []byte) (*keyFile, error) {
	f := &keyFile{}
	d := yaml.NewDecoder(bytes.NewReader(text))
	switch err := d.Decode(&f.doc); {
	case errors.Is(err, io.EOF) || err == nil && len(f.doc.Content) == 0:
		return nil, errors.New("the file is empty: want `keys: []` where there is to be no key")
	case err != nil:
		return nil, err
	}
	if err := d.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("want one YAML document, with all keys in it")
	}
	top, err := fields(f.doc.Content[0], "keys")
	if err != nil {
		return nil, err
	}
	if f.list = top["keys"]; f.list == nil || f.list.Kind != yaml.SequenceNode {
		return nil, at(f.doc.Content[0], "want a list named keys; `keys: []` where there is to be no key")
	}
	lines := map[string]int{}
	for _, n := range f.list.Content {
		k, err := parseKey(n)
		if err != nil {
			return nil, err
		}
		if line, twice := lines[k.ID]; twice {
			return nil, at(n, "the id %s is in use already, in line %d", k.ID, line)
		}
		lines[k.ID] = n.Line
		f.keys = append(f.keys, k)
	}
	return f, nil
}

// at adds the place to an error.
func at(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("line %d: %w", n.Line, fmt.Errorf(format, args...))
}

// fields gives the values of a mapping that are not null.
func fields(n *yaml.Node, known ...string) (map[string]*yaml.Node, error) {
	if n.Kind != yaml.MappingNode {
		return nil, at(n, "want fields, some of: %s", strings.Join(known, ", "))
	}
	out, seen := map[string]*yaml.Node{}, map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		if !slices.Contains(known, name.Value) {
			return nil, at(name, "unknown field %q: want some of: %s", name.Value, strings.Join(known, ", "))
		}
		if seen[name.Value] {
			return nil, at(name, "the field %s comes twice", name.Value)
		}
		seen[name.Value] = true
		if value.Tag != "!!null" {
			out[name.Value] = value
		} else if name.Value == "grant" {
			return nil, at(name, "the grant is empty: leave it out to grant everything")
		}
	}
	return out, nil
}

func parseKey(n *yaml.Node) (Key, error) {
	f, err := fields(n, "id", "user", "hash", "created", "expires", "note", "grant")
	if err != nil {
		return Key{}, err
	}
	text := map[string]string{}
	for name, v := range f {
		if name == "grant" {
			continue
		}
		if v.Kind != yaml.ScalarNode {
			return Key{}, at(v, "%s: want a plain value", name)
		}
		text[name] = v.Value
	}
	for _, name := range []string{"id", "user", "hash", "created"} {
		if text[name] == "" {
			return Key{}, at(n, "a key needs its %s", name)
		}
	}
	k := Key{ID: text["id"], User: session.User(text["user"]), Note: text["note"]}
	digits, ok := strings.CutPrefix(text["hash"], hashPrefix)
	if size, err := hex.Decode(k.hash[:], []byte(digits)[:min(len(digits), 2*sha256.Size)]); !ok || err != nil || size != sha256.Size || len(digits) != 2*sha256.Size {
		return Key{}, at(f["hash"], "bad hash: want %s and %d hexadecimal digits, as lzstock key add writes it", hashPrefix, 2*sha256.Size)
	}
	for name, to := range map[string]*time.Time{"created": &k.Created, "expires": &k.Expires} {
		if text[name] == "" {
			continue
		}
		if *to, err = time.Parse(time.RFC3339, text[name]); err != nil || to.IsZero() { // the zero time would be never
			return Key{}, at(f[name], "%s is %q: want a time such as 2026-01-05T15:00:00Z", name, text[name])
		}
	}
	if g := f["grant"]; g != nil {
		if k.Grant, err = nodeGrant(g); err != nil {
			return Key{}, at(g, "%w", err)
		}
	}
	if err := k.validate(); err != nil {
		return Key{}, at(n, "%w", err)
	}
	return k, nil
}
