//go:build unix

package rows

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// pollFile waits for the file or for the end of the context, whichever comes
// first, and only then reads.
type pollFile struct {
	f      *os.File
	fd     int32
	wake   *os.File // readable once the context has ended
	waker  *os.File
	wakeFD int32
	stop   func() bool
	woken  chan struct{} // closed once waker is
	cause  func() error
}

func bindFile(ctx context.Context, f *os.File) (io.ReadCloser, error) {
	wake, waker, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	fd, wakeFD := f.Fd(), wake.Fd()
	if fd > math.MaxInt32 || wakeFD > math.MaxInt32 {
		return nil, errors.Join(fmt.Errorf("read %s: it is closed", f.Name()), wake.Close(), waker.Close())
	}
	p := &pollFile{
		f: f, fd: int32(fd), wake: wake, waker: waker, wakeFD: int32(wakeFD),
		woken: make(chan struct{}), cause: func() error { return context.Cause(ctx) },
	}
	p.stop = context.AfterFunc(ctx, func() {
		defer close(p.woken)
		p.waker.Close() //nolint:errcheck // the end of file that it causes is the message
	})
	return p, nil
}

func (p *pollFile) Read(b []byte) (int, error) {
	for {
		if err := p.cause(); err != nil {
			return 0, err
		}
		fds := []unix.PollFd{{Fd: p.fd, Events: unix.POLLIN}, {Fd: p.wakeFD, Events: unix.POLLIN}}
		switch _, err := unix.Poll(fds, -1); {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, fmt.Errorf("wait for %s: %w", p.f.Name(), err)
		}
		if fds[0].Revents != 0 && fds[1].Revents == 0 {
			return p.f.Read(b)
		}
	}
}

func (p *pollFile) Close() error {
	if p.stop() {
		return errors.Join(p.waker.Close(), p.wake.Close())
	}
	<-p.woken
	return p.wake.Close()
}
