//go:build !portable

package poll

import (
	"context"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWakeIsOver when Run has returned: what is opened then may get the number of what
// woke a loop, and must not get what was written to wake it.
func TestWakeIsOver(t *testing.T) {
	for range 500 {
		p, err := New()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // the loops see it before they wait
		if err := p.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		var fds []int
		for range 8 {
			fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
			if err != nil {
				t.Fatal(err)
			}
			fds = append(fds, fd)
		}
		for range 100 { // whatever is late has its chance
			if _, err := unix.Read(fds[0], make([]byte, 8)); !errors.Is(err, unix.EAGAIN) {
				break
			}
		}
		for _, fd := range fds {
			var b [8]byte
			if _, err := unix.Read(fd, b[:]); !errors.Is(err, unix.EAGAIN) {
				t.Errorf("somebody wrote %v", b)
			}
			_ = unix.Close(fd)
		}
		if t.Failed() {
			return
		}
	}
}
