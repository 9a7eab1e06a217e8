//go:build !portable

package poll

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

const (
	chunk  = 64 << 10 // bytes read at once, into a buffer that all connections of a loop share
	events = 128      // connections that one wait tells of

	long = 200 * time.Microsecond // what takes longer for one connection makes room for others behind it
)

// New makes the best Poller of the system. Connections that are no sockets get a
// goroutine.
func New() (Poller, error) {
	e := &Epoll{rest: NewGoroutines()}
	for range runtime.GOMAXPROCS(0) {
		l, err := newLoop()
		if err != nil {
			return nil, errors.Join(err, e.close())
		}
		e.loops = append(e.loops, l)
	}
	return e, nil
}

// Epoll is the Poller of Linux: a few loops, each with an epoll instance of its
// own beside the runtime's.
type Epoll struct {
	loops []*loop
	rest  *Goroutines
	next  atomic.Uint32
}

// Take takes a connection over.
func (e *Epoll) Take(conn net.Conn) (Conn, error) {
	return take(conn, &e.rest.records, func(conn net.Conn) (Conn, error) {
		c, ok := conn.(syscall.Conn)
		if !ok {
			return e.rest.Take(conn)
		}
		defer func() { _ = conn.Close() }() // what is taken is a duplicate
		tune(conn)
		fd, err := duplicate(c)
		if err != nil {
			return nil, fmt.Errorf("take %s over: %w", conn.RemoteAddr(), err)
		}
		return &socket{loop: e.loops[e.next.Add(1)%uint32(len(e.loops))], fd: fd}, nil
	})
}

// duplicate gives a connection's descriptor again, for us alone. It does not
// block, as little as the runtime's does.
func duplicate(c syscall.Conn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var fd int
	var failed error
	err = raw.Control(func(old uintptr) { fd, failed = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, errors.Join(err, failed)
}

// Run works until ctx ends.
func (e *Epoll) Run(ctx context.Context) error {
	var g errgroup.Group
	g.Go(func() error { return e.rest.Run(ctx) })
	for _, l := range e.loops {
		g.Go(func() error { return l.run(ctx) })
	}
	return errors.Join(g.Wait(), e.close())
}

func (e *Epoll) close() error {
	var errs []error
	for _, l := range e.loops {
		errs = append(errs, unix.Close(l.epoll), unix.Close(l.wake))
	}
	return errors.Join(errs...)
}

// loop is one epoll instance and the goroutine that waits on it. A connection is
// known by a number that is never used again, so that news of a descriptor that
// was closed meanwhile, and perhaps given to another connection, reach nobody.
type loop struct {
	epoll int
	wake  int // an eventfd that ends the wait

	mu      sync.Mutex
	sockets map[uint64]*socket // nil once the loop has ended
	last    uint64
}

func newLoop() (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, wake, token(unix.EPOLLIN, 0))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("eventfd: %w", err), unix.Close(epoll))
	}
	return &loop{epoll: epoll, wake: wake, sockets: map[uint64]*socket{}}, nil
}

// token makes an epoll event that carries a number instead of a descriptor.
func token(mask uint32, id uint64) *unix.EpollEvent {
	return &unix.EpollEvent{Events: mask, Fd: int32(uint32(id)), Pad: int32(uint32(id >> 32))}
}

func idOf(e *unix.EpollEvent) uint64 { return uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32 }

// add begins to wait for what s receives. The lock is held meanwhile: the
// instance is closed after the loop has ended, and its number may be another's
// by then.
func (l *loop) add(s *socket) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sockets == nil {
		return ErrClosed
	}
	l.last++
	if err := s.control(unix.EPOLL_CTL_ADD, l.last); err != nil {
		return err
	}
	s.id = l.last
	l.sockets[s.id] = s
	return nil
}

// room says whether s waits for room to write, too.
func (l *loop) room(s *socket, wanted bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sockets == nil {
		return ErrClosed
	}
	if s.full = wanted; s.id == 0 { // Start will say it
		return nil
	}
	return s.control(unix.EPOLL_CTL_MOD, s.id)
}

// drop forgets a connection, which leaves the epoll instance when its descriptor
// is closed; until then it must not be told of again.
func (l *loop) drop(s *socket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sockets == nil {
		return
	}
	delete(l.sockets, s.id)
	_ = s.control(unix.EPOLL_CTL_DEL, s.id) // an error: it is closed
}

func (l *loop) find(id uint64) *socket {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sockets[id]
}

func (l *loop) run(ctx context.Context) error {
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		_, _ = unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // cannot fail before the loop has ended
	})
	defer func() {
		if !stop() { // the number of wake may be another's soon
			<-woken
		}
	}()
	pause := time.NewTimer(time.Hour)
	defer pause.Stop()
	buf := make([]byte, chunk)
	list := make([]unix.EpollEvent, events)
	for ctx.Err() == nil {
		n, err := unix.EpollWait(l.epoll, list, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			l.endAll()
			return fmt.Errorf("epoll: %w", err)
		}
		for i := range max(n, 0) {
			s := l.find(idOf(&list[i]))
			if s == nil {
				continue
			}
			begun := time.Now()
			s.serve(list[i].Events, buf)
			if time.Since(begun) >= long {
				// The scheduler looks for what came from the network only where a processor
				// has nothing to do: to yield would not be enough.
				pause.Reset(time.Microsecond)
				<-pause.C
			}
		}
	}
	l.endAll()
	return context.Cause(ctx)
}

func (l *loop) endAll() {
	l.mu.Lock()
	left := l.sockets
	l.sockets = nil
	l.mu.Unlock()
	for _, s := range left {
		s.end(ErrClosed)
	}
}

// serve does what the wait told of s.
func (s *socket) serve(told uint32, buf []byte) {
	if told&unix.EPOLLOUT != 0 {
		_ = s.loop.room(s, false) // an error: it is closed
		s.roomy()
	}
	if told&^unix.EPOLLOUT == 0 {
		return
	}
	n, err := s.read(buf) // where there is more, the next wait tells
	switch {
	case errors.Is(err, unix.EAGAIN):
	case err == nil && n > 0:
		s.data(buf[:n])
	default:
		if err == nil {
			err = io.EOF
		}
		if s.closed() { // what was read is the echo of that
			err = ErrClosed
		}
		if s.end(err) {
			s.loop.drop(s)
		}
	}
}
