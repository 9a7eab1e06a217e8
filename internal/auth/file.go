package auth

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"time"
)

const (
	// maxFile is the greatest size of a file with credentials.
	maxFile = 16 << 20
	// settling is how long after its change a file is read again although it looks
	// the same: a change within the grain of the file system's clock does not show.
	settling = 2 * time.Second
)

// source is where keys come from. One goroutine at a time uses it.
type source struct {
	name    string // metric label: keys, secret or jwks
	where   string // path or URL
	failure string // what the last attempt failed with, "" where it did not
}

// file is a file that is read again when it changes.
type file struct {
	source
	use func(text []byte) error // takes the contents into use, or says what is wrong with them

	seen os.FileInfo // as it was when it was read last
	sum  [sha256.Size]byte
}

// check takes the file into use where its contents changed. An error means that
// it did not; the same error comes again only where the file cannot be read.
func (f *file) check() (loaded bool, err error) {
	if info, err := os.Stat(f.where); err == nil && f.same(info) && time.Since(info.ModTime()) > settling {
		return false, nil
	}
	text, info, err := readFile(f.where)
	if err != nil {
		f.seen, f.sum = nil, [sha256.Size]byte{}
		return false, err
	}
	sum := sha256.Sum256(text)
	if f.seen != nil && sum == f.sum {
		f.seen = info
		return false, nil
	}
	f.seen, f.sum = info, sum
	if err := f.use(text); err != nil {
		return false, fmt.Errorf("%s: %w", f.where, err)
	}
	return true, nil
}

func (f *file) same(info os.FileInfo) bool {
	return f.seen != nil && os.SameFile(f.seen, info) && f.seen.Size() == info.Size() && f.seen.ModTime().Equal(info.ModTime())
}

// readFile gives a file's contents, and what it was before they were read.
func readFile(path string) ([]byte, os.FileInfo, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is not a plain file", path) // opening a pipe would block
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, nil, err
	}
	if len(text) > maxFile {
		return nil, nil, fmt.Errorf("%s is greater than %d bytes", path, maxFile)
	}
	return text, info, nil
}
