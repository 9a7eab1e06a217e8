//go:build !unix

package rows

import (
	"context"
	"io"
	"os"
)

// bindFile closes f when ctx ends. On this system that may free a blocked read of
// a console only with its next line.
func bindFile(ctx context.Context, f *os.File) (io.ReadCloser, error) {
	return &bound{
		Reader: f,
		cause:  func() error { return context.Cause(ctx) },
		stop:   context.AfterFunc(ctx, func() { f.Close() }), //nolint:errcheck // the read that it frees fails, which says it all
	}, nil
}
