//go:build !portable

package poll

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// socket is a connection of a loop: a descriptor of our own, which neither net
// nor the runtime's poller knows. That saves some 900 bytes a connection.
type socket struct {
	entry
	loop  *loop
	id    uint64                        // in the loop, guarded by its lock; 0 before Start
	full  bool                          // waits for room to write; guarded by the loop's lock
	room  atomic.Pointer[chan struct{}] // where Push waits
	users atomic.Int32                  // calls that use fd; below zero: closed
	fd    int
}

// none is what users begins at once the socket is closed.
const none = -1 << 30

func (s *socket) limitSilence(limit time.Duration) {
	if s.hold() {
		limitSilence(s.fd, limit)
		s.letGo()
	}
}

func (s *socket) closed() bool { return s.users.Load() < 0 }

// control tells the epoll instance of the socket. Its loop's lock is held.
func (s *socket) control(op int, id uint64) error {
	if !s.hold() {
		return ErrClosed
	}
	defer s.letGo()
	mask := uint32(unix.EPOLLIN | unix.EPOLLRDHUP)
	if s.full {
		mask |= unix.EPOLLOUT
	}
	if err := unix.EpollCtl(s.loop.epoll, op, s.fd, token(mask, id)); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

// hold keeps the descriptor from being closed, or says that it is.
func (s *socket) hold() bool {
	if s.users.Add(1) > 0 {
		return true
	}
	s.letGo()
	return false
}

// letGo closes the descriptor where the last user of a closed socket leaves.
func (s *socket) letGo() {
	if s.users.Add(-1) == none && s.users.CompareAndSwap(none, 2*none) {
		_ = unix.Close(s.fd) // nobody is left to tell
	}
}

// Start begins to read.
func (s *socket) Start(sink Sink) {
	if !s.start(sink) {
		return
	}
	if err := s.loop.add(s); err != nil {
		s.end(err)
	}
}

func (s *socket) read(buf []byte) (int, error) {
	if !s.hold() {
		return 0, ErrClosed
	}
	defer s.letGo()
	for {
		if n, err := unix.Read(s.fd, buf); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// Offer writes what fits, with one system call.
func (s *socket) Offer(p []byte) ([]byte, error) {
	if !s.hold() {
		return p, fmt.Errorf("write: %w", ErrClosed)
	}
	defer s.letGo()
	for {
		n, err := unix.Write(s.fd, p)
		switch {
		case err == nil:
			return p[n:], nil
		case errors.Is(err, unix.EAGAIN):
			return p, nil
		case !errors.Is(err, unix.EINTR):
			return p, fmt.Errorf("write: %w", err)
		}
	}
}

// Push writes, and waits for room in between.
func (s *socket) Push(p []byte, limit time.Duration) ([]byte, error) {
	room := make(chan struct{}, 1)
	s.room.Store(&room)
	defer s.room.Store(nil)
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		rest, err := s.Offer(p)
		if p = rest; err != nil || len(p) == 0 {
			return p, err
		}
		if err := s.loop.room(s, true); err != nil {
			return p, fmt.Errorf("write: %w", err)
		}
		select {
		case <-room:
		case <-timer.C:
			return p, fmt.Errorf("write: %w", os.ErrDeadlineExceeded)
		}
	}
}

// roomy tells Push to try again.
func (s *socket) roomy() {
	if room := s.room.Load(); room != nil {
		select {
		case *room <- struct{}{}:
		default:
		}
	}
}

// Close closes the socket. The peer is told at once, also while calls use it.
func (s *socket) Close() error {
	if s.hold() {
		for users := s.users.Load(); users > 0; users = s.users.Load() {
			if s.users.CompareAndSwap(users, users+none) {
				break
			}
		}
		_ = unix.Shutdown(s.fd, unix.SHUT_RDWR) // an error: the peer knows
		s.letGo()
		s.roomy()
	}
	if s.end(ErrClosed) {
		s.loop.drop(s)
	}
	return nil
}
