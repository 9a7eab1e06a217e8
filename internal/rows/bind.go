package rows

import (
	"context"
	"io"
	"os"
)

// Bind gives a reader of r whose Read returns, with the context's cause, soon
// after ctx ends: closing a file does not free a read of standard input.
//
//   - An *os.File is waited for and read from only when it has something. It is
//     not closed, nor is its mode changed, which a terminal would share with the
//     shell.
//   - Another io.Closer is closed when ctx ends.
//   - Anything else is read as it is; its Read should not block for long.
//
// Close releases what Bind took; r itself stays open, unless ctx has ended.
func Bind(ctx context.Context, r io.Reader) (io.ReadCloser, error) {
	if f, ok := r.(*os.File); ok {
		return bindFile(ctx, f)
	}
	b := &bound{Reader: r, cause: func() error { return context.Cause(ctx) }, stop: func() bool { return true }}
	if c, ok := r.(io.Closer); ok {
		b.stop = context.AfterFunc(ctx, func() { c.Close() }) //nolint:errcheck // the read that it frees fails, which says it all
	}
	return b, nil
}

type bound struct {
	io.Reader
	cause func() error
	stop  func() bool
}

func (b *bound) Read(p []byte) (int, error) {
	if err := b.cause(); err != nil {
		return 0, err
	}
	n, err := b.Reader.Read(p)
	if cause := b.cause(); err != nil && cause != nil {
		err = cause
	}
	return n, err
}

func (b *bound) Close() error {
	b.stop()
	return nil
}
