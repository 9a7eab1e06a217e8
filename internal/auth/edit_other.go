//go:build !unix || aix || solaris

package auth

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

const (
	lockWait  = 10 * time.Second
	lockRetry = 20 * time.Millisecond
)

// lock keeps others from editing a file, by one beside it that only one can make.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	name := path + ".lock"
	ctx, cancel := context.WithTimeoutCause(ctx, lockWait, fmt.Errorf("somebody else edits it, or died while doing so: then remove %s", name))
	defer cancel()
	for {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			return func() { _ = os.Remove(name) }, f.Close() // who finds it there is told to remove it
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		select {
		case <-time.After(lockRetry):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// keepOwner does nothing: files here take their rights from their folder.
func keepOwner(*os.File, os.FileInfo) error { return nil }

// syncFolder does nothing: folders cannot be synced here.
func syncFolder(string) error { return nil }
