package auth

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"gopkg.in/yaml.v3"
)

// ReadKeys reads a file of keys.
func ReadKeys(path string) ([]Key, error) {
	text, _, err := readFile(path)
	if err != nil {
		return nil, err
	}
	f, err := parseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f.keys, nil
}

// AddKey makes a key with a new secret and adds it to a file, which is made where
// it is not there. Where k has no ID, it gets one. The secret is in no other place
// than the answer.
func AddKey(ctx context.Context, path string, k Key) (added Key, secret string, err error) {
	if k.ID == "" {
		k.ID = "LZ" + rand.Text()[:18]
	}
	k.Created = time.Now().UTC().Truncate(time.Second)
	if expired(k.Expires) {
		return Key{}, "", fmt.Errorf("the key would expire at %s: want a time to come", k.Expires.Format(time.RFC3339))
	}
	k.Expires = k.Expires.UTC().Truncate(time.Second)
	if err := k.validate(); err != nil {
		return Key{}, "", err
	}
	secret = "lzs_" + rand.Text() + rand.Text() // 260 random bits
	k.hash = sha256.Sum256([]byte(secret))
	err = edit(ctx, path, func(f *keyFile) error {
		if slices.ContainsFunc(f.keys, func(old Key) bool { return old.ID == k.ID }) {
			return fmt.Errorf("the id %s is in use already", k.ID)
		}
		n, err := k.node()
		if err != nil {
			return err
		}
		f.list.Style = 0 // a list written as [] goes on line by line
		f.list.Content = append(f.list.Content, n)
		return nil
	})
	if err != nil {
		return Key{}, "", err
	}
	return k, secret, nil
}

// RevokeKeys removes the keys of a file that match, and gives them.
func RevokeKeys(ctx context.Context, path string, match func(Key) bool) (revoked []Key, err error) {
	err = edit(ctx, path, func(f *keyFile) error {
		var rest []*yaml.Node
		for i, k := range f.keys {
			if match(k) {
				revoked = append(revoked, k)
			} else {
				rest = append(rest, f.list.Content[i])
			}
		}
		if len(revoked) == 0 {
			return errors.New("no such key")
		}
		f.list.Content = rest
		return nil
	})
	if err != nil {
		return nil, err
	}
	return revoked, nil
}

// node writes a key as its entry in the file.
func (k *Key) node() (*yaml.Node, error) {
	entry := struct {
		ID      string    `yaml:"id"`
		User    string    `yaml:"user"`
		Hash    string    `yaml:"hash"`
		Created string    `yaml:"created"`
		Expires string    `yaml:"expires,omitempty"`
		Note    string    `yaml:"note,omitempty"`
		Grant   yaml.Node `yaml:"grant,omitempty"`
	}{
		ID: k.ID, User: string(k.User), Hash: hashPrefix + hex.EncodeToString(k.hash[:]),
		Created: k.Created.Format(time.RFC3339), Note: k.Note,
	}
	if !k.Expires.IsZero() {
		entry.Expires = k.Expires.Format(time.RFC3339)
	}
	grant, err := json.Marshal(k.Grant)
	if err != nil {
		return nil, err
	}
	if string(grant) != "{}" {
		var doc yaml.Node
		if err := yaml.Unmarshal(grant, &doc); err != nil { // JSON is YAML
			return nil, err
		}
		entry.Grant = *doc.Content[0]
		plain(&entry.Grant)
	}
	n := &yaml.Node{}
	return n, n.Encode(entry)
}

// plain takes the quotes and braces of JSON off.
func plain(n *yaml.Node) {
	n.Style = 0
	if n.Kind == yaml.SequenceNode {
		n.Style = yaml.FlowStyle
	}
	for _, c := range n.Content {
		plain(c)
	}
}

// emptyFile is what a new file begins with.
const emptyFile = `# API keys of LZStock, written by lzstock key add. The secrets are not in here,
# only their hashes. Gateways that are running take changes within seconds.
keys: []
`

// edit changes a file as a whole, or not at all. Others that edit it wait.
func edit(ctx context.Context, path string, change func(*keyFile) error) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // a link stays a link
	}
	unlock, err := lock(ctx, path)
	if err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	defer unlock()
	text, info, err := readFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(bytes.TrimSpace(text)) == 0 {
		text = []byte(emptyFile)
	}
	f, err := parseKeys(text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := change(f); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(&f.doc), e.Close()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if _, err := parseKeys(out.Bytes()); err != nil { // nobody can use a file that we cannot read
		return fmt.Errorf("%s: what would be written is wrong: %w", path, err)
	}
	return replace(path, out.Bytes(), info)
}

// replace puts a new file in the place of an old one, which readers see whole or
// not at all. A new file is its owner's alone; one that was there, as info says,
// stays as it was, since the gateway may run as somebody else.
func replace(path string, text []byte, info os.FileInfo) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*") // of mode 0600
	if err != nil {
		return err
	}
	if err := errors.Join(fill(f, text, info), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := syncFolder(dir); err != nil {
		return fmt.Errorf("%s is written, but may not outlive a crash: %w", path, err)
	}
	return nil
}

func fill(f *os.File, text []byte, info os.FileInfo) error {
	if _, err := f.Write(text); err != nil {
		return err
	}
	if info != nil {
		if err := keepOwner(f, info); err != nil {
			return fmt.Errorf("keep the owner: %w", err)
		}
		if err := f.Chmod(info.Mode().Perm()); err != nil {
			return fmt.Errorf("keep the mode: %w", err)
		}
	}
	return f.Sync()
}
