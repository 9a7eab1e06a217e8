//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
)

// ErrOrphan is why a process ends whose supervisor has gone.
var ErrOrphan = errors.New("the supervisor has gone")

// Lifeline ends the context that it gives with ErrOrphan once file ends, which a
// supervisor holds the other end of. release must be called.
func Lifeline(ctx context.Context, file *os.File) (_ context.Context, release func(), err error) {
	fd, err := syscall.Dup(int(file.Fd()))
	if err != nil {
		return nil, nil, fmt.Errorf("the supervisor's pipe: %w", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // so that closing ends a read
		return nil, nil, errors.Join(fmt.Errorf("the supervisor's pipe: %w", err), syscall.Close(fd))
	}
	own := os.NewFile(uintptr(fd), "lifeline")
	ctx, cancel := context.WithCancelCause(ctx)
	var owner sync.WaitGroup
	owner.Go(func() {
		_, _ = io.Copy(io.Discard, own)
		cancel(ErrOrphan)
	})
	return ctx, func() {
		_ = own.Close()
		owner.Wait()
	}, nil
}
